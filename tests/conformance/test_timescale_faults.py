"""TimescaleDB's own faults: rows for compressed chunks, keys with a NULL, chunks that retention has dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from destinations.timescaledb import TimescaledbDestination
from engine.load import catch_up
from engine.table import Column, Table
from engine.timeseries import TimeSeries
from tests.conformance.landed_packages import FolderLake
from tests.servers.databases import Dsn

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("timescale")]
TRADES = Table(
    "raw_trades",
    (Column("symbol", "text"), Column("price", "decimal"), Column("at", "timestamp")),
    primary_key=("symbol", "at"),
    timeseries=TimeSeries("at", timedelta(days=7), compress_after=timedelta(days=30), candles=("1d",)),
)
START = datetime(2026, 1, 5, tzinfo=UTC)


def trades(first: int, count: int, price: int = 0) -> list[dict[str, object]]:
    """A trade every six hours."""
    return [
        {"symbol": "A", "price": Decimal(price or n), "at": START + n * timedelta(hours=6)}
        for n in range(first, first + count)
    ]


def run(dsn: str, lake: FolderLake, *, replay: bool = False) -> None:
    with TimescaledbDestination("timeseries", dsn) as opened:
        if replay:
            opened.reset()
        opened.ensure([TRADES])
        assert catch_up(opened, lake, [TRADES]).errors == []
        opened.publish()


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        return connection.execute(sql.encode()).fetchall()


NOW = "select at, price from timeseries.raw_trades order by at"
CHUNKS = "select count(*), count(*) filter (where is_compressed) from timescaledb_information.chunks"


def test_rows_for_compressed_chunks(timescale: Dsn, tmp_path: Any) -> None:
    """D17: a re-delivery with other prices, a key with a NULL, and a replay, all into chunks that are compressed."""
    lake, dsn = FolderLake(tmp_path / "lake"), timescale("compressed")
    lake.land(trades(0, 100), TRADES)
    run(dsn, lake)
    ask(dsn, "select compress_chunk(c, if_not_compressed => true) from show_chunks('timeseries.raw_trades') c")
    [(chunks, compressed)] = ask(dsn, CHUNKS + " where hypertable_name = 'raw_trades'")
    assert chunks == compressed > 2
    lake.land([*trades(10, 40, price=7), {"symbol": None, "price": Decimal(1), "at": START}], TRADES)
    lake.land(trades(30, 30, price=9), TRADES)
    run(dsn, lake)
    expected = {row["at"]: row["price"] for row in (*trades(0, 100), *trades(10, 40, 7), *trades(30, 30, 9))}
    assert ask(dsn, NOW) == sorted(expected.items())
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(171,)]
    run(dsn, lake, replay=True)
    assert ask(dsn, NOW) == sorted(expected.items())
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(171,)]


def test_late_rows_for_chunks_that_were_dropped(timescale: Dsn, tmp_path: Any) -> None:
    """D18: what was dropped does not come back with the next run; rows that are late are there, and counted."""
    lake, dsn = FolderLake(tmp_path / "lake"), timescale("dropped")
    lake.land(trades(0, 200), TRADES)
    run(dsn, lake)
    border = START + timedelta(days=28)
    gone = ask(dsn, f"select drop_chunks('timeseries.raw_trades', older_than => '{border.isoformat()}'::timestamptz)")
    assert len(gone) >= 3
    left = ask(dsn, NOW)
    assert 0 < len(left) < 200
    late = [{**row, "symbol": "LATE"} for row in trades(3, 5)]
    lake.land(late, TRADES)
    run(dsn, lake)
    run(dsn, lake)
    came = ask(dsn, "select count(*) from timeseries.raw_trades where symbol = 'LATE'")
    assert came == [(5,)]
    assert ask(dsn, NOW.replace("order", "where symbol <> 'LATE' order")) == left
    assert ask(dsn, "select count(*) from landing.raw_trades") == [(205,)]
