"""The blocks of pipelines.yaml for Binance, CoinGecko and FreeCryptoAPI, fed with recorded answers."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import SourceError
from sources.protocol import Asset, Window
from sources.rest.settings import RestSource

RECORDINGS = Path(__file__).parents[3] / "sources" / "market_replay" / "recordings"
DAY = 86_400_000
HOUR = 3_600_000


def recorded(name: str) -> bytes:
    path = RECORDINGS / name
    return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())


def listed(column: str, symbols: list[str]) -> dict[str, list[Asset]]:
    return {"crypto": [Asset(symbol.upper(), "crypto", symbols={column: symbol}) for symbol in symbols]}


def exact(body: bytes):
    return json.loads(body, parse_float=Decimal)


def test_every_recorded_binance_ticker_arrives_to_the_last_digit(api, extract, shipped):
    body = recorded("binance/ticker_24hr_all_2019-08-22.json")
    sent = {row["symbol"]: row for row in exact(body)}
    api.answer = lambda _path, query: [sent[symbol] for symbol in json.loads(query["symbols"])]
    run = extract(shipped("binance"), only="ticker", assets=listed("binance", list(sent)))
    assert len(api.seen) == -(-len(sent) // 100)
    assert {row["symbol"] for row in run.rows} == set(sent)
    for row in run.rows:
        was = sent[row["symbol"]]
        assert row["price"] == (None if was["firstId"] == -1 else was["lastPrice"])
        assert (row["volume"], row["volume_quote"], row["volume_unit"]) == (was["volume"], was["quoteVolume"], "base")
        assert row["observed_at"] == was["closeTime"]
        assert (row["first_id"], row["weighted_avg_price"]) == (was["firstId"], was["weightedAvgPrice"])
    halted = [row for row in run.rows if row["first_id"] == -1]
    assert halted
    assert all(row["price"] is None and row["count"] == 0 for row in halted)
    assert run.notices == []


def test_a_ticker_that_is_one_object_is_no_list_of_rows(api, extract, shipped):
    api.answer = lambda _path, _query: recorded("binance/ticker_24hr_single_xchange.json")
    with pytest.raises(SourceError, match=r"its body is an object where a list of rows is expected: .*BNBBTC"):
        extract(shipped("binance"), only="ticker")


def test_base_and_quote_come_from_the_asset_list(api, extract, shipped):
    api.answer = lambda _path, query: [{"symbol": symbol} for symbol in json.loads(query["symbols"])]
    assets = {"crypto": [Asset(name, "crypto", symbols={"binance": pair}) for name, pair in PAIRS.items()]}
    run = extract(shipped("binance"), only="ticker", assets=assets)
    assert [(row["base_currency"], row["quote_currency"]) for row in run.rows] == [
        ("BTC", "USDT"),
        ("USDC", "USDT"),
        ("ETH", "BTC"),
        ("MATIC", "USDT"),
    ]


TICKER = {"lastPrice": "1", "volume": "1", "quoteVolume": "1", "closeTime": 1, "firstId": 1}
PAIRS = {"BTC": "BTCUSDT", "USDC": "USDCUSDT", "ETH": "ETHBTC", "MATIC": "POLUSDT"}


def test_one_bad_symbol_costs_only_itself_and_few_calls(api, extract, shipped):
    bad = "S37USDT"
    error = (400, {}, recorded("binance/error_400_-1121_invalid_symbol.json"))

    def answer(_path, query):
        asked = json.loads(query["symbols"])
        return error if bad in asked else [{**TICKER, "symbol": symbol} for symbol in asked]

    api.answer = answer
    symbols = [f"S{number}USDT" for number in range(50)]
    run = extract(shipped("binance"), only="ticker", assets=listed("binance", symbols))
    assert sorted(row["symbol"] for row in run.rows) == sorted(set(symbols) - {bad})
    assert run.notices == [(bad, "Binance does not know this symbol")]
    assert len(api.seen) <= 13


def test_a_batch_of_bad_symbols_lands_nothing_and_names_each(api, extract, shipped):
    api.answer = lambda _path, _query: (400, {}, recorded("binance/error_400_-1121_invalid_symbol.json"))
    run = extract(shipped("binance"), only="ticker", assets=listed("binance", ["A", "B", "C"]))
    assert run.rows == []
    assert sorted(item for item, _ in run.notices) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("binance/error_400_-1100_illegal_chars.json", 400, "answered 400: it does not understand.*-1100"),
        ("binance/error_418_-1003_ip_banned.json", 418, "banned for ignoring rate limits"),
        ("binance/error_429_-1003_weight.json", 429, r"answered 429 \(2 times"),
        ("coingecko/error_401_10002_key_missing.json", 401, "answered 401: it refuses the credentials.*10002"),
        ("coingecko/error_401_10005_pro_only.json", 401, "answered 401: .*10005"),
        ("coingecko/error_404_coin_not_found.json", 404, "answered 404: .*coin not found"),
        ("coingecko/error_422_coins_markets_missing_param.json", 422, "answered 422: .*vs_currency"),
        ("coingecko/error_429_rate_limit.json", 429, r"answered 429 \(2 times"),
        ("coingecko/error_429_rate_limit.json", 200, "is an object where a list of rows is expected: .*429"),
    ],
)
def test_recorded_errors_give_one_clear_message(api, extract, shipped, name, status, words):
    api.answer = lambda _path, _query: (status, {}, recorded(name))
    source, only = ("binance", "ticker") if name.startswith("binance") else ("coingecko", "")
    with pytest.raises(SourceError, match=words) as caught:
        extract(shipped(source), only=only)
    assert caught.value.reason.startswith("probe: 127.0.0.1")
    assert caught.value.remedy
    assert "key-of-the-test" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "coins_markets_usd_bitcoin_only_2021-05-15.json",
        "coins_markets_eth_multi_2021-05-15.json",
        "coins_markets_usd_per250_page1_2022-02-23.json",
        "coins_markets_usd_per251_clamped_to_250_2022-02-23.json",
        "coins_markets_usd_per1_page2_2022-02-23.json",
        "official_oas_example_coins_markets_2026-05.json",
    ],
)
def test_every_recorded_coingecko_market_arrives_to_the_last_digit(api, extract, shipped, name):
    body = recorded(f"coingecko/{name}")
    sent = {row["id"]: row for row in exact(body)}
    api.answer = lambda _path, _query: body
    run = extract(shipped("coingecko"), assets=listed("coingecko", list(sent)))
    assert len(api.seen) == 1
    assert api.seen[0][1]["ids"].split(",") == list(sent)
    assert [row["symbol"] for row in run.rows] == list(sent)
    for row in run.rows:
        was = sent[row["symbol"]]
        assert (row["price"], row["volume"]) == (was["current_price"], was["total_volume"])
        assert row["observed_at"] == was["last_updated"]
        assert (row["market_cap"], row["high_24h"], row["low_24h"]) == (
            was["market_cap"],
            was["high_24h"],
            was["low_24h"],
        )
        change = was["price_change_24h"]
        assert row["price_change_24h"] == (None if change is None else str(change))
        assert row["roi"] == was["roi"]
        assert row["base_currency"] == was["id"].upper()
    assert run.notices == []


def test_a_coin_that_coingecko_leaves_out_is_named(api, extract, shipped):
    api.answer = lambda _path, _query: recorded("coingecko/coins_markets_past_last_page_empty_2022-02-23.json")
    run = extract(shipped("coingecko"))
    assert run.rows == []
    assert [item for item, _ in run.notices] == ["btc", "eth"]


@pytest.mark.parametrize(
    "name", ["getData_BTC_2025-11-08.json", "getData_BTC_2026-02-17.json", "getData_multi_COMPOSED.json"]
)
def test_every_recorded_freecryptoapi_answer_arrives(api, extract, shipped, name):
    body = recorded(f"freecryptoapi/{name}")
    sent = exact(body)["symbols"]
    api.answer = lambda _path, _query: body
    symbols = [row["symbol"] for row in sent]
    run = extract(shipped("freecryptoapi"), assets=listed("freecryptoapi", symbols))
    assert api.targets == [f"/v1/getData?symbol={'+'.join(symbols)}"]
    for row, was in zip(run.rows, sent, strict=True):
        assert (row["symbol"], row["price"], row["observed_at"]) == (was["symbol"], was["last"], was["date"])
        assert row["volume"] is None
        assert row["daily_change_percentage"] == was["daily_change_percentage"]
        assert (row["base_currency"], row["quote_currency"]) == (was["symbol"], "USD")
    assert run.notices == []


def test_freecryptoapi_refuses_with_status_200(api, extract, shipped):
    api.answer = lambda _path, _query: recorded("freecryptoapi/error_plan_no_history.json")
    with pytest.raises(SourceError, match=r"FreeCryptoAPI refuses .*does not include historical data") as caught:
        extract(shipped("freecryptoapi"))
    assert caught.value.terminal
    assert "plan" in caught.value.remedy
    assert len(api.seen) == 1


class Klines:
    """Candles as Binance serves them: from startTime, at most `limit`, endTime included."""

    def __init__(self, now: datetime, close: str = "1.5") -> None:
        self.now = int(now.timestamp() * 1000)
        self.close = close

    def __call__(self, _path, query):
        step = DAY if query["interval"] == "1d" else HOUR
        first = -(-int(query.get("startTime", 0)) // step) * step
        last = min(int(query.get("endTime", self.now)), self.now)
        opens = range(first, last + 1, step)[: int(query["limit"])]
        return [[at, "1.0", "2.0", "0.5", self.close, "10", at + step - 1, "15", 7, "5", "7", "0"] for at in opens]


NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ONE = listed("binance", ["BTCUSDT"])


def test_candles_begin_with_a_year_of_days_and_a_month_of_hours(api, extract, shipped):
    api.answer = Klines(NOW)
    run = extract(shipped("binance"), only="candles", assets=ONE)
    assert [len(page) for page in run.pages] == [365, 30 * 24 + 1]
    assert len(api.seen) == 2
    row = run.rows[0]
    assert row == {
        "symbol": "BTCUSDT",
        "base_currency": "BTCUSDT",
        "quote_currency": "USDT",
        "interval": "1d",
        "open_time": int((NOW - timedelta(days=365)).timestamp() * 1000) // DAY * DAY + DAY,
        "open": "1.0",
        "high": "2.0",
        "low": "0.5",
        "close": "1.5",
        "volume": "10",
        "volume_unit": "base",
        "close_time": row["open_time"] + DAY - 1,
        "volume_quote": "15",
        "trades": 7,
        "taker_volume": "5",
        "taker_volume_quote": "7",
        "field_11": "0",
    }


def test_the_open_candle_is_fetched_again_and_delivered_when_it_changed(api, extract, shipped):
    state: dict[str, object] = {}
    deliveries = []
    for close in ["1.5", "1.5", "1.6", "1.5"]:
        api.answer = Klines(NOW, close)
        run = extract(shipped("binance"), only="candles", assets=ONE, state=state)
        deliveries.append([(row["interval"], row["close"]) for row in run.rows])
    assert len(deliveries[0]) > 1000
    assert deliveries[1:] == [[], [("1d", "1.6"), ("1h", "1.6")], [("1d", "1.5"), ("1h", "1.5")]]
    assert len(json.dumps(state)) < 400


def test_candles_of_a_long_absence_come_in_pages(api, extract, shipped):
    state: dict[str, object] = {}
    api.answer = Klines(NOW)
    extract(shipped("binance"), only="candles", assets=ONE, state=state)
    later = NOW + timedelta(days=100)
    api.answer = Klines(later)
    run = extract(shipped("binance"), only="candles", assets=ONE, state=state, now=later)
    hours = [row["open_time"] for row in run.rows if row["interval"] == "1h"]
    assert [len(page) for page in run.pages] == [100, 999, 999, 402]
    assert hours == list(range(hours[0], hours[0] + 2400 * HOUR, HOUR))


def test_a_backfill_asks_for_its_window_and_leaves_the_position_alone(api, extract, shipped):
    api.answer = Klines(NOW)
    state: dict[str, object] = {}
    window = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 31, tzinfo=UTC))
    run = extract(shipped("binance"), only="candles", assets=ONE, state=state, window=window)
    start, end = (int(at.timestamp() * 1000) for at in (window.start, window.end))
    assert [row["open_time"] for row in run.rows if row["interval"] == "1d"] == list(range(start, end, DAY))
    assert [row["open_time"] for row in run.rows if row["interval"] == "1h"] == list(range(start, end, HOUR))
    assert state in ({}, {"cursors": {}})


def test_an_unknown_pair_costs_only_its_own_candles(api, extract, shipped):
    good = Klines(NOW)

    def answer(path, query):
        if query["symbol"] == "BADUSDT":
            return 400, {}, recorded("binance/error_400_-1121_invalid_symbol.json")
        return good(path, query)

    api.answer = answer
    run = extract(shipped("binance"), only="candles", assets=listed("binance", ["AUSDT", "BADUSDT", "CUSDT"]))
    assert {row["symbol"] for row in run.rows} == {"AUSDT", "CUSDT"}
    assert set(run.notices) == {("BADUSDT", "Binance does not know this symbol")}


@pytest.mark.parametrize(
    ("source", "resource", "assets", "calls", "weight"),
    [
        ("binance", "ticker", 20, 1, 2),
        ("binance", "ticker", 50, 1, 40),
        ("binance", "ticker", 101, 2, 42),
        ("binance", "candles", 50, 100, 200),
        ("coingecko", "raw_cryptoprices_coingecko", 250, 1, 1),
        ("coingecko", "raw_cryptoprices_coingecko", 251, 2, 2),
        ("freecryptoapi", "raw_cryptoprices_freecryptoapi", 50, 1, 1),
        ("coingecko", "raw_cryptoprices_coingecko", 0, 0, 0),
    ],
)
def test_calls_are_counted_before_anything_is_asked(shipped, source, resource, assets, calls, weight):
    listing = listed(source, [f"S{number}" for number in range(assets)])
    listing["crypto"].append(Asset("NONE", "crypto", symbols={source: ""}))
    offered = RestSource.model_validate(shipped(source)).resources_of(source, listing)
    found = next(each for each in offered if each.name == resource)
    assert found.calls is not None
    assert (found.calls.calls, found.calls.weight) == (calls, weight)
    assert found.carries is not None
    assert not found.carries(listing["crypto"][-1])


def test_the_columns_that_the_vault_reads_are_declared(shipped):
    tables = {}
    for name in ("binance", "coingecko", "freecryptoapi"):
        for each in RestSource.model_validate(shipped(name)).resources_of(name, listed(name, ["X"])):
            tables[each.table.name] = {column.name: column.data_type for column in each.table.columns}
    prices = {"symbol": "text", "base_currency": "text", "quote_currency": "text", "price": "decimal"}
    for table in ("binance", "coingecko", "freecryptoapi"):
        expected = {**prices, "volume": "decimal", "observed_at": "timestamp"}
        assert expected.items() <= tables[f"raw_cryptoprices_{table}"].items()
    assert tables["raw_crypto_candles_binance"]["open_time"] == "timestamp"


def test_each_asset_by_its_own_symbol(api, extract, block):
    """For an API that knows assets by the symbols that everybody knows: no column of the assets file is needed."""
    api.answer = lambda path, _query: [{"price": path.rsplit("/", 1)[-1]}]
    asked = {"path": "rows/{each}", "each": "assets.crypto.symbol", "columns": {"symbol": {"value": "{each}"}}}
    run = extract(block(asked), assets={"crypto": [Asset("BTC", "crypto"), Asset("XMR", "crypto")]})
    assert sorted((row["symbol"], row["price"]) for row in run.rows) == [("BTC", "BTC"), ("XMR", "XMR")]
