from __future__ import annotations

import gzip
import itertools
import json
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest

from sources.market_replay.mutate import RECORDINGS

BINANCE = "https://data-api.binance.vision/api/v3"
GECKO = "https://api.coingecko.com/api/v3"
CHART = "https://query2.finance.yahoo.com/v8/finance/chart"
FREE = "https://api.freecryptoapi.com/v1/getData"
TICKER = {"symbols": '["BTCUSDT","ETHUSDT","BCCUSDT"]'}


def recording(name: str):
    path = Path(RECORDINGS / name)
    text = path.read_text() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes()).decode()
    return json.loads(text)


def types_of(rows) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, set()).add(type(value).__name__)
    return found


def test_binance_tickers_have_the_recorded_fields_in_their_order_and_style(web):
    recorded = recording("binance/ticker_24hr_all_2019-08-22.json")
    rows = web.get(f"{BINANCE}/ticker/24hr", params=TICKER).json()
    assert [list(row) for row in rows] == [list(recorded[0])] * 3
    assert types_of(rows) == types_of(recorded)
    texts = [name for name, value in recorded[0].items() if isinstance(value, str) and name != "symbol"]
    for name in texts:
        digits = {len(row[name].partition(".")[2]) for row in recorded} | {0}
        assert {len(row[name].partition(".")[2]) for row in rows} <= digits, name
    halted = next(row for row in recorded if row["firstId"] == -1)
    zeros = {name: value for name, value in rows[2].items() if name not in {"symbol", "openTime", "closeTime"}}
    assert zeros == {name: halted[name] if name != "prevClosePrice" else "0.00000000" for name in zeros}


def test_a_ticker_of_one_symbol_is_an_object(web):
    row = web.get(f"{BINANCE}/ticker/24hr", params={"symbol": "SOLUSDT"}).json()
    low, last, high = (Decimal(row[name]) for name in ("lowPrice", "lastPrice", "highPrice"))
    assert 0 < low <= last <= high
    assert row["closeTime"] - row["openTime"] == 86_400_000


@pytest.mark.parametrize(
    ("params", "file"),
    [
        ({"symbols": '["BTCUSDT","NOPEUSDT"]'}, "error_400_-1121_invalid_symbol.json"),
        ({"symbol": "btcusdt"}, "error_400_-1100_illegal_chars.json"),
    ],
)
def test_binance_refuses_a_whole_call_for_one_bad_symbol(web, params, file):
    answer = web.get(f"{BINANCE}/ticker/24hr", params=params)
    assert (answer.status_code, answer.json()) == (400, recording(f"binance/{file}"))


def test_binance_counts_weight_as_documented(web, replay):
    symbols = [asset.binance for asset in replay.market.universe if asset.binance]
    used = []
    for count in (1, 20, 21):
        params = {"symbols": json.dumps(symbols[:count], separators=(",", ":"))}
        used.append(int(web.get(f"{BINANCE}/ticker/24hr", params=params).headers["X-MBX-USED-WEIGHT-1M"]))
    assert used == [2, 4, 44]


def test_klines_page_by_start_time_and_leave_the_newest_open(web, replay):
    now = int(replay.market.now() * 1000)
    params = {"symbol": "BTCUSDT", "interval": "1h", "startTime": now - 1500 * 3_600_000, "limit": 5000}
    first = web.get(f"{BINANCE}/klines", params=params).json()
    second = web.get(f"{BINANCE}/klines", params=params | {"startTime": first[-1][0] + 1}).json()
    assert (len(first), len(second)) == (1000, 500)
    rows = first + second
    assert all(two[0] - one[0] == 3_600_000 == one[6] + 1 - one[0] for one, two in itertools.pairwise(rows))
    assert rows[-1][0] < now < rows[-1][6]
    assert [type(value).__name__ for value in rows[0]] == ["int", *["str"] * 5, "int", "str", "int", *["str"] * 3]
    assert web.get(f"{BINANCE}/klines", params=params | {"interval": "7h"}).json()["code"] == -1120


def test_daily_klines_are_the_merger_of_hourly_ones(web, replay):
    midnight = int(replay.market.now() // 86_400) * 86_400_000
    window = {"symbol": "ETHUSDT", "startTime": midnight - 86_400_000, "endTime": midnight - 1}
    (day,) = web.get(f"{BINANCE}/klines", params=window | {"interval": "1d"}).json()
    hours = web.get(f"{BINANCE}/klines", params=window | {"interval": "1h"}).json()
    assert len(hours) == 24
    assert (day[1], day[4]) == (hours[0][1], hours[-1][4])
    assert Decimal(day[2]) == max(Decimal(hour[2]) for hour in hours)
    assert Decimal(day[3]) == min(Decimal(hour[3]) for hour in hours)
    assert Decimal(day[5]) == sum(Decimal(hour[5]) for hour in hours)


def test_coingecko_markets_have_the_recorded_fields_and_types(web):
    name = "coingecko/coins_markets_usd_per250_page1_2022-02-23.json"
    recorded = recording(name)
    asked = {"vs_currency": "usd", "per_page": 250, "price_change_percentage": "1h,24h,7d,14d,30d,200d,1y"}
    rows = web.get(f"{GECKO}/coins/markets", params=asked).json()
    assert list(rows[0]) == list(recorded[0])
    for field, types in types_of(rows).items():
        assert types <= types_of(recorded)[field], field
    assert {row["roi"] is None for row in rows} == {row["max_supply"] is None for row in rows} == {True, False}
    roi = next(row["roi"] for row in rows if row["roi"])
    assert list(roi) == list(next(row["roi"] for row in recorded if row["roi"]))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["last_updated"]) for row in rows)


def test_coingecko_pages_end_with_an_empty_list_and_unknown_ids_are_left_out(web, replay):
    asked = {"vs_currency": "usd", "per_page": 40}
    pages = [web.get(f"{GECKO}/coins/markets", params=asked | {"page": page}).json() for page in (1, 2, 3, 9)]
    ids = [row["id"] for page in pages for row in page]
    assert len(ids) == len(set(ids)) == len(replay.market.universe.by_coingecko)
    assert pages[-1] == []
    known = web.get(f"{GECKO}/coins/markets", params={"vs_currency": "usd", "ids": "nope,bitcoin"}).json()
    assert [row["id"] for row in known] == ["bitcoin"]
    missing = web.get(f"{GECKO}/coins/markets")
    expected = recording("coingecko/error_422_coins_markets_missing_param.json")
    assert (missing.status_code, missing.json()) == (422, expected)


def test_freecryptoapi_is_all_text(web):
    headers = {"Authorization": "Bearer any"}
    answer = web.get(f"{FREE}?symbol=BTC+BNB+NOPE", headers=headers).json()
    recorded = recording("freecryptoapi/getData_multi_COMPOSED.json")
    assert answer["status"] == recorded["status"]
    assert [list(row) for row in answer["symbols"]] == [list(row) for row in recorded["symbols"]]
    assert [row["symbol"] for row in answer["symbols"]] == ["BTC", "BNB"]
    assert types_of(answer["symbols"]) == types_of(recorded["symbols"])
    assert answer["symbols"][0]["date"] == "2026-05-20 12:34:56"
    unknown = web.get(f"{FREE}?symbol=NOPE", headers=headers)
    assert (unknown.status_code, unknown.json()["status"]) == (200, False)


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("GOOG", "yahoo_chart_v8/chart-GOOG-2020-01-01-to-2020-01-03.json"),
        ("BTC-USD", "yahoo_chart_v8/chart-BTC-USD-2020-01-01-to-2020-01-03.json"),
    ],
)
def test_a_chart_has_the_recorded_keys_and_types(web, symbol, file):
    recorded = recording(file)["chart"]["result"][0]
    params = {"interval": "1d", "period1": 1767225600, "period2": 1769904000}
    result = web.get(f"{CHART}/{symbol}", params=params).json()["chart"]["result"][0]
    assert set(result) == set(recorded)
    assert set(result["meta"]) == set(recorded["meta"])
    for name, value in recorded["meta"].items():
        assert type(result["meta"][name]) is type(value), name
    assert set(result["indicators"]["quote"][0]) == set(recorded["indicators"]["quote"][0])
    lengths = {len(column) for column in result["indicators"]["quote"][0].values()} | {len(result["timestamp"])}
    assert len(lengths) == 1
    assert lengths.pop() in {20, 31}


def test_a_year_of_a_share_has_dividends_and_a_split_that_restates_the_past(web, replay):
    params = {"interval": "1d", "range": "1y", "events": "div,splits"}
    before = web.get(f"{CHART}/AVGO", params=params).json()["chart"]["result"][0]
    assert len(before["events"]["dividends"]) == 4
    assert "splits" not in before["events"]
    replay.advance(14 * 86_400)
    after = web.get(f"{CHART}/AVGO", params=params).json()["chart"]["result"][0]
    (split,) = after["events"]["splits"].values()
    assert (split["numerator"], split["denominator"], split["splitRatio"]) == (2, 1, "2:1")
    both = set(before["timestamp"]) & set(after["timestamp"])
    closes = [dict(zip(r["timestamp"], r["indicators"]["quote"][0]["close"], strict=True)) for r in (before, after)]
    assert all(closes[0][at] / closes[1][at] == pytest.approx(2, rel=1e-3) for at in both)


def test_adjusted_closes_take_off_later_dividends(web):
    params = {"interval": "1d", "range": "1y", "events": "div"}
    result = web.get(f"{CHART}/KO", params=params).json()["chart"]["result"][0]
    closes, adjusted = result["indicators"]["quote"][0]["close"], result["indicators"]["adjclose"][0]["adjclose"]
    ratios = [b / a for a, b in zip(closes, adjusted, strict=True)]
    assert ratios[-1] == pytest.approx(1)
    assert ratios[0] == pytest.approx(1 - 2.04 / 70, abs=0.01)
    assert all(one <= two + 3e-7 for one, two in itertools.pairwise(ratios))


@pytest.mark.parametrize(
    ("symbol", "params", "status", "file"),
    [
        ("NOPE", {}, 404, "error_404_not_found.json"),
        ("AAPL", {"interval": "1m", "range": "3mo"}, 422, "error_422_1m_range.json"),
        ("AAPL", {"period1": 1565740800, "period2": 1596067200}, 400, "error_400_no_data_range.json"),
    ],
)
def test_yahoo_errors_are_the_quoted_ones(web, symbol, params, status, file):
    answer = web.get(f"{CHART}/{symbol}", params=params)
    expected = recording(f"yahoo_chart_v8/{file}")
    without_times = [re.sub(r"\d{10}", "T", json.dumps(body)) for body in (answer.json(), expected)]
    assert answer.status_code == status
    assert without_times[0] == without_times[1]


def test_all_apis_quote_one_path_within_a_few_basis_points(web):
    binance = Decimal(web.get(f"{BINANCE}/ticker/price", params={"symbol": "BTCUSDT"}).json()["price"])
    gecko = web.get(f"{GECKO}/simple/price", params={"ids": "bitcoin", "vs_currencies": "usd"}).json()["bitcoin"]["usd"]
    free = web.get(f"{FREE}?symbol=BTC", headers={"Authorization": "Bearer any"}).json()["symbols"][0]["last"]
    yahoo = web.get(f"{CHART}/BTC-USD").json()["chart"]["result"][0]["meta"]["regularMarketPrice"]
    prices = [float(value) for value in (binance, gecko, free, yahoo)]
    assert 0 < max(prices) / min(prices) - 1 < 0.0009


def test_fifty_tickers_take_less_than_fifty_milliseconds(web, replay):
    symbols = [asset.binance for asset in replay.market.universe if asset.binance][:50]
    params = {"symbols": json.dumps(symbols, separators=(",", ":"))}
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert len(web.get(f"{BINANCE}/ticker/24hr", params=params).json()) == 50
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05
