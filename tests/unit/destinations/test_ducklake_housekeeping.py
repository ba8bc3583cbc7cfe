"""Tidying a DuckLake warehouse beside readers (X08), and what is published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from duckdb import DuckDBPyConnection

from destinations import ducklake_housekeeping as housekeeping
from destinations.ducklake import DucklakeWarehouse
from destinations.ducklake_housekeeping import Publication, needed
from tests.conformance.landed_packages import FolderLake, price_rows

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)


def test_what_was_current_within_the_last_day_is_needed() -> None:
    history = [Publication(number, NOW - timedelta(hours=hours)) for number, hours in enumerate((90, 50, 23, 1))]
    assert [one.snapshot for one in needed(history, NOW)] == [1, 2, 3]
    assert [one.snapshot for one in needed(history[:1], NOW)] == [0]
    assert needed([], NOW) == []


@pytest.fixture
def warehouse(tmp_path: Path) -> DucklakeWarehouse:
    return DucklakeWarehouse("warehouse", tmp_path / "warehouse", tmp_path / "data")


def age_everything(opened: DucklakeWarehouse) -> None:
    """Make every snapshot and every scheduled deletion ten days old (by the writer's own SQLite: two do not mix)."""
    old = datetime.now(UTC) - timedelta(days=10)
    for table, column in (
        ("ducklake_snapshot", "snapshot_time"),
        ("ducklake_files_scheduled_for_deletion", "schedule_start"),
    ):
        opened._writer.execute(f"update __ducklake_metadata_lake.{table} set {column} = '{old:%Y-%m-%d %H:%M:%S}+00'")


def files_of(warehouse: DucklakeWarehouse) -> list[Path]:
    return [path for path in (warehouse.path / "data" / "marts").rglob("*.parquet") if path.is_file()]


def test_a_reader_keeps_what_it_sees_while_everything_old_is_tidied_away(
    warehouse: DucklakeWarehouse, tmp_path: Path
) -> None:
    lake = FolderLake(tmp_path / "lake")
    with warehouse as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 5))])
        opened._writer.execute("create schema marts")
        opened._writer.execute("create table marts.t as select range as n from range(300000)")
        opened.publish()
        with opened.reader() as reader, opened.reader() as slow:
            slow.execute("select n from marts.t")
            assert len(slow.fetchmany(10)) == 10
            for start in range(300_000, 308_000, 1000):
                opened._writer.execute("insert into marts.t select range from range(?, ?)", [start, start + 1000])
            opened._writer.execute("delete from marts.t where n < 500")
            opened.publish()
            before = len(files_of(opened))
            age_everything(opened)
            opened.maintenance()
            age_everything(opened)
            opened.maintenance()
            assert len(slow.fetchall()) == 299_990
            assert reader.execute("select count(*), min(n) from marts.t").fetchall() == [(300_000, 0)]
            assert len(files_of(opened)) < before
            kept = opened._writer.execute("select count(*) from ducklake_snapshots('lake')").fetchall()
            assert kept[0][0] <= 6
        with opened.reader() as later:
            assert later.execute("select count(*), min(n) from marts.t").fetchall() == [(307_500, 500)]
            assert later.execute("select count(*) from landing.raw_prices").fetchall() == [(5,)]


def test_landing_is_never_rewritten(warehouse: DucklakeWarehouse, tmp_path: Path) -> None:
    lake = FolderLake(tmp_path / "lake")
    packages = [lake.land(price_rows(start, 5)) for start in range(0, 50, 5)]
    with warehouse as opened:
        opened.load("raw_prices", packages)
        names = {path.name for path in (opened.path / "data" / "landing" / "raw_prices").iterdir()}
        opened.publish()
        age_everything(opened)
        opened.maintenance()
        opened._writer.execute("call ducklake_merge_adjacent_files('lake')")
        assert {path.name for path in (opened.path / "data" / "landing" / "raw_prices").iterdir()} == names
        listed = opened._writer.execute(
            "select data_file from ducklake_list_files('lake', 'raw_prices', schema => 'landing')"
        )
        assert {Path(str(row[0])).name for row in listed.fetchall()} == names


def test_the_books_stay_right(warehouse: DucklakeWarehouse, tmp_path: Path) -> None:
    lake = FolderLake(tmp_path / "lake")
    with warehouse as opened:
        for number in range(12):
            opened.load("raw_prices", [lake.land(price_rows(number, 1))])
            if number % 4 == 0:
                opened.begin_models()
                opened.publish()
                opened.maintenance()
                age_everything(opened)
        opened.maintenance()
        assert opened.cursors() == {"raw_prices": 12}
        opened.publish()
        with opened.reader() as reader:
            counted = "select count(*), count(distinct arrived_at), max(seq) from landing._packages"
            assert reader.execute(counted).fetchall() == [(12, 12, 12)]
            assert reader.execute("select table_name, seq from landing._cursor").fetchall() == [("raw_prices", 12)]


def test_replay_in_place_does_not_lose_files_to_the_next_tidying(warehouse: DucklakeWarehouse, tmp_path: Path) -> None:
    lake = FolderLake(tmp_path / "lake")
    packages = [lake.land(price_rows(start, 5)) for start in range(0, 20, 5)]
    with warehouse as opened:
        opened.load("raw_prices", packages)
        opened.publish()
        opened.reset()
        assert opened.cursors() == {}
        opened.load("raw_prices", packages)
        opened.publish()
        history = [housekeeping.Publication(housekeeping.last_snapshot(opened._writer), datetime.now(UTC))]
        for _ in range(2):
            age_everything(opened)
            housekeeping.tidy(opened._writer, history)
        with opened.reader() as reader:
            assert reader.execute("select count(*), sum(trades) from landing.raw_prices").fetchall() == [(20, 190)]


def test_a_warehouse_may_be_moved(warehouse: DucklakeWarehouse, tmp_path: Path) -> None:
    lake = FolderLake(tmp_path / "lake")
    with warehouse as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 5))])
        opened.publish()
    warehouse.path.rename(tmp_path / "elsewhere")
    moved = DucklakeWarehouse("warehouse", tmp_path / "elsewhere", tmp_path / "data")
    with moved as opened:
        opened.load("raw_prices", [lake.land(price_rows(5, 5))])
        opened.publish()
    with moved.reader() as reader:
        assert reader.execute("select count(*), sum(trades) from landing.raw_prices").fetchall() == [(10, 45)]


def test_empty_tables_are_known_without_asking_the_catalog_again(warehouse: DucklakeWarehouse) -> None:
    """A filter on a table without statistics asks for them dozens of times a statement."""
    with warehouse as opened:
        connection = opened._writer
        connection.execute('create table lake.landing."odd name" (a text, b decimal(38, 18), c timestamptz)')
        query = """explain select * from lake.landing."odd name" where a = 'x' and b > 1"""
        asked = [asked_of_the_catalog(connection, query)]
        opened.tables_made()
        asked.append(asked_of_the_catalog(connection, query))
        assert asked[0] > 2 * asked[1]
        assert connection.execute('from lake.landing."odd name"').fetchall() == []
        connection.execute("""insert into lake.landing."odd name" values ('x', 1.5, now()), ('y', 2, now())""")
        connection.execute('alter table lake.landing."odd name" add column d bigint')
        connection.execute("""insert into lake.landing."odd name" values ('z', 3, now(), 7)""")
        opened.tables_made()
        before = housekeeping.last_snapshot(connection)
        opened.tables_made()
        assert housekeeping.last_snapshot(connection) == before
        opened.publish()
    with warehouse.reader() as reader:  # one that knows only what the catalog says
        found = 'select count(*), min(a), max(b), sum(d) from landing."odd name" where {}'
        for condition, row in {
            "true": (3, "x", 3, 7),
            "a = 'y'": (1, "y", 2, None),
            "b > 2": (1, "z", 3, 7),
            "d is null": (2, "x", 2, None),
            "d = 7 and c is not null": (1, "z", 3, 7),
        }.items():
            assert reader.execute(found.format(condition)).fetchall() == [row], condition


def asked_of_the_catalog(connection: DuckDBPyConnection, query: str) -> int:
    """How many queries DuckLake puts to its catalog for one of ours."""
    connection.execute("CALL truncate_duckdb_logs()")
    connection.execute("CALL enable_logging('QueryLog')")
    connection.execute(query).fetchall()
    (row,) = connection.execute(
        "select count(*) from duckdb_logs where message like '%__ducklake_metadata_lake%ducklake_table_stats%'"
    ).fetchall()
    connection.execute("CALL disable_logging()")
    return int(row[0])


def test_small_files_of_many_runs_are_merged_beside_a_reader(
    warehouse: DucklakeWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "SMALL_FILES", 8)
    files = (
        "select count(*) from __ducklake_metadata_lake.ducklake_data_file "
        "join __ducklake_metadata_lake.ducklake_table using (table_id) "
        "where table_name = 't' and ducklake_data_file.end_snapshot is null"
    )
    with warehouse as opened:
        connection = opened._writer
        connection.execute("create schema marts")
        connection.execute("create table marts.t as select range as n from range(3000000)")
        opened.publish()
        most = 0
        with opened.reader() as early:
            for run in range(20):
                connection.execute("insert into marts.t select -1 - range from range(?, ?)", [run * 10, run * 10 + 10])
                connection.execute("delete from marts.t where n between ? and ?", [-run * 10, -run * 10 + 2])
                opened.publish()
                [(count,)] = connection.execute(files).fetchall()
                most = max(most, count)
            assert early.execute("select count(*), min(n) from marts.t").fetchall() == [(3_000_000, 0)]
        with opened.reader() as late:
            left = {-1 - n for n in range(200)} - {-run * 10 + k for run in range(20) for k in range(3)}
            assert {n for (n,) in late.execute("select n from marts.t where n < 0").fetchall()} == left
            assert late.execute("select count(*) from marts.t where n >= 3").fetchall() == [(2_999_997,)]
    assert 2 < most <= 9
