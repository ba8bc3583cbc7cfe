"""What a user reads when Yahoo does not deliver; the tickers that do answer are delivered all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import TickhouseError
from sources.protocol import Asset

DAY = 86_400
OPEN = 1_741_008_600  # Monday, 2025-03-03 09:30 in New York
FAST = {"parallel": 1}
ERROR = '{{"chart":{{"result":null,"error":{{"code":"Bad Request","description":"{}"}}}}}}'


def stocks(*tickers: str) -> list[Asset]:
    return [Asset(ticker, "stock") for ticker in tickers]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries."""
    monkeypatch.setattr("sources.http.adapter.pause", lambda *_: 0.0)


def said(outcome: Any, ticker: str) -> list[str]:
    return [message for item, message in outcome.notices if item == ticker]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, ERROR.format("No data found, symbol may be delisted").encode(),
         "Yahoo does not know the ticker (404: No data found, symbol may be delisted)"),
        (400, ERROR.format("Data doesn't exist for startDate = 1").encode(),
         "Yahoo refuses the request (400: Data doesn't exist for startDate = 1)"),
        (422, ERROR.format("1m data not available").encode(),
         "Yahoo refuses the request (422: 1m data not available)"),
        (451, b"", "Yahoo refuses the request (451: no reason given)"),
        (200, ERROR.format("Range is not valid").encode(), "Range is not valid"),
        (200, b"<html>Will be right back</html>", "the answer is not JSON"),
        (200, b'{"chart": {"result": [{"meta": {}, "timest', "the answer is not JSON"),
        (200, b"", "the answer is not JSON"),
        (200, b"[1, 2]", "the answer holds no chart; Yahoo may have changed its format"),
        (200, b'{"chart": null}', "the answer holds no chart; Yahoo may have changed its format"),
        (200, b'{"chart": {"result": [null]}}', "the answer holds no chart; Yahoo may have changed its format"),
        (200, b"[" * 100_000, "the answer is not JSON"),
    ],
)  # fmt: skip
def test_one_bad_ticker_costs_only_itself(
    status: int, body: bytes, sentence: str, yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"BAD": (status, body), "GOOD": (200, chart_body([OPEN]))}
    outcome = extract("stocks", stocks("BAD", "GOOD"), facts=False)
    assert outcome.error is None
    assert [row["ticker"] for row in outcome.rows] == ["GOOD"]
    assert outcome.notices == [("BAD", sentence)]
    assert sum("chart/BAD" in path for path, _ in yahoo.asked) == 1


@pytest.mark.usefixtures("quick")
def test_a_server_error_is_asked_again_and_then_said(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"BAD": (503, b"<html>busy</html>"), "GOOD": (200, chart_body([OPEN]))}
    outcome = extract("stocks", stocks("BAD", "GOOD"), facts=False, client=FAST)
    (sentence,) = said(outcome, "BAD")
    assert "answered 503 (5 times" in sentence
    assert [row["ticker"] for row in outcome.rows] == ["GOOD"]


@pytest.mark.usefixtures("quick")
def test_after_three_refusals_for_haste_the_rest_is_not_asked(yahoo: Any, extract: Callable[..., Any]) -> None:
    tickers = [f"T{at}" for at in range(30)]
    yahoo.charts = dict.fromkeys(tickers, (429, b"Edge: Too Many Requests"))
    outcome = extract("stocks", stocks(*tickers), facts=False, client=FAST)
    assert outcome.rows == []
    assert len({path for path, _ in yahoo.asked if "chart" in path}) == 3
    assert "none of 30 tickers could be read" in outcome.error.reason
    assert "429" in outcome.error.reason
    assert "Wait an hour" in outcome.error.remedy
    assert not outcome.error.terminal


def test_a_long_retry_after_is_not_waited_for(yahoo: Any, extract: Callable[..., Any]) -> None:
    yahoo.charts = {"T": (429, b"Edge: Too Many Requests")}
    yahoo.headers = {"Retry-After": "3600"}
    outcome = extract("stocks", stocks("T", "U", "V", "W"), facts=False, client=FAST)
    assert "asks to wait 3600 s" in said(outcome, "T")[0]
    assert sum("chart" in path for path, _ in yahoo.asked) == 1


def test_only_unknown_tickers_is_an_error_of_the_list(yahoo: Any, extract: Callable[..., Any]) -> None:
    outcome = extract("stocks", stocks("ZZ1", "ZZ2"))
    assert outcome.rows == []
    assert outcome.error.terminal
    assert outcome.error.reason == (
        "yfinance: none of 2 tickers could be read; 2 times: "
        "Yahoo does not know the ticker (404: No data found, symbol may be delisted)"
    )
    assert "`yfinance` symbols" in outcome.error.remedy


@pytest.mark.usefixtures("quick")
def test_what_may_come_when_asked_again_is_counted_as_missed(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {
        "BUSY": (503, b""),
        "NONE": (404, ERROR.format("No data found, symbol may be delisted").encode()),
        "YOUNG": (400, ERROR.format("Data doesn't exist for startDate = 1").encode()),
        "BROKEN": (200, b"<html>"),
        "GOOD": (200, chart_body([OPEN])),
    }
    outcome = extract("stocks", stocks(*yahoo.charts), facts=False, client=FAST)
    assert outcome.missed == ["BUSY", "BROKEN"]
    assert [item for item, _ in outcome.notices] == ["BUSY", "NONE", "YOUNG", "BROKEN"]


def test_a_symbol_that_is_an_address_is_not_asked(yahoo: Any, extract: Callable[..., Any]) -> None:
    outcome = extract("stocks", stocks("../../v1/test", "a b"))
    assert yahoo.asked == []
    assert [message for _, message in outcome.notices] == ["this is not a symbol of Yahoo's"] * 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda result: result["indicators"]["quote"][0].pop("close"),
         "the bars have no `close` values; Yahoo may have changed its format"),
        (lambda result: result["indicators"]["quote"][0]["close"].append(1),
         "1 bars but 2 `close` values: the answer is damaged"),
        (lambda result: result.update(timestamp=["2025-03-03"]),
         "the bars' timestamps are not whole seconds; Yahoo may have changed its format"),
        (lambda result: result.update(timestamp=[None]),
         "the bars' timestamps are not whole seconds; Yahoo may have changed its format"),
        (lambda result: result.update(timestamp=[10**18]),
         "the bars' timestamps are not whole seconds; Yahoo may have changed its format"),
        (lambda result: result.update(events={"dividends": {"1": {"amount": 1, "date": 10**18}}}),
         "the answer holds odd values; Yahoo may have changed its format"),
    ],
)  # fmt: skip
def test_a_changed_format_is_said(
    change: Callable[[dict[str, Any]], object],
    sentence: str,
    yahoo: Any,
    extract: Callable[..., Any],
    chart_body: Callable[..., bytes],
) -> None:
    answer = json.loads(chart_body([OPEN]))
    change(answer["chart"]["result"][0])
    yahoo.charts = {"A": (200, json.dumps(answer).encode()), "B": (200, chart_body([OPEN]))}
    outcome = extract("stocks", stocks("A", "B"), facts=False)
    assert outcome.notices == [("A", sentence)]
    assert [row["ticker"] for row in outcome.rows] == ["B"]


def test_a_new_field_is_kept_beside_and_a_retyped_one_as_it_came(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    answer = json.loads(chart_body([OPEN, OPEN + DAY], close=["12.50", 13]))
    answer["chart"]["result"][0]["indicators"]["quote"][0]["vwap"] = [1, 2]
    yahoo.charts = {"A": (200, json.dumps(answer).encode())}
    rows = extract("stocks", stocks("A"), facts=False).rows
    assert [(row["close_price"], row["vwap"]) for row in rows] == [("12.50", 1), (13, 2)]


@pytest.mark.parametrize("empty", ["null", "NaN"])
def test_a_bar_without_a_price_is_left_out_and_counted(
    empty: str, yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    none: list[Any] = [1, None, 3]
    body = chart_body([OPEN, OPEN + DAY, OPEN + 2 * DAY], open=none, high=none, low=none, close=none, volume=none)
    yahoo.charts = {"A": (200, body.replace(b"null,", f"{empty},".encode()))}
    outcome = extract("stocks", stocks("A"), facts=False)
    assert [row["close_price"] for row in outcome.rows] == [1, 3]
    assert outcome.notices == [("A", "1 bars without any price left out")]


def test_a_bar_with_some_prices_stays(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.charts = {"A": (200, chart_body([OPEN], close=[None], volume=[None]))}
    (row,) = extract("stocks", stocks("A"), facts=False).rows
    assert (row["close_price"], row["volume"], row["open_price"]) == (None, None, 1)


@pytest.mark.usefixtures("quick")
def test_without_cookies_and_crumbs_prices_come_all_the_same(
    yahoo: Any, extract: Callable[..., Any], chart_body: Callable[..., bytes]
) -> None:
    yahoo.cookie = yahoo.crumb = (503, b"")
    tickers = [f"T{at}" for at in range(6)]
    yahoo.charts = {ticker: (200, chart_body([OPEN])) for ticker in tickers}
    outcome = extract("stocks", stocks(*tickers), facts=False)
    assert [row["ticker"] for row in outcome.rows] == tickers
    assert outcome.notices == []
    assert len(yahoo.asked) < 6 + 8


def test_nothing_is_printed_or_written_elsewhere(
    yahoo: Any,
    extract: Callable[..., Any],
    chart_body: Callable[..., bytes],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    yahoo.charts = {"A": (200, chart_body([OPEN])), "B": (200, b"<html>")}
    extract("stocks", stocks("A", "B", "C"))
    assert capfd.readouterr() == ("", "")
    assert list(home.rglob("*")) == []


def test_a_run_that_is_told_to_stop_stops_while_it_waits(yahoo: Any, extract: Callable[..., Any]) -> None:
    def stop(_seconds: float, _why: str) -> None:
        raise TickhouseError("the run was stopped")

    yahoo.charts = {f"T{at}": (503, b"") for at in range(20)}
    outcome = extract("stocks", stocks(*yahoo.charts), wait=stop)
    assert outcome.error.reason == "the run was stopped"
    assert outcome.notices == []
