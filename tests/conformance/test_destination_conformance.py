"""One body over every destination of the lake's packages: both embedded warehouses, PostgreSQL 18, TimescaleDB, Trino,
Snowflake's stand-in (the flow alone: tests/servers/snowflake_program.py).

What only a warehouse has (what is published, maintenance) runs over the warehouses alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from destinations.duckdb import DuckdbWarehouse
from destinations.ducklake import DucklakeWarehouse
from destinations.postgres import PostgresDestination
from destinations.snowflake import SnowflakeWarehouse
from destinations.trino import TrinoWarehouse
from engine.behind import lost_books
from engine.errors import DestinationError
from engine.load import LoadReport, catch_up, prepare
from engine.lost import lost_columns
from engine.table import Column, Table
from tests.conformance.landed_packages import NOON, PRICES, FolderLake, arrow_rows, price_rows
from tests.servers.trino_server import GROUP

Opened = DuckdbWarehouse | DucklakeWarehouse | PostgresDestination | SnowflakeWarehouse | TrinoWarehouse
Opener = Callable[..., Opened]
WAREHOUSES = ["ducklake", "duckdb"]
EVERY = [
    *WAREHOUSES,
    "postgres",
    pytest.param("timescaledb", marks=pytest.mark.xdist_group("timescale")),
    pytest.param("trino", marks=pytest.mark.xdist_group(GROUP)),
    "snowflake",
]
swift = pytest.mark.parametrize(
    "warehouse",
    [
        *EVERY[:4],
        pytest.param("trino", marks=[pytest.mark.xdist_group(GROUP), pytest.mark.chaos]),
        pytest.param("snowflake", marks=pytest.mark.chaos),
    ],
    indirect=True,
)
"""What takes tens of seconds on the last two is left to `make chaos` and `make conformance`."""
only_warehouses = pytest.mark.parametrize("warehouse", WAREHOUSES, indirect=True)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(params=EVERY)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, data_dir: Path) -> Opener:
    """Build the same destination, or another one by name, as often as a test asks."""
    kind = request.param
    servers = {"postgres": "database", "timescaledb": "timescale", "trino": "trino_landing"}
    dsn = request.getfixturevalue(servers[kind]) if kind in servers else None

    def build(name: str = "warehouse", **settings: float) -> Opened:
        if kind == "ducklake":
            return DucklakeWarehouse(name, tmp_path / name, data_dir, **settings)
        if kind == "duckdb":
            return DuckdbWarehouse(name, tmp_path / f"{name}.duckdb", data_dir, **settings)
        if kind == "trino":
            return TrinoWarehouse(name, dsn(name), tmp_path, tmp_path / "data", **settings)
        if kind == "snowflake":
            settings_of = request.getfixturevalue("snowflake")
            return SnowflakeWarehouse(name, settings_of(name), tmp_path / f"{name}.lock", **settings)
        return PostgresDestination(name, dsn(name), **settings)

    build.kind = kind  # type: ignore[attr-defined]
    return build


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


def rows(opened: Opened, sql: str) -> list[tuple]:
    """Ask the published state, as Python values."""
    opened.publish()
    if isinstance(opened, TrinoWarehouse):
        return [tuple(row) for row in opened._ask(sql)]
    if isinstance(opened, SnowflakeWarehouse):
        with opened._connect() as session:
            return session.cursor().execute(sql).fetchall()
    with opened.reader() as connection:
        if isinstance(opened, PostgresDestination):
            return connection.execute(sql).fetchall()
        return [tuple(row.values()) for row in connection.sql(sql).to_arrow_table().to_pylist()]


def test_rows_arrive_with_their_package_and_the_cursor(warehouse: Opener, lake: FolderLake) -> None:
    packages = [lake.land(price_rows(0, 3)), lake.land(price_rows(3, 2))]
    with warehouse() as opened:
        opened.ensure([PRICES])
        loaded = opened.load("raw_prices", packages)
        assert (loaded.rows, loaded.seq, loaded.quarantined) == (5, 2, 0)
        assert loaded.bytes == sum(package.manifest.bytes for package in packages)
        assert opened.cursors() == {"raw_prices": 2}
        assert rows(opened, "select symbol, price, trades, observed_at from landing.raw_prices order by trades") == [
            tuple(row.values()) for row in price_rows(0, 5)
        ]
        arrived = rows(
            opened, "select _load_id, table_name, rows, source, seq from landing._packages order by arrived_at"
        )
        assert arrived == [
            ("raw_prices-000001", "raw_prices", 3, "src", 1),
            ("raw_prices-000002", "raw_prices", 2, "src", 2),
        ]


def test_a_package_delivered_again_is_refused_and_changes_nothing(warehouse: Opener, lake: FolderLake) -> None:
    first, second = lake.land(price_rows(0, 3)), lake.land(price_rows(3, 3))
    with warehouse() as opened:
        opened.load("raw_prices", [first])
        with pytest.raises(DestinationError, match="package 1 of raw_prices is loaded already: the next is 2"):
            opened.load("raw_prices", [first])
        with pytest.raises(DestinationError, match="is loaded already"):
            opened.load("raw_prices", [first, second])
        opened.load("raw_prices", [second])
        assert rows(opened, "select count(*), count(distinct symbol) from landing.raw_prices") == [(6, 6)]
        assert rows(opened, "select count(*) from landing._packages") == [(2,)]


def test_a_gap_is_refused(warehouse: Opener, lake: FolderLake) -> None:
    lake.land(price_rows(0, 3))
    second = lake.land(price_rows(3, 3))
    with warehouse() as opened, pytest.raises(DestinationError, match="does not follow"):
        opened.load("raw_prices", [second])


def test_the_cursor_is_compared_again_inside_the_transaction(
    warehouse: Opener, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that looked before another one committed must not commit as well."""
    package = lake.land(price_rows(0, 3))
    with warehouse() as opened:
        opened.load("raw_prices", [package])
        if isinstance(opened, TrinoWarehouse):
            monkeypatch.setattr("destinations.trino_commit.check_sequence", lambda *_: None)
        else:
            monkeypatch.setattr(opened._landing, "_check_sequence", lambda *_: None)
        with pytest.raises(DestinationError, match="no longer at 0"):
            opened.load("raw_prices", [package])
        assert rows(opened, "select count(*) from landing.raw_prices") == [(3,)]


EVERY_TYPE = Table(
    "raw_types",
    (
        Column("a_text", "text"),
        Column("a_bigint", "bigint"),
        Column("a_double", "double"),
        Column("a_decimal", "decimal"),
        Column("a_bool", "bool"),
        Column("a_date", "date"),
        Column("a_timestamp", "timestamp"),
        Column("a_json", "json"),
    ),
)
EXTREMES: list[dict[str, object]] = [
    {
        "a_text": "Đồng 🪙 東京 \n\\.\n\t \"quoted\", 'single'",
        "a_bigint": -(2**63),
        "a_double": 5e-324,
        "a_decimal": Decimal("99999999999999999999.999999999999999999"),
        "a_bool": True,
        "a_date": date(1, 1, 1),
        "a_timestamp": datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "a_json": '{"a": [1, null, "ü"]}',
    },
    {"a_text": "", "a_bigint": 0, "a_double": -0.0, "a_json": '"\\\\"'},
    {
        "a_text": "NULL",
        "a_bigint": 2**63 - 1,
        "a_double": 1.7976931348623157e308,
        "a_decimal": Decimal("-0.000000000000000001"),
        "a_bool": False,
        "a_date": date(9999, 12, 31),
        "a_timestamp": datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        "a_json": "[]",
    },
    {},
]


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_every_type_is_exact_to_the_last_digit_and_microsecond(
    warehouse: Opener, lake: FolderLake, file_format: str
) -> None:
    package = lake.land(EXTREMES, EVERY_TYPE, file_format=file_format)
    with warehouse() as opened:
        opened.ensure([EVERY_TYPE])
        opened.load("raw_types", [package])
        names = [column.name for column in EVERY_TYPE.columns]
        found = rows(opened, f"select {', '.join(names)} from landing.raw_types order by a_bigint nulls last")
        assert found == [tuple(row.get(name) for name in names) for row in EXTREMES]


def test_a_new_column_is_null_before_and_filled_after(warehouse: Opener, lake: FolderLake) -> None:
    wider = (*PRICES.columns, Column("note", "text"))
    old = lake.land(price_rows(0, 1))
    new = lake.land([{**price_rows(1, 1)[0], "note": "ă"}], columns=wider)
    with warehouse() as opened:
        opened.ensure([PRICES])
        opened.load("raw_prices", [old, new])
        assert rows(opened, "select trades, note from landing.raw_prices order by trades") == [(0, None), (1, "ă")]


def test_whole_numbers_become_doubles_in_either_order(warehouse: Opener, lake: FolderLake) -> None:
    """Z07: an older package may arrive when the table has the wider type already."""
    whole, broken = (Column("n", "bigint"),), (Column("n", "double"),)
    table = Table("raw_numbers", whole)
    packages = [
        lake.land([{"n": 1}], table),
        lake.land([{"n": 2.5}], table, columns=broken),
        lake.land([{"n": 3}], table),
        lake.land([{"n": 4}], table, schema=broken),
    ]
    with warehouse() as opened:
        opened.ensure([table])
        opened.load("raw_numbers", packages[:1])
        opened.load("raw_numbers", packages[1:])
        assert rows(opened, "select n from landing.raw_numbers order by n") == [(1.0,), (2.5,), (3.0,), (4.0,)]
    with warehouse("at_once") as opened:
        opened.load("raw_numbers", packages)
        assert rows(opened, "select n from landing.raw_numbers order by n") == [(1.0,), (2.5,), (3.0,), (4.0,)]


def test_a_vanished_column_is_null(warehouse: Opener, lake: FolderLake) -> None:
    narrow = tuple(column for column in PRICES.columns if column.name != "trades")
    row = {key: value for key, value in price_rows(7, 1)[0].items() if key != "trades"}
    package = lake.land([row], columns=narrow, schema=PRICES.columns)
    with warehouse() as opened:
        opened.load("raw_prices", [package])
        assert rows(opened, "select symbol, trades from landing.raw_prices") == [("S7", None)]


def test_a_type_that_conflicts_fails_the_package_and_leaves_nothing(warehouse: Opener, lake: FolderLake) -> None:
    good = lake.land(price_rows(0, 2))
    other = tuple(Column(c.name, "text" if c.name == "trades" else c.data_type) for c in PRICES.columns)
    bad = lake.land([{**price_rows(2, 1)[0], "trades": "many"}], columns=other)
    undeclared = lake.land([{**price_rows(2, 1)[0], "trades": "many"}], columns=other, schema=PRICES.columns)
    with warehouse() as opened:
        opened.load("raw_prices", [good])
        with pytest.raises(
            DestinationError, match=r"'trades' of landing.raw_prices is stored as BIGINT, not as VARCHAR"
        ):
            opened.load("raw_prices", [bad])
        package = type(undeclared)(bad.entry, undeclared.manifest, undeclared.local_files)
        with pytest.raises(DestinationError, match=r"stored as BIGINT, but file part-00000.parquet of package"):
            opened.load("raw_prices", [package])
        assert opened.cursors() == {"raw_prices": 1}
        assert rows(opened, "select count(*) from landing.raw_prices") == [(2,)]


def test_quarantined_rows_are_kept_with_their_reason(warehouse: Opener, lake: FolderLake) -> None:
    reason = {"table_name": "raw_prices", "column_name": "price", "reason": "not a number", "value": "n/a", "row": "{}"}
    package = lake.land(price_rows(0, 1), quarantined=[reason])
    with warehouse() as opened:
        loaded = opened.load("raw_prices", [package])
        assert (loaded.rows, loaded.quarantined) == (1, 1)
        assert rows(opened, "select table_name, column_name, value, _load_id from landing._quarantine") == [
            ("raw_prices", "price", "n/a", "raw_prices-000001")
        ]


def test_an_empty_package_moves_the_cursor(warehouse: Opener, lake: FolderLake) -> None:
    with warehouse() as opened:
        loaded = opened.load("raw_prices", [lake.land([])])
        assert (loaded.rows, opened.cursors()) == (0, {"raw_prices": 1})
        assert rows(opened, "select count(*) from landing.raw_prices") == [(0,)]


def test_declared_tables_exist_before_the_first_package_and_only_once(warehouse: Opener) -> None:
    with warehouse() as opened:
        opened.ensure([PRICES, EVERY_TYPE])
        opened.ensure([PRICES, EVERY_TYPE])
        assert opened.cursors() == {}
        assert rows(opened, "select count(*) from landing.raw_prices") == [(0,)]
        assert rows(opened, "select table_name, seq from landing._cursor order by 1") == [
            ("raw_prices", 0),
            ("raw_types", 0),
        ]


def run(opened: Opened, lake: FolderLake, *tables: Table) -> tuple[list[str], LoadReport]:
    """What an ordinary run does; the notes of what it found before."""
    found = prepare(opened, lake, tables)
    return found.notes, catch_up(opened, lake, tables, refused=found.refused)


@swift
def test_a_table_that_somebody_dropped_is_filled_again(warehouse: Opener, lake: FolderLake) -> None:
    """Behind its cursor it would come back empty. Models do not take its rows for new: they arrived when they did."""
    reason = {"table_name": "raw_prices", "reason": "not a number", "row": "{}"}
    lake.land(price_rows(0, 3), quarantined=[reason])
    lake.land(price_rows(3, 2))
    arrivals = "select _load_id, arrived_at from landing._packages order by seq"
    with warehouse() as opened:
        assert run(opened, lake, PRICES)[0] == []
        before = rows(opened, arrivals)
        ask = opened._ask if isinstance(opened, TrinoWarehouse) else opened._landing._session.execute
        assert opened.row_counts(["raw_prices"]) == {"raw_prices": (5, 5)}
        ask("DELETE FROM landing.raw_prices WHERE symbol = 'S4'")
        assert opened.row_counts(["raw_prices"]) == {"raw_prices": (5, 4)}
        ask("DROP TABLE landing.raw_prices")
        assert opened.row_counts(["raw_prices"]) == {"raw_prices": (5, None)}
    lake.land(price_rows(5, 1))
    with warehouse() as opened:
        if isinstance(opened, TrinoWarehouse):
            other = Table("raw_other", PRICES.columns)
            lake.land(price_rows(0, 2), other)
            _, report = run(opened, lake, PRICES, other)
            assert [line.partition(", ")[0] for line in report.errors] == ["warehouse: landing.raw_prices is gone"]
            assert "`engine replay --destination warehouse`" in report.errors[0]
            assert report.rows == 2, "the other table is loaded"
            with pytest.raises(DestinationError, match="no model can read it"):
                opened.provide([PRICES])
            assert lost_books("warehouse", opened, opened.columns(), lake, []) is None
            opened._ask("DELETE FROM landing._packages WHERE table_name = 'raw_prices' AND seq = 1")
            assert "lost 1 of the 2 packages" in lost_books("warehouse", opened, opened.columns(), lake, []).detail
            return
        notes, report = run(opened, lake, PRICES)
        assert notes == [
            "landing.raw_prices is gone, though packages of it were loaded: it is filled from the lake again"
        ]
        assert (report.errors, report.rows, opened.cursors()) == ([], 6, {"raw_prices": 3})
        assert rows(opened, "select count(*), count(distinct symbol) from landing.raw_prices") == [(6, 6)]
        assert rows(opened, "select count(*) from landing._quarantine") == [(1,)]
        assert rows(opened, arrivals)[:2] == before
        assert run(opened, lake, PRICES)[0] == []
        assert lost_books("warehouse", opened, opened.columns(), lake, ["raw_prices"]) is None
        opened._landing._session.change("DELETE FROM landing._packages WHERE seq = 2")
        [_, detail, _] = lost_books("warehouse", opened, opened.columns(), lake, ["raw_prices"])
        assert detail == "landing._packages has lost 1 of the 3 packages of raw_prices"


@swift
def test_a_column_that_somebody_dropped_does_not_come_back_empty(warehouse: Opener, lake: FolderLake) -> None:
    """Evolution would add it again, NULL in the rows that had it: by declaration, by a package, for a model."""
    lake.land(price_rows(0, 3))
    reason = "warehouse: column 'price' of landing.raw_prices is gone, though packages with it were loaded"
    fewer = replace(PRICES, columns=tuple(column for column in PRICES.columns if column.name != "price"))
    values = "select count(price), count(*) from landing.raw_prices"
    with warehouse() as opened:
        run(opened, lake, PRICES)
        ask = opened._ask if isinstance(opened, TrinoWarehouse) else opened._landing._session.execute
        assert lost_books("warehouse", opened, opened.columns(), lake, ["raw_prices"]) is None
        ask("ALTER TABLE landing.raw_prices DROP COLUMN price")
    with warehouse() as opened:
        lake.land(price_rows(3, 1))
        for table in (PRICES, fewer):
            _, report = run(opened, lake, table)
            [line] = report.errors
            assert line.startswith(reason)
            assert "`engine replay --destination warehouse` restores it from the lake" in line
            with pytest.raises(DestinationError, match=r"column 'price' of landing\.raw_prices is gone"):
                (opened if isinstance(opened, TrinoWarehouse) else opened._landing).provide([PRICES])
            assert lost_columns(lake, {"raw_prices": 1}, opened.columns()) == {"raw_prices": ["price"]}
        if not isinstance(opened, TrinoWarehouse):
            assert "; or DROP TABLE landing.raw_prices: the next run fills that table alone" in line
            opened._landing._session.execute("DROP TABLE landing.raw_prices")
            assert run(opened, lake, PRICES)[1].errors == []
            assert rows(opened, values) == [(4, 4)]
        opened.reset(["raw_prices"])
        assert run(opened, lake, PRICES)[1].errors == []
        assert rows(opened, values) == [(4, 4)]


@pytest.mark.parametrize("warehouse", EVERY[:4], indirect=True)
def test_what_was_moved_by_hand_doubles_no_row(warehouse: Opener, lake: FolderLake) -> None:
    """A cursor, or the table itself, goes and comes back: loaded once more, what it has would be there twice."""
    lake.land(price_rows(0, 3))
    count = "select count(*), count(distinct symbol) from landing.raw_prices"
    with warehouse() as opened:
        run(opened, lake, PRICES)
        ask = opened._landing._session.execute
        lake.land([], PRICES)
        ask("ALTER TABLE landing.raw_prices RENAME TO aside")
        ask("CREATE VIEW landing.raw_prices AS SELECT * FROM landing.aside")
        _, report = run(opened, lake, PRICES)
        assert all("raw_prices" in line for line in report.errors)
        assert opened.cursors()["raw_prices"] >= 1
        ask("DROP VIEW landing.raw_prices")
        with pytest.raises(DestinationError, match=r"landing\.raw_prices is gone"):
            opened._landing.provide([PRICES])
        ask("ALTER TABLE landing.aside RENAME TO raw_prices")
        assert run(opened, lake, PRICES)[1].errors == []
        assert rows(opened, count) == [(3, 3)]
        ask("DROP TABLE landing._cursor")
    with warehouse() as opened:
        _, report = run(opened, lake, PRICES)
        [line] = report.errors
        assert line.startswith("warehouse: landing.raw_prices has rows, though its cursor")
        assert "`engine replay --destination warehouse`" in line
        assert rows(opened, count) == [(3, 3)]
        opened.reset(["raw_prices"])
        assert (run(opened, lake, PRICES)[1].errors, rows(opened, count)) == ([], [(3, 3)])


@swift
def test_a_declaration_that_conflicts_stops_its_own_table(warehouse: Opener, lake: FolderLake) -> None:
    other = Table("raw_other", PRICES.columns)
    lake.land(price_rows(0, 3))
    with warehouse() as opened:
        run(opened, lake, PRICES)
        lake.land(price_rows(3, 1))
        lake.land(price_rows(0, 2), other)
        _, report = run(opened, lake, Table("raw_prices", (Column("symbol", "bool"),)), other)
        [line] = report.errors
        assert line.startswith(
            "warehouse: column 'symbol' of landing.raw_prices is stored as VARCHAR, not as BOOLEAN — "
        )
        assert opened.cursors() == {"raw_prices": 1, "raw_other": 1}


def test_arrival_never_goes_back(warehouse: Opener, lake: FolderLake) -> None:
    with warehouse() as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 1))])
        if isinstance(opened, TrinoWarehouse):
            opened._ask("update landing._packages set arrived_at = timestamp '2999-01-01 00:00:00 UTC'")
        else:
            opened._writer.execute("update landing._packages set arrived_at = timestamptz '2999-01-01 00:00:00+00'")
        opened.load("raw_prices", [lake.land(price_rows(1, 1)), lake.land(price_rows(2, 1))])
        arrived = rows(opened, "select arrived_at from landing._packages order by seq")
        assert [at[0].replace(tzinfo=UTC) for at in arrived] == [
            datetime(2999, 1, 1, 0, 0, 0, microsecond, tzinfo=UTC) for microsecond in range(3)
        ]


def test_a_missing_file_names_the_package(warehouse: Opener, lake: FolderLake) -> None:
    package = lake.land(price_rows(0, 1))
    Path(package.local_files[0]).unlink()
    with warehouse() as opened:
        with pytest.raises(DestinationError, match=r"package raw_prices-000001.*is missing") as raised:
            opened.load("raw_prices", [package])
        assert "Restore" in raised.value.remedy
        assert opened.cursors() == {}


@pytest.mark.parametrize("left", [0, 8, -8])
def test_a_truncated_file_names_the_package(warehouse: Opener, lake: FolderLake, left: int) -> None:
    """L01, as far as it reaches a destination: the lake's checksum finds it first."""
    package = lake.land(price_rows(0, 100))
    path = Path(package.local_files[0])
    path.write_bytes(path.read_bytes()[:left])
    with warehouse() as opened:
        with pytest.raises(DestinationError, match=r"package raw_prices-000001.*cannot be read"):
            opened.load("raw_prices", [package])
        assert opened.cursors() == {}


def test_a_file_with_other_rows_than_its_manifest_says_is_refused(warehouse: Opener, lake: FolderLake) -> None:
    package = lake.land(price_rows(0, 2))
    other = lake.land(price_rows(0, 3))
    Path(package.local_files[0]).write_bytes(Path(other.local_files[0]).read_bytes())
    with warehouse() as opened, pytest.raises(DestinationError, match="has 3 rows; its manifest says 2"):
        opened.load("raw_prices", [package])


@only_warehouses
def test_nothing_published_says_so(warehouse: Opener) -> None:
    with pytest.raises(DestinationError, match="nothing is published") as raised:
        warehouse().reader()
    assert "engine run" in raised.value.remedy


@only_warehouses
def test_readers_see_the_published_state_only(warehouse: Opener, lake: FolderLake) -> None:
    with warehouse() as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 3))])
        opened.publish()
        with opened.reader() as before:
            opened.load("raw_prices", [lake.land(price_rows(3, 4))])
            opened.publish()
            opened.maintenance()
            count = "select count(*) from landing.raw_prices"
            with opened.reader() as after:
                assert before.execute(count).fetchall() == [(3,)]
                assert after.execute(count).fetchall() == [(7,)]


@only_warehouses
def test_the_lake_is_untouched_by_everything_that_happens_to_the_tables(warehouse: Opener, lake: FolderLake) -> None:
    packages = [lake.land(price_rows(start, 5)) for start in range(0, 30, 5)]
    before = lake.checksums()
    with warehouse() as opened:
        opened.load("raw_prices", packages)
        opened.publish()
        opened.maintenance()
        opened._writer.execute("drop table landing.raw_prices")
        if isinstance(opened, DucklakeWarehouse):
            opened._writer.execute("call ducklake_expire_snapshots('lake', older_than => now())")
            removed = opened._writer.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)").fetchall()
            assert len(removed) >= 6
    assert lake.checksums() == before


def test_replay_into_a_fresh_warehouse_gives_the_same_rows(warehouse: Opener, lake: FolderLake) -> None:
    wider = (*PRICES.columns, Column("note", "text"))
    packages = [lake.land(price_rows(0, 4)), lake.land(price_rows(4, 4), columns=wider), lake.land(price_rows(8, 4))]
    everything = "select * from landing.raw_prices order by symbol"
    with warehouse() as opened:
        for package in packages:
            opened.load("raw_prices", [package])
        expected = rows(opened, everything)
    with warehouse("again") as opened:
        opened.load("raw_prices", packages)
        assert rows(opened, everything) == expected
    assert len(expected) == 12


def test_a_million_rows_load_in_seconds(
    warehouse: Opener, lake: FolderLake, record_property: Callable[[str, object], None]
) -> None:
    """The figure is printed with -rP; the bound is generous because machines differ."""
    count = {"postgres": 250_000, "timescaledb": 100_000, "snowflake": 100_000}.get(warehouse.kind, 1_000_000)  # type: ignore[attr-defined]
    numbers = pa.array(range(count), pa.int64())
    lineage = {
        name: pa.array(["x"]).take(pa.nulls(count, pa.int64()).fill_null(0))
        for name in ("source", "_load_id", "_run_id")
    }
    columns = {
        "symbol": numbers.cast(pa.string()),
        "price": numbers.cast(pa.decimal128(38, 18)),
        "trades": numbers,
        "observed_at": numbers.cast(pa.timestamp("us", "UTC")),
        "load_timestamp": numbers.cast(pa.timestamp("us", "UTC")),
        **lineage,
    }
    package = lake.land(pa.table(columns))
    with warehouse() as opened:
        opened.ensure([PRICES])
        started = time.perf_counter()
        opened.load("raw_prices", [package])
        seconds = time.perf_counter() - started
        record_property("seconds", seconds)
        print(f"{count:,} rows into {warehouse.kind}: {seconds:.2f} s")  # type: ignore[attr-defined]  # noqa: T201
        assert rows(opened, "select count(*), sum(trades), max(price) from landing.raw_prices") == [
            (count, Decimal(count * (count - 1) // 2), Decimal(count - 1))
        ]
    assert seconds < 30


def test_arrow_rows_are_typed_as_asked() -> None:
    assert arrow_rows(PRICES.columns, price_rows(0, 1)).column("price").to_pylist() == [Decimal("0.000000000000000001")]
    assert NOON.tzinfo is UTC
