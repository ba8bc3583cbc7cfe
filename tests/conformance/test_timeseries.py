"""Hypertables and candles, kept in step with `timeseries:`, on a real TimescaleDB; and what plain PostgreSQL does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from destinations.timescaledb import TimescaledbDestination
from engine.errors import DestinationError
from engine.load import catch_up
from engine.table import Column, Table
from engine.timeseries import TimeSeries
from tests.conformance.landed_packages import FolderLake
from tests.servers.databases import Dsn

pytestmark = pytest.mark.xdist_group("timescale")  # one of its server is enough
SERIES = TimeSeries("at", timedelta(days=7), candles=("1h", "1d"))
TRADES = Table(
    "raw_trades",
    (Column("symbol", "text"), Column("quote_currency", "text"), Column("price", "decimal"), Column("at", "timestamp")),
    primary_key=("symbol", "at"),
    timeseries=SERIES,
)
START = datetime(2026, 3, 1, tzinfo=UTC)


def trades(first: int, count: int, step: timedelta = timedelta(minutes=30), **other: object) -> list[dict[str, object]]:
    """One trade each `step`, of two symbols in turn, whose price is its number."""
    return [
        {"symbol": "AB"[n % 2], "quote_currency": "USD", "price": Decimal(n), "at": START + n * step, **other}
        for n in range(first, first + count)
    ]


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory) -> FolderLake:
    return FolderLake(tmp_path_factory.mktemp("lake"))


def run(dsn: str, lake: FolderLake, table: Table = TRADES) -> list[str]:
    """What a run does: tables, packages, candles. Returns the notes."""
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([table])
        assert catch_up(opened, lake, [table]).errors == []
        opened.publish()
        return opened.notes


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with TimescaledbDestination("timeseries", dsn).reader() as connection:
        return connection.execute(sql.encode()).fetchall()


LENGTH = "select time_interval from timescaledb_information.dimensions where hypertable_name = 'raw_trades'"
NOW = "select symbol, at, price from timeseries.raw_trades order by at, symbol"


def candles_of(rows: list[dict[str, Any]], length: timedelta) -> list[tuple[Any, ...]]:
    """The same candles, computed here."""
    found: dict[tuple[str, datetime], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["at"]):
        bucket = START + (row["at"] - START) // length * length
        found.setdefault((row["symbol"], bucket), []).append(row)
    return sorted(
        (symbol, bucket, of[0]["price"], max(r["price"] for r in of), min(r["price"] for r in of), of[-1]["price"])
        for (symbol, bucket), of in found.items()
    )


CANDLES = "select symbol, bucket, open, high, low, close from timeseries.raw_trades_{} order by symbol, bucket"


def test_rows_become_a_hypertable_and_candles(timescale: Dsn, lake: FolderLake) -> None:
    lake.land(trades(0, 200), TRADES)
    lake.land(trades(200, 400), TRADES)
    assert run(timescale("warehouse"), lake) == []
    dsn = timescale("warehouse")
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(600,)]
    assert len(ask(dsn, NOW)) == 600
    assert ask(dsn, LENGTH) == [(timedelta(days=7),)]
    chunks = ask(dsn, "select count(*) from timescaledb_information.chunks where hypertable_name = 'raw_trades'")
    assert chunks[0][0] >= 2
    for name, length in (("1h", timedelta(hours=1)), ("1d", timedelta(days=1))):
        assert ask(dsn, CANDLES.format(name)) == candles_of(trades(0, 600), length)


def test_a_later_delivery_replaces_an_earlier_one_and_its_candles(timescale: Dsn, lake: FolderLake) -> None:
    """Within a package the last row counts; a late correction reaches candles that were computed before."""
    dsn = timescale()
    lake.land(trades(0, 100), TRADES)
    run(dsn, lake)
    twice = [{**row, "price": Decimal(-1)} for row in trades(10, 4)] + trades(12, 1, price=Decimal("0.5"))
    lake.land(twice, TRADES)
    run(dsn, lake)
    expected = {row["at"]: row for row in [*trades(0, 100), *twice]}
    assert [row[2] for row in ask(dsn, NOW)] == [row["price"] for row in expected.values()]
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(105,)]
    assert ask(dsn, CANDLES.format("1d")) == candles_of(list(expected.values()), timedelta(days=1))


def test_a_replay_changes_nothing(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale()
    lake.land(trades(0, 50), TRADES)
    lake.land(trades(20, 10, price=Decimal(7)), TRADES)
    run(dsn, lake)
    before, candles = ask(dsn, NOW), ask(dsn, CANDLES.format("1h"))
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([TRADES])
        opened.reset()
        assert opened.cursors() == {}
    run(dsn, lake)
    assert (ask(dsn, NOW), ask(dsn, CANDLES.format("1h"))) == (before, candles)


def test_a_table_that_becomes_a_time_series_later_is_filled_from_what_is_landed(
    timescale: Dsn, lake: FolderLake
) -> None:
    dsn = timescale()
    lake.land(trades(0, 30), TRADES)
    lake.land(trades(5, 1, price=Decimal(99)), TRADES)
    run(dsn, lake, replace(TRADES, timeseries=None))
    assert ask(dsn, "select to_regclass('timeseries.raw_trades')") == [(None,)]
    run(dsn, lake)
    assert [row[2] for row in ask(dsn, NOW)] == [Decimal(99) if n == 5 else Decimal(n) for n in range(30)]
    [note] = run(dsn, lake, replace(TRADES, timeseries=None))
    assert note.startswith("no configured source declares timeseries.raw_trades any more: it stays as it is")
    lake.land(trades(30, 2), TRADES)
    run(dsn, lake, replace(TRADES, timeseries=None))
    run(dsn, lake)
    assert len(ask(dsn, NOW)) == 32


def test_changed_settings_are_applied_by_the_next_run(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale()
    lake.land(trades(0, 600), TRADES)
    run(dsn, lake)
    policies = (
        "select proc_name, config ->> 'compress_after', config ->> 'drop_after' from timescaledb_information.jobs"
        " where hypertable_name = 'raw_trades' order by 1"
    )
    views = "select view_name from timescaledb_information.continuous_aggregates where view_schema = 'timeseries'"
    assert ask(dsn, policies) == []
    changed = replace(
        SERIES,
        chunk=timedelta(days=1),
        compress_after=timedelta(days=30),
        retain=timedelta(days=3650),
        candles=("1d", "15m"),
    )
    run(dsn, lake, replace(TRADES, timeseries=changed))
    assert ask(dsn, policies) == [
        ("policy_compression", "720:00:00", None),
        ("policy_retention", None, "87600:00:00"),
    ]
    assert ask(dsn, LENGTH) == [(timedelta(days=1),)]
    assert sorted(name for (name,) in ask(dsn, views)) == ["raw_trades_15m", "raw_trades_1d"]
    assert ask(dsn, CANDLES.format("15m")) == candles_of(trades(0, 600), timedelta(minutes=15))
    run(dsn, lake, replace(TRADES, timeseries=replace(changed, compress_after=None, retain=timedelta(days=4000))))
    assert ask(dsn, policies) == [("policy_retention", None, "96000:00:00")]


def test_a_compressed_chunk_still_takes_corrections_and_new_columns(timescale: Dsn, lake: FolderLake) -> None:
    dsn, table = timescale(), replace(TRADES, timeseries=replace(SERIES, compress_after=timedelta(days=1)))
    lake.land(trades(0, 400), table)
    run(dsn, lake, table)
    with TimescaledbDestination("timeseries", dsn) as opened:
        compressed = opened._writer.execute("select compress_chunk(c) from show_chunks('timeseries.raw_trades') c")
        assert compressed
    wider = (*TRADES.columns, Column("note", "text"))
    lake.land(trades(3, 2, price=Decimal(1000), note="late"), table, columns=wider)
    run(dsn, lake, table)
    found = ask(dsn, "select price, note from timeseries.raw_trades where note is not null order by at")
    assert found == [(Decimal(1000), "late")] * 2
    assert len(ask(dsn, NOW)) == 400


def test_candles_outlive_the_rows_that_retention_drops(timescale: Dsn, lake: FolderLake) -> None:
    dsn, table = timescale(), replace(TRADES, timeseries=replace(SERIES, retain=timedelta(days=1)))
    lake.land(trades(0, 400), table)
    run(dsn, lake, table)
    with TimescaledbDestination("timeseries", dsn) as opened:
        [(job,)] = opened._writer.execute(
            "select job_id from timescaledb_information.jobs where proc_name = 'policy_retention'"
        )
        opened._writer.execute(f"call run_job({job})")
    run(dsn, lake, table)
    assert ask(dsn, NOW) == []
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(400,)]
    assert ask(dsn, CANDLES.format("1d")) == candles_of(trades(0, 400), timedelta(days=1))


def test_a_column_that_widens_is_followed(timescale: Dsn, lake: FolderLake) -> None:
    whole, broken = (replace(TRADES, columns=(*TRADES.columns, Column("n", kind))) for kind in ("bigint", "double"))
    dsn = timescale()
    lake.land(trades(0, 3, n=1), whole)
    run(dsn, lake, whole)
    lake.land(trades(3, 1, n=2.5), broken)
    run(dsn, lake, broken)
    assert ask(dsn, "select n from timeseries.raw_trades order by at") == [(1.0,), (1.0,), (1.0,), (2.5,)]
    assert ask(dsn, CANDLES.format("1d")) == candles_of(trades(0, 4), timedelta(days=1))


def test_plain_postgresql_keeps_the_tables_and_says_what_is_missing(database: Dsn, lake: FolderLake) -> None:
    dsn = database("plain")
    lake.land(trades(0, 30), TRADES)
    lake.land(trades(5, 1, price=Decimal(99)), TRADES)
    [note] = run(dsn, lake)
    assert "no TimescaleDB" in note
    assert [row[2] for row in ask(dsn, NOW)] == [Decimal(99) if n == 5 else Decimal(n) for n in range(30)]


def test_a_kill_between_reset_and_replay_heals(timescale: Dsn, lake: FolderLake) -> None:
    """The hypertable is empty, landing is not: the next run fills it again."""
    dsn = timescale()
    lake.land(trades(0, 30), TRADES)
    run(dsn, lake)
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._kept.empty()
    run(dsn, lake)
    assert len(ask(dsn, NOW)) == 30


def test_a_table_that_is_somebody_elses_is_left_alone(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("warehouse")
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._writer.execute("CREATE SCHEMA timeseries")
        opened._writer.execute("CREATE TABLE timeseries.raw_trades AS SELECT 1 AS mine")
    lake.land(trades(0, 3), TRADES)
    with pytest.raises(DestinationError, match=r"timeseries\.raw_trades is there already.* nothing was changed"):
        run(dsn, lake)
    assert ask(dsn, "select mine from timeseries.raw_trades") == [(1,)]
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._writer.execute("ALTER TABLE timeseries.raw_trades RENAME TO kept")
    run(dsn, lake)
    assert len(ask(dsn, NOW)) == 3


def test_a_table_of_ours_is_known_without_the_books(timescale: Dsn, lake: FolderLake) -> None:
    """Whoever drops `_settings` gets no advice to drop, or to rename, what Tickhouse has made itself."""
    dsn = timescale("warehouse")
    lake.land(trades(0, 30), TRADES)
    run(dsn, lake)
    before, candles = ask(dsn, NOW), ask(dsn, "select bucket, close from timeseries.raw_trades_1d order by 1, 2")
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._writer.execute("DROP TABLE timeseries._settings")
        [found] = [found for found in opened.examine() if not found.ok]
        assert found.detail == "timeseries._settings is gone"
    assert run(dsn, lake) == ["timeseries._settings had lost raw_trades: it is made anew from landing"]
    assert ask(dsn, NOW) == before
    assert ask(dsn, "select bucket, close from timeseries.raw_trades_1d order by 1, 2") == candles
    assert run(dsn, lake) == []


def test_a_table_that_was_given_up_is_taken_up_again(timescale: Dsn, lake: FolderLake) -> None:
    """Its rows stay meanwhile, through a replay too; it is told once."""
    dsn = timescale("warehouse")
    lake.land(trades(0, 3), TRADES)
    run(dsn, lake)
    plain = replace(TRADES, timeseries=None)
    assert any("no configured source declares timeseries.raw_trades" in note for note in run(dsn, lake, plain))
    assert run(dsn, lake, plain) == []
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.reset()
    assert len(ask(dsn, NOW)) == 3
    lake.land(trades(3, 2), TRADES)
    run(dsn, lake)
    assert [row[2] for row in ask(dsn, NOW)] == [Decimal(n) for n in range(5)]


def test_a_column_called_bucket_is_no_candles_bucket(timescale: Dsn, lake: FolderLake) -> None:
    table = replace(TRADES, columns=(*TRADES.columns, Column("bucket", "text")))
    rows = trades(0, 48, bucket="mine")
    lake.land(rows, table)
    dsn = timescale("warehouse")
    run(dsn, lake, table)
    assert ask(dsn, CANDLES.format("1d")) == candles_of(rows, timedelta(days=1))
