"""A landing table of Trino is made anew, as whole numbers became doubles: killed on the way, or met by another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from destinations.trino import TrinoWarehouse
from engine.errors import BusyError, DestinationError
from engine.table import Column
from tests.conformance.landed_packages import FolderLake
from tests.conformance.targets import Target
from tests.servers.trino_server import GROUP

pytestmark = [
    pytest.mark.faults,
    pytest.mark.xdist_group(GROUP),
    pytest.mark.parametrize("target", ["trino"], indirect=True),
]
SYMBOL, WHOLE, DOUBLE = Column("symbol", "text"), Column("size", "bigint"), Column("size", "double")


class KilledError(Exception):
    """The process is gone."""


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    """Two packages of whole numbers, two of doubles."""
    made = FolderLake(tmp_path / "lake")
    for number in range(4):
        size = WHOLE if number < 2 else DOUBLE
        made.land([{"symbol": f"S{number}", "size": number if number < 2 else number + 0.5}], columns=[SYMBOL, size])
    return made


def at(opened: TrinoWarehouse, words: str, action: Callable[[], None]) -> None:
    """Do something once, before the first statement that begins so is sent."""
    session = opened._opened.session
    plain, done = session.rows, []

    def rows(statement: str) -> list[Any]:
        if statement.startswith(words) and not done:
            done.append(True)
            action()
        return plain(statement)

    session.rows = rows  # type: ignore[method-assign]


def die() -> None:
    raise KilledError


def sizes(target: Target) -> list[tuple[Any, ...]]:
    return target.ask("SELECT symbol, size FROM landing.raw_prices ORDER BY symbol")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param('ALTER TABLE landing."raw_prices" RENAME', marks=pytest.mark.chaos),
        pytest.param("SELECT MAX(seq)", marks=pytest.mark.chaos),
        'ALTER TABLE landing."_wider_raw_prices" RENAME',
        'DROP TABLE IF EXISTS landing."_aside_raw_prices"',
    ],
)
def test_a_kill_while_the_table_is_made_anew_loses_nothing(target: Target, lake: FolderLake, before: str) -> None:
    packages = lake.packages["raw_prices"]
    with target.opened() as opened:
        opened.load("raw_prices", packages[:2])
        if before == "SELECT MAX(seq)":  # the second of two
            at(opened, 'ALTER TABLE landing."raw_prices" RENAME', lambda: at(opened, before, die))
        else:
            at(opened, before, die)
        with pytest.raises(KilledError):
            opened.load("raw_prices", packages[2:])
    with target.opened():
        assert sizes(target) == [("S0", 0), ("S1", 1)]
    target.recovers(lake)
    assert sizes(target) == [("S0", 0.0), ("S1", 1.0), ("S2", 2.5), ("S3", 3.5)]
    assert target.ask("SHOW TABLES FROM landing LIKE 'raw!_prices!_!_%' ESCAPE '!'") == []


def test_another_machine_leaves_alone_what_is_being_made(target: Target, lake: FolderLake) -> None:
    """It is no killed writer's: the lease says so, whether its table has its name at that moment or not."""
    packages, busy = lake.packages["raw_prices"], []

    def meanwhile() -> None:
        with pytest.raises(BusyError, match="another machine"), target.opened(machine="there", wait_seconds=0.0):
            pass
        busy.append(True)

    with target.opened() as opened:
        opened.load("raw_prices", packages[:2])
        at(opened, 'ALTER TABLE landing."raw_prices" RENAME', meanwhile)
        at(opened, 'ALTER TABLE landing."_wider_raw_prices" RENAME', meanwhile)
        opened.load("raw_prices", packages[2:])
    assert busy == [True, True]
    assert target.findings(lake) == []


def test_what_came_while_a_stalled_writer_made_the_table_anew_stays(
    target: Target, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes up before the step that takes the table's place, and finds that others have loaded."""
    packages, loaded = lake.packages["raw_prices"], []
    monkeypatch.setattr("destinations.trino_lease.LEASE_SECONDS", 1)

    def successor() -> None:
        with target.opened(machine="there", wait_seconds=20.0) as there:
            loaded.append(there.load("raw_prices", packages[2:3]).seq)

    with target.opened() as here:
        here.load("raw_prices", packages[:2])
        at(here, 'ALTER TABLE landing."raw_prices" RENAME', successor)
        with pytest.raises(DestinationError, match="while it was made anew"):
            here.load("raw_prices", packages[2:])
    assert loaded == [3]
    assert sizes(target) == [("S0", 0.0), ("S1", 1.0), ("S2", 2.5)]
    target.recovers(lake)
