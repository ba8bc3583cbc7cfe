"""When a hypertable is made anew, what people have built on it, and what another type of destination loaded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from destinations.candles import Candles
from destinations.postgres import PostgresDestination
from destinations.postgres_session import PostgresSession
from destinations.timescaledb import TimescaledbDestination
from engine.errors import DestinationError
from engine.load import catch_up
from engine.table import Column, Table
from engine.timeseries import TimeSeries
from tests.conformance.landed_packages import FolderLake
from tests.conformance.test_timescale_faults import ask
from tests.servers.databases import Dsn

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("timescale")]
QUOTES = Table(
    "raw_quotes",
    (Column("symbol", "text"), Column("venue", "text"), Column("price", "decimal"), Column("at", "timestamp")),
    primary_key=("symbol", "at"),
    timeseries=TimeSeries("at", timedelta(days=1), candles=("1d",)),
)
OTHER_ORDER = replace(QUOTES, primary_key=("at", "symbol"))
OTHER_KEY = replace(QUOTES, primary_key=("symbol", "venue", "at"))
OIDS = "select to_regclass('timeseries.raw_quotes')::oid, to_regclass('timeseries.raw_quotes_1d')::oid"
DASH = "select bucket, high from public.my_dash order by bucket"
START = datetime(2026, 3, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def quotes(first: int, count: int, price: int | None = None) -> list[dict[str, object]]:
    return [
        {"symbol": "A", "venue": "X", "price": Decimal(price or n + 1), "at": START + n * timedelta(hours=12)}
        for n in range(first, first + count)
    ]


def run(dsn: str, lake: FolderLake, table: Table = QUOTES, *, replay: bool = False) -> list[str]:
    with TimescaledbDestination("timeseries", dsn) as opened:
        if replay:
            opened.reset()
        opened.ensure([table])
        assert catch_up(opened, lake, [table]).errors == []
        opened.publish()
        return opened.notes


def tell(dsn: str, *statements: str) -> None:
    with TimescaledbDestination("timeseries", dsn) as opened:
        for statement in statements:
            opened._writer.execute(statement)


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


@pytest.fixture
def dashboard(timescale: Dsn, lake: FolderLake) -> Dsn:
    """A hypertable with a candle on which somebody has a view, and which somebody may read."""
    lake.land(quotes(0, 20), QUOTES)
    dsn = timescale("dashboard")
    run(dsn, lake)
    tell(
        dsn,
        "create view public.my_dash as select bucket, high from timeseries.raw_quotes_1d",
        "do $$ begin create role reader; exception when duplicate_object then null; end $$",
        "grant select on timeseries.raw_quotes, timeseries.raw_quotes_1d to reader",
        "grant update (price) on timeseries.raw_quotes to reader",
    )
    return timescale


def granted(dsn: str) -> list[bool]:
    asked = (
        "select has_table_privilege('reader', 'timeseries.raw_quotes', 'SELECT'),"
        " has_table_privilege('reader', 'timeseries.raw_quotes_1d', 'SELECT'),"
        " has_column_privilege('reader', 'timeseries.raw_quotes', 'price', 'UPDATE')"
    )
    return list(ask(dsn, asked)[0])


def test_another_order_of_the_key_changes_nothing(dashboard: Dsn, lake: FolderLake) -> None:
    dsn = dashboard("dashboard")
    before, seen = ask(dsn, OIDS), ask(dsn, DASH)
    lake.land(quotes(5, 1, price=500), QUOTES)
    run(dsn, lake, OTHER_ORDER)
    assert ask(dsn, OIDS) == before
    assert ask(dsn, DASH) == [(day, Decimal(500) if day == START + timedelta(days=2) else high) for day, high in seen]
    assert granted(dsn) == [True] * 3


def test_a_view_of_a_person_stops_a_rebuild_and_grants_are_put_back(dashboard: Dsn, lake: FolderLake) -> None:
    dsn = dashboard("dashboard")
    before, seen = ask(dsn, OIDS), ask(dsn, DASH)
    with pytest.raises(DestinationError, match=r"timeseries\.raw_quotes_1d has to be dropped.* view my_dash depends"):
        run(dsn, lake, OTHER_KEY)
    assert (ask(dsn, OIDS), ask(dsn, DASH)) == (before, seen)
    tell(dsn, "drop view public.my_dash")
    run(dsn, lake, OTHER_KEY)
    assert ask(dsn, OIDS) != before
    assert ask(dsn, "select count(*) from timeseries.raw_quotes") == [(20,)]
    assert granted(dsn) == [True] * 3


def test_a_candle_and_a_key_that_somebody_dropped_are_made_again(timescale: Dsn, lake: FolderLake) -> None:
    lake.land(quotes(0, 20), QUOTES)
    dsn = timescale("mended")
    run(dsn, lake)
    candles = "select bucket, high from timeseries.raw_quotes_1d order by bucket"
    seen = ask(dsn, candles)
    no_key = "alter table timeseries.raw_quotes drop constraint raw_quotes_pkey"
    tell(dsn, "drop materialized view timeseries.raw_quotes_1d", no_key)
    lake.land(quotes(5, 1, price=500), QUOTES)
    assert run(dsn, lake) == [
        "timeseries.raw_quotes had lost its primary key: it is put back",
        "timeseries.raw_quotes_1d was gone: it is made anew",
    ]
    assert ask(dsn, candles) == [
        (day, Decimal(500) if day == START + timedelta(days=2) else high) for day, high in seen
    ]
    assert run(dsn, lake) == []
    tell(dsn, no_key, "insert into timeseries.raw_quotes select * from timeseries.raw_quotes limit 1")
    with pytest.raises(
        DestinationError, match=r"raw_quotes has lost its primary key, which cannot be put back: Key .*du"
    ) as raised:
        run(dsn, lake)
    assert "`engine replay --destination timeseries`" in raised.value.remedy
    run(dsn, lake, replay=True)
    assert ask(dsn, candles)[2] == (START + timedelta(days=2), Decimal(500))
    tell(dsn, "drop table timeseries.raw_quotes cascade", "create view timeseries.raw_quotes_1d as select 1 as mine")
    with pytest.raises(DestinationError, match=r"of that name is there already.*raw_quotes_1d"):
        run(dsn, lake)
    tell(dsn, "drop view timeseries.raw_quotes_1d")
    run(dsn, lake)
    assert ask(dsn, "select count(*) from timeseries.raw_quotes_1d") == [(10,)]
    tell(dsn, "alter table landing.raw_quotes alter column venue set not null")
    lake.land([{**quotes(21, 1)[0], "venue": None}], QUOTES)
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([QUOTES])
        [line] = catch_up(opened, lake, [QUOTES]).errors
    assert 'column "venue" of relation "raw_quotes"' in line


@pytest.mark.parametrize("column", ["venue", "price", "symbol"], ids=["plain", "of candles", "of the key"])
def test_a_column_that_somebody_dropped_is_restored(timescale: Dsn, lake: FolderLake, column: str) -> None:
    """In every row, also in chunks that are compressed; a column that is new is none that was dropped."""
    lake.land(quotes(0, 20), QUOTES)
    lake.land(quotes(5, 2, price=500), QUOTES)
    dsn = timescale(f"columns_{column}")
    run(dsn, lake)
    asked = f"select at, {column} from timeseries.raw_quotes order by at"
    candles = "select bucket, high from timeseries.raw_quotes_1d order by bucket"
    before, seen = ask(dsn, asked), ask(dsn, candles)
    tell(
        dsn,
        "alter table timeseries.raw_quotes set (timescaledb.compress, timescaledb.compress_segmentby = 'source')",
        "select compress_chunk(c) from show_chunks('timeseries.raw_quotes') c",
        *(["select decompress_chunk(c) from show_chunks('timeseries.raw_quotes') c"] if column == "symbol" else []),
        f"alter table timeseries.raw_quotes drop column {column} cascade",
    )
    assert f"timeseries.raw_quotes had lost {column}: restored from landing" in run(dsn, lake)
    assert (ask(dsn, asked), ask(dsn, candles)) == (before, seen)
    more = replace(QUOTES, columns=(*QUOTES.columns, Column("note", "text")))
    lake.land([{**row, "note": "new"} for row in quotes(20, 2)], more)
    assert run(dsn, lake, more) == []


def series(dsn: str) -> tuple[bool, str, str]:
    """What `engine doctor` says of the time series."""
    [found] = [found for found in TimescaledbDestination("timeseries", dsn).examine() if found.what == "time series"]
    return found.ok, found.detail, found.remedy


@pytest.mark.parametrize("emptied", ["truncate timeseries.raw_quotes", "delete from timeseries.raw_quotes"])
def test_a_time_series_that_somebody_emptied_is_filled_again(timescale: Dsn, lake: FolderLake, emptied: str) -> None:
    """TRUNCATE drops the chunks as well: not for good."""
    lake.land(quotes(0, 20), QUOTES)
    dsn = timescale(f"emptied_{emptied[:6]}")
    run(dsn, lake)
    every = (True, "1 table with every row that belongs there", "")
    asked = "select * from timeseries.raw_quotes order by at"
    candles = "select bucket, high from timeseries.raw_quotes_1d order by bucket"
    before, seen = ask(dsn, asked), ask(dsn, candles)
    assert series(dsn) == every
    tell(dsn, emptied)
    assert series(dsn)[:2] == (False, "timeseries.raw_quotes is empty, though rows of it are landed")
    assert run(dsn, lake) == ["timeseries.raw_quotes was empty, though rows of it are landed: filled again"]
    assert (ask(dsn, asked), ask(dsn, candles), series(dsn)) == (before, seen, every)
    assert run(dsn, lake) == []


def test_rows_that_somebody_deleted_from_a_time_series_are_told(timescale: Dsn, lake: FolderLake) -> None:
    """Where chunks were dropped none is lacking, nor what retention will drop; what the remedy says mends it."""
    lake.land(quotes(0, 20), QUOTES)
    dsn = timescale("deleted")
    run(dsn, lake)
    tell(dsn, "select drop_chunks('timeseries.raw_quotes', older_than => '2026-03-04T00:00Z'::timestamptz)")
    assert series(dsn)[0]
    tell(dsn, "delete from timeseries.raw_quotes where at > '2026-03-09'")
    ok, detail, remedy = series(dsn)
    assert (ok, detail) == (False, "timeseries.raw_quotes lacks 3 rows of landing.raw_quotes")
    assert remedy.startswith(
        "`engine replay --destination timeseries` fills every table anew, and views and grants stay"
    )
    assert 'DROP TABLE "timeseries"."raw_quotes" CASCADE, which takes its candles, its grants' in remedy
    run(dsn, lake, replace(QUOTES, timeseries=TimeSeries("at", timedelta(days=1), retain=timedelta(days=2))))
    assert series(dsn)[0]
    run(dsn, lake)
    tell(dsn, "DROP TABLE timeseries.raw_quotes CASCADE")
    assert series(dsn)[:2] == (False, "timeseries.raw_quotes is gone")
    assert run(dsn, lake) == ["timeseries.raw_quotes was gone: it is made anew from landing"]
    assert (series(dsn)[0], ask(dsn, "select count(*) from timeseries.raw_quotes")) == (True, [(20,)])


def test_a_replay_leaves_views_and_grants(dashboard: Dsn, lake: FolderLake) -> None:
    dsn = dashboard("dashboard")
    before, seen = ask(dsn, OIDS), ask(dsn, DASH)
    tell(dsn, "insert into timeseries.raw_quotes (source, symbol, at, price) values ('s', 'Z', '2026-06-01', 1)")
    run(dsn, lake, replay=True)
    assert ask(dsn, OIDS) == before
    assert ask(dsn, DASH) == seen
    assert granted(dsn) == [True] * 3


def test_what_another_type_of_destination_has_loaded_is_filled_in(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("between")
    lake.land(quotes(0, 10), QUOTES)
    run(dsn, lake)
    lake.land(quotes(10, 1), QUOTES)
    lake.land(quotes(3, 1, price=77), QUOTES)
    with PostgresDestination("timeseries", dsn) as opened:
        opened.ensure([QUOTES])
        assert catch_up(opened, lake, [QUOTES]).errors == []
    assert ask(dsn, "select count(*) from timeseries.raw_quotes") == [(10,)]
    lake.land(quotes(11, 1), QUOTES)
    run(dsn, lake)
    found = [price for (price,) in ask(dsn, "select price from timeseries.raw_quotes order by at")]
    assert found == [Decimal(77 if n == 3 else n + 1) for n in range(12)]
    assert ask(dsn, "select high from timeseries.raw_quotes_1d order by bucket limit 2") == [(2,), (77,)]
    assert ask(dsn, "select filled from timeseries._settings") == [(4,)]


def test_made_anew_the_later_row_of_a_package_counts_wherever_it_lies(timescale: Dsn, lake: FolderLake) -> None:
    dsn = timescale("moved")
    lake.land(
        [{**row, "load_timestamp": START + n * TICK} for n, row in enumerate(quotes(0, 1) + quotes(0, 1, 9))], QUOTES
    )
    run(dsn, lake)
    tell(dsn, "update landing.raw_quotes set venue = 'Y' where price = 1", "drop table timeseries.raw_quotes cascade")
    assert ask(dsn, "select price from landing.raw_quotes order by ctid") == [(Decimal(9),), (Decimal(1),)]
    run(dsn, lake)
    assert ask(dsn, "select price from timeseries.raw_quotes") == [(Decimal(9),)]


def test_a_replay_that_a_view_on_landing_stops_takes_nothing(dashboard: Dsn, lake: FolderLake) -> None:
    dsn = dashboard("dashboard")
    before = ask(dsn, "select count(*) from timeseries.raw_quotes")
    tell(dsn, "create view public.of_landing as select * from landing.raw_quotes")
    with pytest.raises(DestinationError, match=r"yours depends on what this load replaces.*view of_landing depends on"):
        run(dsn, lake, replay=True)
    assert ask(dsn, "select count(*) from timeseries.raw_quotes") == before
    assert ask(dsn, "select count(*) from landing.raw_quotes") != [(0,)]


def test_candles_of_a_column_that_is_new(timescale: Dsn, lake: FolderLake) -> None:
    """The table has the column before the candles are made anew of it, and what is landed meanwhile comes too."""
    lake.land(quotes(0, 4), QUOTES)
    dsn = timescale("currencies")
    run(dsn, lake)
    apart = replace(QUOTES, columns=(*QUOTES.columns, Column("currency", "text")))
    lake.land([{**row, "currency": "EUR"} for row in quotes(3, 3)], apart)
    assert run(dsn, lake, apart) == []
    days = "select currency, count(*) from timeseries.raw_quotes_1d group by 1 order by 1 nulls first"
    assert ask(dsn, days) == [(None, 2), ("EUR", 2)]
    assert run(dsn, lake, QUOTES) == []
    assert ask(dsn, "select count(*) from timeseries.raw_quotes_1d") == [(3,)]


def test_payload_fields_named_as_the_order_of_delivery(timescale: Dsn, lake: FolderLake) -> None:
    odd = replace(QUOTES, columns=(*QUOTES.columns, Column("_seq", "bigint"), Column("_place", "text")))
    lake.land([{**row, "_seq": 7, "_place": "x"} for row in quotes(0, 4)], odd)
    lake.land([{**row, "_seq": 1, "_place": "y"} for row in quotes(3, 1, price=99)], odd)
    dsn = timescale("named")
    run(dsn, lake, odd)
    run(dsn, lake, replace(odd, primary_key=OTHER_KEY.primary_key))
    tell(dsn, "drop table timeseries.raw_quotes cascade")
    run(dsn, lake, odd)
    last = "select price, _seq, _place from timeseries.raw_quotes order by at desc limit 1"
    assert ask(dsn, last) == [(Decimal(99), 1, "y")]


def test_a_candle_that_cannot_be_refreshed_keeps_none_of_the_others_back(
    timescale: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(QUOTES, name="raw_trades")
    for table in (QUOTES, other):
        lake.land(quotes(0, 4), table)
    dsn, refresh, refreshed = timescale("refresh"), Candles._refresh, []

    def failing(self: Candles, table: Table, length: str) -> None:
        if table.name == "raw_quotes":
            raise psycopg.errors.RaiseException("boom")
        refreshed.append(table.name)
        refresh(self, table, length)

    monkeypatch.setattr(Candles, "_refresh", failing)
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([QUOTES, other])
        assert catch_up(opened, lake, [QUOTES, other]).errors == []
        with pytest.raises(DestinationError, match=r"timeseries\.raw_quotes_1d: boom") as raised:
            opened.publish()
    assert "The rows are loaded" in raised.value.remedy
    assert refreshed == ["raw_trades"]


def test_a_new_column_comes_before_the_load_s_transaction(
    timescale: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `alter`, which waits for moments: readers do not queue behind it (one session here: how is seen, not that)."""
    lake.land(quotes(0, 2), QUOTES)
    dsn, altered, alter = timescale("altered"), [], PostgresSession.alter
    run(dsn, lake)

    def seen(self: PostgresSession, statement: str) -> None:
        altered.append(statement)
        alter(self, statement)

    monkeypatch.setattr(PostgresSession, "alter", seen)
    wider = replace(QUOTES, columns=(*QUOTES.columns, Column("note", "text")))
    lake.land([{**row, "note": "n"} for row in quotes(2, 1)], wider)
    run(dsn, lake)
    assert [statement for statement in altered if "timeseries" in statement] == [
        'ALTER TABLE "timeseries"."raw_quotes" ADD COLUMN "note" text'
    ]
    assert ask(dsn, "select count(*) from timeseries.raw_quotes where note = 'n'") == [(1,)]
