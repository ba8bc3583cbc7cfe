"""Each server killed while a load is under way, and started again: nothing lost, nothing doubled, one line."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from destinations import trino_session
from engine.errors import GoneError, TickhouseError
from engine.load import catch_up
from engine.table import Table
from tests.conformance.killable_servers import Killable
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.targets import SERVERS, in_mid_load

pytestmark = pytest.mark.faults
OTHER = Table("raw_other", PRICES.columns)


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a load be of one package, so that there are loads before and behind the one that is hit."""
    monkeypatch.setattr("engine.load.BATCH_PACKAGES", 1)
    monkeypatch.setattr(trino_session, "ANSWER_SECONDS", 2.0)


@pytest.mark.parametrize("killed", [*SERVERS[:3], pytest.param("snowflake", marks=pytest.mark.chaos)], indirect=True)
def test_a_server_killed_in_mid_load_and_started_again(
    killed: Killable, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D03, D20: when rows of the third package are there and not committed; down for a run; back again."""
    six_packages.land(price_rows(0, 1), OTHER)
    with killed.target.opened(killed.proxy.port) as opened:
        opened.ensure([PRICES, OTHER])
        in_mid_load(opened, monkeypatch, killed.kill, nth=3)
        report = catch_up(opened, six_packages, [PRICES, OTHER])
    [line] = report.errors
    assert line.startswith("warehouse: ")
    assert "run again" in line.lower()
    assert [(table.table, table.packages) for table in report.tables] == [("raw_prices", 2)]
    with pytest.raises(GoneError, match="warehouse: "), killed.target.opened():
        pass
    killed.restart()
    assert killed.target.run(six_packages, [PRICES, OTHER]).errors == []
    assert killed.target.findings(six_packages) == []


def killed_at_random(killed: Killable, lake: FolderLake, times: int, within: float) -> int:
    """Kill the server so often, each time at a random instant of a run; return how many runs it ended."""
    seed = 20260501
    chance, ended = random.Random(seed), 0
    for number in range(times):
        for start in range(0, 40, 10):
            lake.land(price_rows(1000 * number + start, 10))
        timer = threading.Timer(chance.uniform(0.0, within), killed.kill)
        timer.start()
        try:
            ended += bool(killed.target.run(lake).errors)
        except TickhouseError:
            ended += 1
        timer.join()
        killed.restart()
    return ended


@pytest.mark.parametrize("killed", ["postgres"], indirect=True)
def test_kills_at_random_moments(killed: Killable, tmp_path: Path) -> None:
    """D03, the short one."""
    lake = FolderLake(tmp_path / "random")
    assert killed_at_random(killed, lake, 4, 0.3), "no kill came in time"
    killed.target.recovers(lake)


@pytest.mark.chaos
@pytest.mark.parametrize("killed", SERVERS, indirect=True)
def test_ten_kills_at_random_moments(killed: Killable, tmp_path: Path) -> None:
    """D03, D20."""
    lake = FolderLake(tmp_path / "random")
    started = time.monotonic()
    lake.land(price_rows(90_000, 10))
    assert killed.target.run(lake).errors == []
    assert killed_at_random(killed, lake, 10, 3 * (time.monotonic() - started)), "no kill came in time"
    killed.target.recovers(lake)
