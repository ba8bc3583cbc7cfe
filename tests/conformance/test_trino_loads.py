"""Trino has no transaction over several tables: a load that ends after any of its statements, and is tried again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from destinations import trino_lease
from destinations.trino import TrinoWarehouse
from destinations.trino_settings import TrinoSettings
from engine.errors import DestinationError, NotPublishedError
from engine.models.checks import last_checks
from engine.status import PACKAGES_ALONE
from engine.table import Column
from tests.conformance.landed_packages import NOON, PRICES, FolderLake, price_rows
from tests.servers.trino_server import BUCKET, GROUP, TrinoServer

pytestmark = pytest.mark.xdist_group(GROUP)
BAD = {"table_name": "raw_prices", "reason": "no number", "row": "{}"}
STATEMENTS = ("add_files", "landing._packages AS p")
"""What a load changes, in its order: rows of the table and of the quarantine, then the commit."""


class KilledError(Exception):
    """Stands for the end of the process."""


class Warehouse:
    """The same destination, opened as often as a test asks."""

    def __init__(self, settings: TrinoSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder

    def __call__(self) -> TrinoWarehouse:
        return TrinoWarehouse("warehouse", self._settings, self._folder, self._folder / "data")


@pytest.fixture
def warehouse(trino_landing: Callable[[str], TrinoSettings], tmp_path: Path) -> Warehouse:
    return Warehouse(trino_landing("warehouse"), tmp_path)


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


def dies(opened: TrinoWarehouse, at: int, *, after: bool) -> None:
    """End the load at its n-th changing statement: before it is sent, or when its answer would have come."""
    session = opened._opened.session
    plain, seen = session.rows, 0

    def ask(statement: str) -> list[Any]:
        nonlocal seen
        if "_lease" in statement.partition("(")[0]:  # given back: a killed one would not be, which is the same here
            return plain(statement)
        seen += any(words in statement for words in STATEMENTS) and "SELECT (SELECT" not in statement
        if seen == at and not after:
            raise KilledError
        found = plain(statement)
        if seen == at:
            raise KilledError
        return found

    session.rows = ask  # type: ignore[method-assign]


def counted(opened: TrinoWarehouse) -> tuple[int, int, int]:
    """Rows, distinct rows and rows set aside, as the models see them: through their package."""
    ((rows, distinct),) = opened._ask(
        "SELECT COUNT(*), COUNT(DISTINCT r.symbol) FROM landing.raw_prices AS r "
        "JOIN landing._packages AS p ON p._load_id = r._load_id"
    )
    ((aside,),) = opened._ask(
        "SELECT COUNT(*) FROM landing._quarantine AS q JOIN landing._packages AS p ON p._load_id = q._load_id"
    )
    return rows, distinct, aside


def test_a_kill_after_any_statement_then_one_more_run_holds_every_row_once(
    warehouse: Warehouse, lake: FolderLake
) -> None:
    """What is there before a statement is what the one before it leaves: that is played once."""
    expected, loaded = 0, 0
    for number, (at, after) in enumerate([(1, False), (1, True), (2, True), (3, True)], 1):
        package = lake.land(price_rows(expected, 2), quarantined=[BAD])
        expected += 2
        with warehouse() as opened:
            opened.ensure([PRICES])
            dies(opened, at, after=after)
            with pytest.raises(KilledError):
                opened.load("raw_prices", [package])
        with warehouse() as opened:
            loaded += (committed := (at, after) == (3, True))
            assert opened.cursors().get("raw_prices", 0) == loaded
            assert counted(opened) == (2 * loaded, 2 * loaded, loaded)
            if committed:
                with pytest.raises(DestinationError, match="is loaded already"):
                    opened.load("raw_prices", [package])
            else:
                opened.load("raw_prices", [package])
                loaded += 1
            assert counted(opened) == (expected, expected, number)


@pytest.mark.parametrize(
    "meanwhile", [*(pytest.param(how, marks=pytest.mark.chaos) for how in ("merged", "taken out")), "partly taken out"]
)
def test_rows_that_a_killed_load_left_are_neither_doubled_nor_lost(
    warehouse: Warehouse, lake: FolderLake, meanwhile: str
) -> None:
    """Merging small files gives the rows to a file of another name; without rows a file may still be the table's."""
    packages = [lake.land(price_rows(start, 2), quarantined=[BAD]) for start in (0, 2)]
    with warehouse() as opened:
        opened.load("raw_prices", packages[:1])
        dies(opened, 3, after=False)
        with pytest.raises(KilledError):
            opened.load("raw_prices", packages[1:])
    with warehouse() as opened:
        files = opened._ask('SELECT file_path FROM landing."raw_prices$files"')
        assert opened._ask("SELECT COUNT(*) FROM landing.raw_prices") == [[4]]
        if meanwhile == "merged":
            opened.maintenance()
            assert opened._ask('SELECT file_path FROM landing."raw_prices$files"') != files
        else:
            one = "" if meanwhile == "taken out" else " AND symbol = 'S2'"
            load_id = packages[1].entry.load_id
            opened._ask(f"DELETE FROM landing.raw_prices WHERE _load_id = '{load_id}'{one}")
    with warehouse() as opened:
        opened.load("raw_prices", packages[1:])
        assert counted(opened) == (4, 4, 2)
        assert opened._ask("SELECT COUNT(*) FROM landing.raw_prices") == [[4]]


def test_whole_numbers_that_became_doubles_are_loaded_again(warehouse: Warehouse, lake: FolderLake) -> None:
    """Beyond 2**53 a double rounds: as in the table that was made anew when the first double came."""
    large = 2**53 + 1
    narrow = [Column("symbol", "text"), Column("size", "bigint")]
    packages = [
        lake.land([{"symbol": "S0", "size": large}], columns=narrow),
        lake.land([{"symbol": "S1", "size": 2.5}], columns=[narrow[0], Column("size", "double")]),
    ]
    for _ in range(2):
        with warehouse() as opened:
            opened.load("raw_prices", packages[:1])
            opened.load("raw_prices", packages[1:])
            assert opened._ask("SELECT size FROM landing.raw_prices ORDER BY symbol") == [[float(large)], [2.5]]
            opened.reset()


def test_a_stalled_writer_that_wakes_up_adds_nothing(
    warehouse: Warehouse, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trino_lease, "LEASE_SECONDS", 1)
    packages = [lake.land(price_rows(0, 3)), lake.land(price_rows(3, 3))]
    with warehouse() as opened:
        opened.ensure([PRICES])
    stalled, other = warehouse(), warehouse()
    other._lock = stalled._lock.with_name("another-machine.lock")
    with stalled:
        loads = stalled._opened.loads
        plain, woken = loads._add, []

        def late(table: str, folder: str, files: Any) -> None:
            if not woken:
                woken.append(True)
                with other:
                    other.load("raw_prices", packages)
            plain(table, folder, files)

        loads._add = late  # type: ignore[method-assign]
        with pytest.raises(DestinationError, match="no longer at 0"):
            stalled.load("raw_prices", packages[:1])
        assert woken
        assert counted(stalled)[:2] == (6, 6)


@pytest.mark.chaos
def test_the_lake_is_untouched_by_what_happens_to_the_tables(warehouse: Warehouse, lake: FolderLake) -> None:
    packages = [lake.land(price_rows(start, 2)) for start in range(0, 24, 2)]  # more than have folders of their own
    before = lake.checksums()
    with warehouse() as opened:
        opened.load("raw_prices", packages)
        opened._ask("DELETE FROM landing.raw_prices WHERE symbol = 'S1'")
        opened.maintenance()
        opened.reset()
        assert opened.cursors() == {}
        opened.load("raw_prices", packages)
        assert counted(opened)[:2] == (24, 24)
        opened._ask("DROP TABLE landing.raw_prices")
    assert lake.checksums() == before


@pytest.mark.parametrize("dies_at", ["DROP TABLE", "remove"])
def test_a_reset_that_dies_is_done_by_the_next_one(warehouse: Warehouse, lake: FolderLake, dies_at: str) -> None:
    """Between its statements, or between tables and files: a table whose files are gone could not be read again."""
    packages = [lake.land(price_rows(0, 3)), lake.land(price_rows(3, 3))]
    with warehouse() as opened:
        opened.load("raw_prices", packages)
        owner, name = (opened._opened.session, "rows") if dies_at == "DROP TABLE" else (opened._opened.files, "remove")
        plain = getattr(owner, name)

        def die(text: str) -> Any:
            if dies_at in {"remove", text[: len("DROP TABLE")]}:
                raise KilledError
            return plain(text)

        setattr(owner, name, die)
        with pytest.raises(KilledError):
            opened.reset(["raw_prices"])
    with warehouse() as opened:
        assert opened.cursors() == {}
        opened.reset(["raw_prices"])
        assert "raw_prices" not in opened._opened.tables._known
        opened.load("raw_prices", packages)
        assert counted(opened)[:2] == (6, 6)
        assert opened._ask("SELECT MAX(symbol) FROM landing.raw_prices") == [["S5"]], "its files can be read"


def test_files_lie_on_s3(
    trino: TrinoServer, trino_landing: Callable[[str], TrinoSettings], lake: FolderLake, tmp_path: Path
) -> None:
    trino_landing("warehouse")
    where = {"files": f"s3://{BUCKET}/landing", "endpoint": trino.s3.url, "access_key": trino.s3.access_key}
    settings = TrinoSettings(type="trino", port=trino.port, secret_key=trino.s3.secret_key, **where)
    packages = [lake.land(price_rows(0, 3), quarantined=[BAD]), lake.land(price_rows(3, 3), file_format="csv")]
    with Warehouse(settings, tmp_path)() as opened:
        opened.load("raw_prices", packages)
        assert counted(opened) == (6, 6, 1)
        ((path,), *_) = opened._ask('SELECT file_path FROM landing."raw_prices$files"')
        assert path.startswith(f"s3://{BUCKET}/landing/raw_prices/raw_prices-00000")
        opened.reset()
        opened.load("raw_prices", packages)
        assert counted(opened) == (6, 6, 1)
    wrong = settings.model_copy(update={"secret_key": SecretStr("wrong-secret")})
    with Warehouse(wrong, tmp_path)() as opened, pytest.raises(DestinationError, match="cannot be written") as raised:
        opened.load("raw_prices", [lake.land(price_rows(6, 3))])
    assert "wrong-secret" not in raised.value.reason


def test_doctor_asks_beside_a_writer_and_makes_nothing(
    warehouse: Warehouse, trino: TrinoServer, lake: FolderLake, tmp_path: Path
) -> None:
    found = {each.what: each for each in warehouse().examine()}
    assert [each for each in found.values() if not each.ok] == []
    assert "version " in found["server"].detail
    assert "GB free" in found["files"].detail
    with warehouse() as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 3))])
        asked = {each.what: each for each in warehouse().examine()}
        assert all(each.ok for each in asked.values())
        assert asked["rights"].detail == "the user may create tables, insert rows, delete rows"
        opened._ask("DROP TABLE landing._identity")
        rights = {each.what: each for each in warehouse().examine()}["rights"]
        assert not rights.ok
        assert rights.detail.startswith("the user may not insert rows")
    elsewhere = warehouse()._settings.model_copy(update={"catalog": "no_such", "files": f"s3://{BUCKET}/x"})
    wrong = {
        "endpoint": trino.s3.url,
        "access_key": SecretStr(trino.s3.access_key),
        "secret_key": SecretStr("wrong-secret"),
    }
    found = {
        each.what: each
        for each in TrinoWarehouse("w", elsewhere.model_copy(update=wrong), tmp_path, tmp_path / "data").examine()
    }
    assert (found["catalog"].ok, found["files"].ok) == (False, False)
    assert "wrong-secret" not in str(found)
    assert found["files"].remedy


def test_its_books_are_read_beside_a_writer_and_nothing_is_made(warehouse: Warehouse, lake: FolderLake) -> None:
    destination = warehouse()
    with pytest.raises(NotPublishedError):
        destination.books(PACKAGES_ALONE)
    with warehouse() as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 3))])
        opened.note_checks(
            [
                ("r", NOON, "m", "a", True, "failed", 2, "[]", "look"),
                ("r", NOON, "m", "b", True, "passed", 0, "[]", None),
            ]
        )
        [[table, arrived, rows, seq]] = destination.books(PACKAGES_ALONE)
        assert (table, rows, seq) == ("raw_prices", 3, 1)
        assert arrived.utcoffset() is not None
        assert [(c["check"], c["status"], c["failed_rows"]) for c in last_checks(destination)] == [
            ("a", "failed", 2), ("b", "passed", 0),
        ]  # fmt: skip


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    settings = TrinoSettings(type="trino", port=9, files="files")
    with pytest.raises(DestinationError) as raised, TrinoWarehouse("warehouse", settings, tmp_path, tmp_path):
        pass
    assert raised.value.reason == "warehouse: Trino at http://127.0.0.1:9 does not answer"
