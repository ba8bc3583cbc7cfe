"""Candles and retention: refreshed wherever rows are left, kept as they were wherever rows are gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from destinations.timescaledb import TimescaledbDestination
from engine.load import catch_up
from engine.table import Column, Table
from engine.timeseries import TimeSeries
from tests.conformance.landed_packages import FolderLake
from tests.conformance.test_timescale_faults import ask
from tests.servers.databases import Dsn

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("timescale")]
DAY = timedelta(days=1)
SERIES = TimeSeries("at", DAY, retain=30 * DAY, candles=("1h", "1d"))
QUOTES = Table(
    "raw_quotes",
    (Column("symbol", "text"), Column("price", "decimal"), Column("at", "timestamp")),
    primary_key=("symbol", "at"),
    timeseries=SERIES,
)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
HIGHS = "select high, row_count from timeseries.raw_quotes_1d order by bucket"
ROWS = "select count(*) from timeseries.raw_quotes"


def quotes(oldest: int, newest: int, price: int | None = None, symbol: str = "A") -> list[dict[str, object]]:
    """Two quotes a day, from so many days ago to so many; the price is the age unless it is given."""
    return [
        {"symbol": symbol, "price": Decimal(price or age), "at": TODAY - age * DAY + timedelta(hours=hour)}
        for age in range(oldest, newest - 1, -1)
        for hour in (6, 18)
    ]


def run(dsn: str, lake: FolderLake, series: TimeSeries = SERIES, *, publish: bool = True) -> list[str]:
    table = replace(QUOTES, timeseries=series)
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([table])
        assert catch_up(opened, lake, [table]).errors == []
        if publish:
            opened.publish()
        return opened.notes


def tell(dsn: str, sql: str) -> None:
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._writer.execute(sql)


def retain(dsn: str) -> None:
    """What TimescaleDB's background worker does in its time."""
    [(job,)] = ask(
        dsn,
        "select job_id from timescaledb_information.jobs where proc_name = 'policy_retention'"
        " and hypertable_name = 'raw_quotes'",
    )
    tell(dsn, f"call run_job({job})")


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


def test_rows_older_than_retain_reach_their_candles_before_they_go(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("older")
    lake.land(quotes(40, 1), QUOTES)
    run(dsn, lake)
    lake.land(quotes(69, 60), QUOTES)
    lake.land(quotes(35, 35, price=9999), QUOTES)
    run(dsn, lake)
    expected = [(Decimal(9999 if age == 35 else age), 2) for age in (*range(69, 59, -1), *range(40, 0, -1))]
    assert ask(dsn, HIGHS) == expected
    retain(dsn)
    assert ask(dsn, ROWS)[0][0] < 2 * 32
    run(dsn, lake)
    assert ask(dsn, HIGHS) == expected


def test_candles_of_dropped_rows_stay_when_retain_is_loosened(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("loosened")
    lake.land(quotes(50, 1), QUOTES)
    run(dsn, lake)
    before = ask(dsn, HIGHS)
    assert len(before) == 50
    retain(dsn)
    assert ask(dsn, ROWS)[0][0] < 2 * 32
    for longer in (60 * DAY, None):
        run(dsn, lake, replace(SERIES, retain=longer))
        assert ask(dsn, HIGHS) == before
    lake.land(quotes(20, 20, price=777), QUOTES)
    run(dsn, lake, replace(SERIES, retain=None))
    assert ask(dsn, HIGHS) == [(Decimal(777), 2) if row[0] == 20 else row for row in before]


def test_a_late_row_among_dropped_ones_leaves_their_candle_and_is_told(timescale: Dsn, lake: FolderLake) -> None:
    """D18: the row is there; the candle of all rows is not made anew from the one. A range that never had rows is."""
    dsn = timescale("late")
    lake.land(quotes(50, 1), QUOTES)
    run(dsn, lake)
    before = ask(dsn, HIGHS)
    retain(dsn)
    left = ask(dsn, ROWS)[0][0]
    assert left < 2 * 32
    lake.land(quotes(45, 45, price=5555), QUOTES)
    [note] = run(dsn, lake)
    assert note.startswith("2 late rows of timeseries.raw_quotes lie where chunks were dropped")
    lake.land(quotes(80, 78), QUOTES)
    assert run(dsn, lake) == []
    assert ask(dsn, ROWS) == [(left + 8,)]
    assert ask(dsn, HIGHS) == [(Decimal(80), 2), (Decimal(79), 2), (Decimal(78), 2), *before]
    retain(dsn)
    run(dsn, lake)
    assert ask(dsn, HIGHS) == [(Decimal(80), 2), (Decimal(79), 2), (Decimal(78), 2), *before]


def test_chunks_that_somebody_merged_are_not_gone(timescale: Dsn, lake: FolderLake) -> None:
    """Their candles follow their rows. One that was dropped, and made again by late rows, before that stays gone."""
    dsn, chunks = (
        timescale("merged"),
        "select c::text from show_chunks('timeseries.raw_quotes') c order by length(c::text), c::text",
    )
    lake.land(quotes(20, 11), QUOTES)
    run(dsn, lake)
    first, second, third, *_ = [name for (name,) in ask(dsn, chunks)]
    tell(dsn, f"call merge_chunks('{first}', '{second}')")
    assert ask(dsn, f"select to_regclass('{second}')") == [(None,)]
    lake.land(quotes(19, 19, price=777), QUOTES)
    assert run(dsn, lake) == []
    assert ask(dsn, HIGHS) == [(Decimal(777 if age == 19 else age), 2) for age in range(20, 10, -1)]
    tell(dsn, f"drop table {third}")
    for price in (888, 999):
        lake.land(quotes(18, 18, price=price), QUOTES)
        [note] = run(dsn, lake)
        assert note.startswith("2 late rows of timeseries.raw_quotes lie where chunks were dropped")
        if price == 888:
            made = {name for (name,) in ask(dsn, chunks)} - {first, second, third, *_}
            tell(dsn, f"call merge_chunks('{first}', '{made.pop()}')")
    assert ask(dsn, HIGHS)[2] == (Decimal(18), 2)


def test_a_run_that_dies_before_the_first_refresh_is_made_good(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("died")
    lake.land(quotes(50, 1), QUOTES)
    run(dsn, lake, publish=False)
    watermark = "select count(*) from timeseries.raw_quotes_1d"
    tell(dsn, "alter materialized view timeseries.raw_quotes_1d set (timescaledb.materialized_only = true)")
    assert ask(dsn, watermark) == [(0,)]
    run(dsn, lake)
    assert ask(dsn, watermark) == [(50,)]


def test_chunks_dropped_before_they_were_noted_are_found(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("unnoted")
    lake.land(quotes(50, 1), QUOTES)
    run(dsn, lake)
    before = ask(dsn, HIGHS)
    retain(dsn)
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened._writer.execute("drop table timeseries._chunks")
    run(dsn, lake, replace(SERIES, retain=None))
    assert ask(dsn, HIGHS) == before


def told(dsn: str) -> str:
    """What `engine doctor` finds wrong with the time series."""
    [found] = [found for found in TimescaledbDestination("timeseries", dsn).examine() if found.what == "time series"]
    return "" if found.ok else found.detail


@pytest.mark.parametrize("by", ["retention", "a person"])
def test_rows_that_were_all_dropped_do_not_come_back(timescale: Dsn, lake: FolderLake, by: str) -> None:
    """Whatever `retain` says later, and though somebody truncates the table then: what it had by then comes back."""
    dsn, forever = timescale(f"dropped by {by}"), replace(SERIES, retain=None)
    lake.land(quotes(50, 41), QUOTES)
    run(dsn, lake, SERIES if by == "retention" else forever)
    before = ask(dsn, HIGHS)
    if by == "retention":
        retain(dsn)
    else:
        tell(dsn, f"select drop_chunks('timeseries.raw_quotes', older_than => '{TODAY.isoformat()}'::timestamptz)")
    for _ in range(2):
        assert (ask(dsn, ROWS), told(dsn)) == ([(0,)], "")
        assert run(dsn, lake, forever) == []
    tell(dsn, "truncate timeseries.raw_quotes")
    assert (run(dsn, lake, forever), told(dsn), ask(dsn, HIGHS)) == ([], "", before)
    lake.land(quotes(5, 4), QUOTES)
    assert run(dsn, lake, forever) == []
    empty = "timeseries.raw_quotes is empty, though rows of it are landed"
    for emptied in ("truncate", "delete from"):
        tell(dsn, f"{emptied} timeseries.raw_quotes")
        assert told(dsn) == empty
        assert run(dsn, lake, forever) == [f"{empty.replace('is empty', 'was empty')}: filled again"]
        assert (ask(dsn, ROWS), told(dsn)) == ([(4,)], "")
        assert ask(dsn, HIGHS) == [*before, (Decimal(5), 2), (Decimal(4), 2)]


def test_a_truncate_before_a_looser_retain_brings_back_what_retention_had_left(
    timescale: Dsn, lake: FolderLake
) -> None:
    """All of it between two runs, the first of a release that noted no filenode: chunks tell by their age alone."""
    dsn = timescale("truncated and loosened")
    lake.land(quotes(50, 41), QUOTES)
    lake.land(quotes(5, 4), QUOTES)
    run(dsn, lake)
    retain(dsn)
    tell(dsn, "truncate timeseries.raw_quotes")
    tell(dsn, "alter table timeseries._settings drop column filenode")
    tell(dsn, "alter table timeseries._chunks drop column dropped")
    assert told(dsn)
    [note] = run(dsn, lake, replace(SERIES, retain=None))
    assert note.endswith("filled again")
    assert (ask(dsn, ROWS), told(dsn), len(ask(dsn, HIGHS))) == ([(4,)], "", 12)
    assert run(dsn, lake, replace(SERIES, retain=None)) == []
