from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from sources.market_replay import Fault
from sources.market_replay.faults import KINDS, NEEDS_FIELD
from sources.market_replay.mutate import RECORDINGS

TICKER = "https://data-api.binance.vision/api/v3/ticker/24hr?symbols=[%22BTCUSDT%22,%22ETHUSDT%22]"
KLINES = "https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=5"
MARKETS = "https://api.coingecko.com/api/v3/coins/markets?vs_currency=usd&per_page=10"
FREE = "https://api.freecryptoapi.com/v1/getData?symbol=BTC&token=any"
CHART = "https://query2.finance.yahoo.com/v8/finance/chart/BTC-USD?range=5d&interval=1d"

pytestmark = pytest.mark.faults


@pytest.fixture
def strike(replay, web):
    """The answer under a fault; afterwards the fault has fired once and the next answer is sound."""

    def get(url: str, fault: Fault, **kwargs) -> requests.Response:
        (armed,) = replay.inject(fault)
        answer = web.get(url, timeout=20, **kwargs)
        assert armed.fired == 1
        assert replay.requests[-1].fault == fault.kind
        assert web.get(url).ok
        assert armed.fired == 1
        return answer

    return get


@pytest.mark.parametrize("status", [418, 429, 451, 401, 403, 500, 502, 503])
@pytest.mark.parametrize("url", [TICKER, MARKETS, FREE, CHART])
def test_a_status_comes_with_the_api_s_own_body(strike, url, status):
    answer = strike(url, Fault("status", status=status))
    assert answer.status_code == status
    assert answer.headers["X-Tickhouse-Simulated"] == "1"
    if "yahoo" not in url:
        assert isinstance(answer.json(), dict)
    elif status == 429:
        assert answer.text == (RECORDINGS / "yahoo_chart_v8/error_429_edge.txt").read_text()


def test_binance_limits_are_the_recorded_bodies(strike):
    answer = strike(TICKER, Fault("status", status=429))
    assert answer.json() == json.loads((RECORDINGS / "binance/error_429_-1003_weight.json").read_text())
    assert int(answer.headers["Retry-After"]) > 0
    assert strike(TICKER, Fault("status", status=418)).json()["code"] == -1003


@pytest.mark.parametrize(("asked", "expected"), [("30", "30"), ("0", "0"), ("none", None)])
def test_retry_after_in_seconds_zero_or_missing(strike, asked, expected):
    assert strike(TICKER, Fault("status", status=429, retry_after=asked)).headers.get("Retry-After") == expected


def test_retry_after_as_a_date(strike, replay):
    value = strike(MARKETS, Fault("status", status=429, retry_after="date:90")).headers["Retry-After"]
    now = datetime.fromtimestamp(int(replay.market.now()), tz=UTC)
    assert (parsedate_to_datetime(value) - now).total_seconds() == pytest.approx(90, abs=1)


@pytest.mark.parametrize("kind", ["reset_before", "reset_middle"])
def test_a_reset_is_seen_as_a_broken_connection(replay, web, kind):
    (armed,) = replay.inject(Fault(kind))
    broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    with pytest.raises(broken, match=r"(?i)reset|aborted"):
        web.get(KLINES)
    assert armed.fired == 1
    assert len(web.get(KLINES).json()) == 5


def test_slow_and_trickle_take_their_time(strike):
    began = time.perf_counter()
    strike(TICKER, Fault("slow", seconds=0.3))
    slow = time.perf_counter() - began
    began = time.perf_counter()
    assert len(strike(KLINES, Fault("trickle", rate=3000)).json()) == 5
    assert slow > 0.3
    assert time.perf_counter() - began > 0.2


def test_bodies_that_are_no_answer(strike):
    with pytest.raises(requests.JSONDecodeError):
        strike(TICKER, Fault("truncated_json")).json()
    html = strike(TICKER, Fault("html"))
    assert (html.status_code, html.headers["Content-Type"][:9]) == (200, "text/html")
    empty = strike(TICKER, Fault("empty"))
    assert (empty.status_code, empty.content) == (200, b"")
    error = strike(MARKETS, Fault("error_object"))
    assert (error.status_code, error.json()["status"]["error_code"]) == (200, 429)


def test_a_redirect_names_another_host(strike):
    answer = strike(TICKER, Fault("redirect", to="http://127.0.0.1:1/stolen"), allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:1/stolen")


def test_fields_that_change(strike):
    assert all(row["x"] == "1" for row in strike(MARKETS, Fault("added_field", field="x", to="1")).json())
    renamed = strike(MARKETS, Fault("renamed_field", field="current_price", to="price")).json()
    assert all("price" in row and "current_price" not in row for row in renamed)
    assert "symbol" not in strike(MARKETS, Fault("removed_field", field="symbol", row=0)).json()[0]
    rows = strike(MARKETS, Fault("retyped_field", field="current_price", to="object", row=1)).json()
    assert [isinstance(row["current_price"], dict) for row in rows[:3]] == [False, True, False]
    assert isinstance(
        strike(MARKETS, Fault("retyped_field", field="market_cap", to="text")).json()[0]["market_cap"], str
    )
    assert strike(KLINES, Fault("null", field="4", row=2)).json()[2][4] is None
    chart = strike(CHART, Fault("null", field="close", row=0)).json()["chart"]["result"][0]
    assert chart["indicators"]["quote"][0]["close"][0] is None
    assert chart["indicators"]["quote"][0]["open"][0] is not None


@pytest.mark.parametrize(
    ("fault", "token"),
    [
        (Fault("nan", field="current_price", row=0), b'"current_price":NaN,'),
        (Fault("huge_number", field="current_price", row=0), b'"current_price":1e400,'),
        (Fault("literal", field="current_price", row=0, to="-0"), b'"current_price":-0,'),
        (Fault("odd_text", field="name", row=0, to="nul"), b"a\\u0000b"),
        (Fault("odd_text", field="name", row=0, to="surrogate"), b"\\ud83d"),
        (Fault("odd_text", field="name", row=0, to="rtl"), b"\\u202e"),
        (Fault("odd_text", field="name", row=0, to="emoji"), b"\\ud83d\\ude80"),
    ],
)
def test_values_that_json_should_not_hold(strike, fault, token):
    body = strike(MARKETS, fault).content
    assert body.count(token) == 1
    json.loads(body)


def test_rows_twice_and_pages_that_move(strike, replay, web):
    assert len(strike(MARKETS, Fault("duplicate_rows", count=3)).json()) == 13
    assert strike(MARKETS, Fault("empty_page")).json() == []
    pages = [[row["id"] for row in web.get(f"{MARKETS}&page={page}").json()] for page in (1, 2, 3)]
    shifted = strike(f"{MARKETS}&page=2", Fault("shifting_pages", count=4)).json()
    assert [row["id"] for row in shifted] == pages[0][6:] + pages[1][:6]
    replay.inject(Fault("looping_pages", path="coins/markets", count=2, times=None))
    seen = [[row["id"] for row in web.get(f"{MARKETS}&page={page}").json()] for page in (1, 2, 3, 99)]
    assert seen == [pages[0], pages[1], pages[1], pages[1]]
    replay.clear_faults()
    newest = web.get(KLINES).json()
    replay.inject(Fault("looping_pages", path="klines"))
    assert web.get(f"{KLINES}&startTime=1700000000000").json() == newest


def test_times_from_the_future_or_in_the_wrong_unit(strike, web):
    sound = web.get(KLINES).json()
    assert [row[0] for row in strike(KLINES, Fault("seconds_for_milliseconds")).json()] == [r[0] // 1000 for r in sound]
    future = strike(KLINES, Fault("future_times", seconds=86_400, row=4)).json()
    assert future[4][0] - sound[4][0] == 86_400_000
    ahead = Fault("future_times", seconds=86_400)
    assert strike(MARKETS, ahead).json()[0]["last_updated"].startswith("2026-05-21T12:34")
    assert strike(FREE, ahead).json()["symbols"][0]["date"] == "2026-05-21 12:34:56"
    before = web.get(CHART).json()["chart"]["result"][0]["timestamp"]
    assert strike(CHART, ahead).json()["chart"]["result"][0]["timestamp"] == [at + 86_400 for at in before]


def test_a_huge_answer_is_streamed_and_valid(strike):
    answer = strike(KLINES, Fault("huge_answer", size=3_000_000), stream=True)
    body = answer.content
    assert len(body) > 3_000_000
    assert len(json.loads(body)) > 1000


def test_a_gzip_bomb_is_small_on_the_wire(strike):
    answer = strike(KLINES, Fault("gzip_bomb", size=20_000_000), stream=True)
    packed = answer.raw.read(decode_content=False)
    assert len(packed) < 100_000
    assert len(gzip.decompress(packed)) > 19_000_000


def test_a_recording_is_served_digit_by_digit(strike, replay):
    name = "coingecko/coins_markets_eth_multi_2021-05-15.json"
    answer = strike(MARKETS, Fault("recording", to=name))
    assert answer.text == (RECORDINGS / name).read_text()
    rows = [entry.row for entry in replay.ledger.entries("coingecko.markets") if entry.fault == "recording"]
    assert [row["current_price"] for row in rows] == ["12.666344", "1.0"]
    assert strike(FREE, Fault("recording", to="coingecko/error_429_rate_limit.json")).status_code == 429
    gzipped = strike(TICKER, Fault("recording", to="binance/ticker_24hr_all_2019-08-22.json"))
    assert len(gzipped.json()) == 595


def test_faults_choose_host_path_query_and_turn(replay, web):
    (armed,) = replay.inject(
        Fault("status", status=500, host=r"data-api\..*", path="klines$", query="symbol=ETH", after=1, times=2)
    )
    urls = [TICKER, KLINES, MARKETS, *[KLINES.replace("BTC", "ETH")] * 4]
    assert [web.get(url).status_code for url in urls] == [200, 200, 200, 200, 500, 500, 200]
    assert armed.fired == 2


def test_a_fault_that_could_never_fire_is_refused():
    for wrong in (
        {"kind": "nonsense"},
        {"kind": "null"},
        {"kind": "odd_text", "field": "x"},
        {"kind": "html", "path": "("},
    ):
        with pytest.raises(ValueError, match="fault"):
            Fault(**wrong)


def test_a_fault_that_changes_nothing_has_not_fired(replay, web):
    (armed,) = replay.inject(Fault("null", field="current_price"))
    assert web.get(KLINES).ok
    assert (armed.fired, replay.requests[-1].fault) == (0, "")
    assert web.get(MARKETS).json()[0]["current_price"] is None
    assert armed.fired == 1


def test_every_kind_of_fault_fires(replay, web):
    for kind in KINDS:
        extra = {"field": "name"} if kind in NEEDS_FIELD else {}
        to = {"retyped_field": "list", "odd_text": "rtl", "recording": "coingecko/error_404_coin_not_found.json"}
        (armed,) = replay.inject(
            Fault(kind, **extra, to=to.get(kind, "1"), seconds=0.01, rate=1_000_000, size=2_000_000, status=0)
        )
        url = KLINES if kind == "seconds_for_milliseconds" else f"{MARKETS}&page=3"
        try:
            faulted = web.get(url, allow_redirects=False).content
        except requests.RequestException:
            faulted = b"broken"
        assert armed.fired == 1, kind
        if kind not in {"slow", "trickle"}:
            assert faulted != web.get(url).content, kind


def test_the_ledger_holds_every_row_before_it_is_served(tmp_path):
    from sources.market_replay import MarketReplay

    file = tmp_path / "ledger.jsonl"
    with MarketReplay(ledger_file=file) as server, requests.Session() as session:
        server.inject(Fault("reset_before", after=1))
        served = session.get(f"{server.url}/{MARKETS.removeprefix('https://')}").json()
        with pytest.raises(requests.ConnectionError):
            session.get(f"{server.url}/{MARKETS.removeprefix('https://')}")
        entries = [json.loads(line) for line in Path(file).read_text().splitlines()]
        assert [entry["row"] for entry in entries if not entry["fault"]] == served
        assert [entry["number"] for entry in entries] == list(range(1, 21))
        assert {entry["fault"] for entry in entries[10:]} == {"reset_before"}
        over_http = session.get(f"{server.url}/_control/ledger?resource=coingecko.markets").json()
        assert over_http == entries


def test_the_ledger_has_a_chart_s_bars_as_rows(replay, web):
    result = web.get(CHART).json()["chart"]["result"][0]
    rows = [entry.row for entry in replay.ledger.entries("yahoo.chart")]
    assert [row["timestamp"] for row in rows] == result["timestamp"]
    assert [row["close"] for row in rows] == result["indicators"]["quote"][0]["close"]
