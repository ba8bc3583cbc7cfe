"""Which bars a run asks for and delivers, which are live, and what stands on them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sources.protocol import Asset, Window
from sources.yfinance.chart import parse_chart

DAY = 86_400
OPEN = 1_741_012_200  # Monday, 2025-03-03 09:30 in New York
WEEK = [OPEN + at * DAY for at in range(5)]
APPLE = [Asset("AAPL", "stock")]
HOURS = {"currentTradingPeriod": {"regular": {"start": WEEK[4], "end": WEEK[4] + 23_400}}}
FACTS = (
    b'{"quoteSummary":{"result":[{"assetProfile":{"sector":"Technology","industry":"Consumer Electronics"},'
    b'"summaryDetail":{"marketCap":3321000000001,"trailingPE":35.512345678901,"fiftyTwoWeekHigh":260.1,'
    b'"fiftyTwoWeekLow":{"raw":164.08,"fmt":"164.08"},"averageVolume":{}},'
    b'"quoteType":{"longName":"Apple Inc."}}],"error":null}}'
)


def charts(yahoo: Any) -> list[dict[str, list[str]]]:
    return [query for path, query in yahoo.asked if "/chart/" in path]


def test_the_first_run_asks_for_the_period_with_one_call(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"AAPL": (200, chart_body(WEEK))}
    outcome = extract("stocks", APPLE, period="1mo", facts=False)
    assert [query["range"] for query in charts(yahoo)] == [["1mo"]]
    assert [row["date"] for row in outcome.rows] == [date(2025, 3, day) for day in range(3, 8)]


def test_the_next_run_asks_from_the_last_bar_and_reads_five_again(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    state: dict[str, Any] = {}
    yahoo.charts = {"AAPL": (200, chart_body([OPEN - at * DAY for at in range(20, -1, -1)]))}
    assert len(extract("stocks", APPLE, state=state, facts=False).rows) == 21
    later = [OPEN + at * DAY for at in range(-12, 3)]
    yahoo.charts = {"AAPL": (200, chart_body(later))}
    rows = extract("stocks", APPLE, state=state, facts=False).rows
    query = charts(yahoo)[-1]
    assert int(query["period1"][0]) < OPEN - 5 * DAY
    assert [int(row["observed_at"].timestamp() - OPEN) // DAY for row in rows] == [-4, -3, -2, -1, 0, 1, 2]


def test_a_failed_ticker_keeps_its_place(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    state: dict[str, Any] = {}
    yahoo.charts = {"AAPL": (200, chart_body(WEEK))}
    extract("stocks", APPLE, state=state, facts=False)
    before = str(state)
    yahoo.charts = {"AAPL": (200, b"<html>")}
    extract("stocks", APPLE, state=state, facts=False)
    assert str(state) == before
    assert str(WEEK[-1]) in before


def test_a_backfill_asks_for_its_window_and_keeps_to_it(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"AAPL": (200, chart_body([*WEEK, OPEN + 20 * DAY]))}
    yahoo.summaries = {"AAPL": (200, FACTS)}
    start = datetime.fromtimestamp(WEEK[1], tz=UTC)
    outcome = extract("stocks", APPLE, window=Window(start, start + timedelta(days=2)))
    (query,) = charts(yahoo)
    assert (query["period1"], query["period2"]) == ([str(WEEK[1])], [str(WEEK[3])])
    assert [row["date"].day for row in outcome.rows] == [4, 5]
    assert {row["market_cap"] for row in outcome.rows} == {None}


def test_an_empty_range_is_no_failure(yahoo: Any, extract: Callable[..., Any]) -> None:
    body = b'{"chart":{"result":[{"meta":{"validRanges":["5d"]},"indicators":{"quote":[{}]}}],"error":null}}'
    yahoo.charts = {"AAPL": (200, body)}
    outcome = extract("stocks", APPLE, facts=False)
    assert (outcome.rows, outcome.notices, outcome.error) == ([], [], None)


@pytest.mark.parametrize(
    ("last", "traded", "live"),
    [
        (WEEK[4] + 4711, WEEK[4] + 4711, True),  # the last trade as a bar of its own
        (WEEK[4], WEEK[4] + 4711, True),  # on the grid, but the session is open
        (WEEK[4], WEEK[4] + 23_401, False),
        (WEEK[4], WEEK[4] + 40 * DAY, False),
    ],
)
def test_the_last_daily_bar(last: int, traded: int, live: bool, chart_body: Callable[..., bytes]) -> None:  # noqa: FBT001
    body = chart_body([*WEEK[:4], last], {**HOURS, "regularMarketTime": traded})
    assert [bar.live for bar in parse_chart(body, "1d").bars] == [False] * 4 + [live]


@pytest.mark.parametrize(("traded", "live"), [(OPEN + 3600 + 60, True), (OPEN + 7200, False)])
def test_the_last_hourly_bar(traded: int, live: bool, chart_body: Callable[..., bytes]) -> None:  # noqa: FBT001
    body = chart_body([OPEN, OPEN + 3600], {**HOURS, "regularMarketTime": traded})
    assert [bar.live for bar in parse_chart(body, "1h").bars] == [False, live]


def test_todays_crypto_bar_is_live_until_the_day_ends(chart_body: Callable[..., bytes]) -> None:
    midnight = OPEN // DAY * DAY
    meta = {"exchangeTimezoneName": "UTC",
            "currentTradingPeriod": {"regular": {"start": midnight, "end": midnight + DAY - 60}},
            "regularMarketTime": midnight + 50_000}  # fmt: skip
    assert [bar.live for bar in parse_chart(chart_body([midnight - DAY, midnight], meta), "1d").bars] == [False, True]


def test_a_dividend_counts_on_its_day_though_the_bar_is_live(chart_body: Callable[..., bytes]) -> None:
    events = {"dividends": {"x": {"amount": 0.1, "date": WEEK[4]}, "y": {"amount": 0.2, "date": WEEK[4]}},
              "splits": {"z": {"numerator": 1, "denominator": 3, "date": WEEK[0]}}}  # fmt: skip
    bars = parse_chart(chart_body([*WEEK[:4], WEEK[4] + 4711], events=events), "1d").bars
    assert [bar.dividends for bar in bars] == [0, 0, 0, 0, Decimal("0.3")]
    assert bars[0].splits == Decimal("0.333333333333333333")


def test_an_event_outside_every_bar_is_said(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    events = {"dividends": {"x": {"amount": 0.1, "date": OPEN - 30 * DAY}}}
    yahoo.charts = {"AAPL": (200, chart_body(WEEK, events=events))}
    outcome = extract("stocks", APPLE, facts=False)
    assert outcome.notices == [("AAPL", "1 dividends or splits fall on no bar and are left out")]


def test_pence_stay_pence_and_the_date_is_londons(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    meta = {"currency": "GBp", "exchangeTimezoneName": "Europe/London"}
    yahoo.charts = {"VOD.L": (200, chart_body([1_751_266_800 - 8 * 3600], meta, close=[77.66]))}
    (row,) = extract("stocks", [Asset("VOD", "stock", symbols={"yfinance": "VOD.L"})], facts=False).rows
    assert (row["ticker"], row["symbol"], row["currency"], row["close_price"]) == (
        "VOD", "VOD.L", "GBp", Decimal("77.66"),
    )  # fmt: skip
    assert (row["observed_at"], row["date"]) == (datetime(2025, 6, 29, 23, tzinfo=UTC), date(2025, 6, 30))


def test_digits_beyond_what_is_stored_are_rounded_off(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    body = chart_body([WEEK[0]]).replace(b'"close": [1]', b'"close": [1.2345678901234567e-05]')
    yahoo.charts = {"SHIB-USD": (200, body)}
    (row,) = extract("crypto", [Asset("SHIB", "crypto")]).rows
    assert row["price"] == Decimal("0.000012345678901235")


def test_company_facts_stand_on_every_bar(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"AAPL": (200, chart_body(WEEK))}
    yahoo.summaries = {"AAPL": (200, FACTS)}
    outcome = extract("stocks", APPLE)
    assert outcome.notices == []
    assert sum("quoteSummary" in path for path, _ in yahoo.asked) == 1
    for row in outcome.rows:
        assert {name: row[name] for name in ("company_name", "sector", "industry", "market_cap", "pe_ratio",
                                             "week_52_high", "week_52_low", "avg_volume")} == {
            "company_name": "Apple Inc.", "sector": "Technology", "industry": "Consumer Electronics",
            "market_cap": 3321000000001, "pe_ratio": Decimal("35.512345678901"), "week_52_high": Decimal("260.1"),
            "week_52_low": Decimal("164.08"), "avg_volume": None}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b'{"finance":{"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'), (404, b"{}"),
     (200, b"<html>"), (200, b"[]"), (200, b'{"quoteSummary":{"result":null}}')],
)  # fmt: skip
def test_missing_facts_cost_only_the_facts(
    status: int, body: bytes, yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    tickers = [Asset(f"T{at}", "stock") for at in range(12)]
    yahoo.charts = {asset.symbol: (200, chart_body(WEEK)) for asset in tickers}
    yahoo.summaries = {asset.symbol: (status, body) for asset in tickers}
    outcome = extract("stocks", tickers, client={"parallel": 1})
    assert len(outcome.rows) == 60
    assert {row["market_cap"] for row in outcome.rows} == {None}
    ((_, sentence),) = outcome.notices
    assert sentence.startswith("12 without company facts: ")
    assert len({path for path, _ in yahoo.asked if "quoteSummary" in path}) == 3


def test_two_runs_in_one_process_keep_apart(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    names = {"stocks": [f"S{at}" for at in range(20)], "crypto": [f"C{at}-USD" for at in range(20)]}
    for at, ticker in enumerate([*names["stocks"], *names["crypto"]]):
        yahoo.charts[ticker] = (200, chart_body([OPEN], close=[at]))
    found: dict[str, Any] = {}

    def run(resource: str) -> None:
        assets = [Asset(name, "x", symbols={"yfinance": name}) for name in names[resource]]
        found[resource] = extract(resource, assets, **({"facts": False} if resource == "stocks" else {}))

    threads = [threading.Thread(target=run, args=(resource,)) for resource in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["close_price"] for row in found["stocks"].rows] == list(range(20))
    assert [row["price"] for row in found["crypto"].rows] == list(range(20, 40))


def test_a_second_run_sees_new_answers(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    past = Window(datetime.fromtimestamp(WEEK[0], tz=UTC), datetime.fromtimestamp(WEEK[4], tz=UTC))
    for close in (1, 2):
        yahoo.charts = {"AAPL": (200, chart_body([OPEN], close=[close]))}
        assert [row["close_price"] for row in extract("stocks", APPLE, window=past).rows] == [close]
