"""The recorded payloads behind one loopback server, and a project whose sources ask for each of them.

Source blocks are those of the shipped pipelines.yaml, changed only in what tells one recording from another (assets,
page size, period). The payloads that no shipped resource reads are declared here, in YAML's own words.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

PROJECT = Path(__file__).parents[2]
RECORDINGS = PROJECT / "sources" / "market_replay" / "recordings"
HISTORY = "data/history/stocks_daily.csv.gz"
"""The recorded OHLCV data set lies with the files source."""
BINANCE, COINGECKO = "data-api.binance.vision/api/v3/", "api.coingecko.com/api/v3/"
FREECRYPTOAPI, YAHOO = "api.freecryptoapi.com/v1/", "query2.finance.yahoo.com/v8/finance/chart/"
PERIODS = ("1d", "5d", "1mo", "3mo", "6mo", "1y")
"""Several charts of one ticker are told apart by the period that is asked for."""


def body(name: str) -> bytes:
    """Return a recorded body as it came."""
    path = RECORDINGS / name
    return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())


def exact(name: str) -> Any:
    """Parse a recorded body, every number a Decimal."""
    return json.loads(body(name), parse_float=Decimal, parse_int=Decimal)


def names(pattern: str) -> list[str]:
    """Name the recordings that match, without the .gz of the packed ones."""
    found = (str(path.relative_to(RECORDINGS)) for path in RECORDINGS.glob(pattern))
    return sorted(name.removesuffix(".gz") for name in found)


@dataclass
class Loopback:
    """Answers by host, path and the parameters that matter; the bodies of one route follow each other."""

    url: str = ""
    routes: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    served: set[str] = field(default_factory=set)

    def route(self, path: str, name: str, *, status: int = 200, **params: str) -> None:
        """Serve a recording at host/path where the query has these parameters."""
        self.routes.setdefault((path, frozenset(params.items())), []).append((status, body(name)))
        self.served.add(name)

    def answer(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        path, query = unquote(parts.path.lstrip("/")), {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.asked.append(f"{path}?{parts.query}")
        if path == f"{BINANCE}ticker/24hr" and "symbols" in query:
            return 200, _tickers(json.loads(query["symbols"]))
        for (known, params), bodies in self.routes.items():
            if known == path and params <= query.items():
                return bodies.pop(0) if len(bodies) > 1 else bodies[0]
        return 404, b"{}"


def _tickers(symbols: list[str]) -> bytes:
    """Cut the named tickers out of the recorded list, each as it was sent."""
    items = {json.loads(item)["symbol"]: item for item in re.findall(rb"\{[^{}]*\}", body(TICKERS))}
    return b"[" + b",".join(items[symbol] for symbol in symbols) + b"]"


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Run the server."""
    plan = Loopback()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = plan.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    plan.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield plan
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shipped(name: str) -> dict[str, Any]:
    """Take a source block of pipelines.yaml."""
    text = (PROJECT / "pipelines.yaml").read_text()
    for variable in ("${COINGECKO_API_KEY:-}", "${FREECRYPTOAPI_KEY}"):
        text = text.replace(variable, "key-of-the-test")
    block: dict[str, Any] = yaml.safe_load(text)["sources"][name]
    return block


TICKERS, PAIRS = "binance/ticker_24hr_all_2019-08-22.json", "binance/exchangeInfo_2019-08-22.json"
MARKETS = {
    "coingecko/coins_markets_usd_per250_page1_2022-02-23.json": ("usd", 250),
    "coingecko/coins_markets_usd_per251_clamped_to_250_2022-02-23.json": ("usd", 251),
    "coingecko/coins_markets_eth_multi_2021-05-15.json": ("eth", 250),
    "coingecko/coins_markets_usd_bitcoin_only_2021-05-15.json": ("usd", 100),
    "coingecko/official_oas_example_coins_markets_2026-05.json": ("usd", 101),
}
"""Recording -> (vs_currency, per_page)."""
PAGE, PAST_LAST_PAGE = (
    "coingecko/coins_markets_usd_per1_page2_2022-02-23.json",
    "coingecko/coins_markets_past_last_page_empty_2022-02-23.json",
)
MARKET_CHARTS = {
    "coingecko/market_chart_bitcoin_usd_90d_daily_2021-05-15.json": "90",
    "coingecko/market_chart_bitcoin_usd_30d_hourly_2021-05-15.json": "30",
    "coingecko/official_oas_example_coins_id_market_chart.json": "1",
}
SERIES = ("prices", "market_caps", "total_volumes")
OHLC = "coingecko/official_oas_example_coins_id_ohlc.json"
SIMPLE_PRICE = "coingecko/official_oas_example_simple_price.json"
ONE_TICKER = "binance/ticker_24hr_single_xchange.json"
FREE = {
    "free_btc": ["freecryptoapi/getData_BTC_2025-11-08.json", "freecryptoapi/getData_BTC_2026-02-17.json"],
    "free_multi": ["freecryptoapi/getData_multi_COMPOSED.json"],
}
"""Source -> what it is answered, run by run."""


@dataclass
class Build:
    """The project under construction: sources, asset lists and the server's routes."""

    plan: Loopback
    sources: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)
    charts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Yahoo recording -> (source, asset symbol)."""

    def list_assets(self, name: str, column: str, symbols: dict[str, str], asset_type: str = "crypto") -> None:
        """Add an asset list: asset symbol -> symbol at the source."""
        added = [{"symbol": symbol, column: there} for symbol, there in symbols.items()]
        self.assets[name] = {"asset_type": asset_type, "add": added}

    def write(self, folder: Path, only: str | None = None, load: tuple[str, ...] = ("warehouse",)) -> Path:
        """Write pipelines.yaml with one pipeline, `all`, of all sources or of one, that runs no model."""
        sources = self.sources if only is None else {only: self.sources[only]}
        assets = self.assets if only is None else {only: self.assets[only]}
        lake = {"type": "filesystem", "path": ".data/lake"}
        warehouse = {"type": "ducklake", "path": ".data/warehouse"}
        profile = {"data": ".data", "market": "replay", "market_url": self.plan.url, "lake": lake}
        document = {
            "assets": assets,
            "profiles": {"local": {**profile, "warehouse": warehouse}},
            "sources": sources,
            "pipelines": {"all": {"extract": list(sources), "load": list(load), "transform": False}},
        }
        path = folder / "pipelines.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path


def declare(plan: Loopback) -> Build:
    """Declare a source for every payload that is no error."""
    build = Build(plan)
    _binance(build)
    for number, (name, (quote, per_page)) in enumerate(MARKETS.items()):
        _markets(build, f"gecko_{number}", name, quote, per_page)
    _other_coingecko(build)
    for source, recordings in FREE.items():
        symbols = [item["symbol"] for item in exact(recordings[0])["symbols"]]
        build.list_assets(source, "freecryptoapi", {symbol: symbol for symbol in symbols})
        block = json.loads(json.dumps(shipped("freecryptoapi")).replace("assets.crypto.", f"assets.{source}."))
        build.sources[source] = block
        for name in recordings:
            plan.route(f"{FREECRYPTOAPI}getData", name, symbol=" ".join(symbols))
    _yahoo(build)
    build.sources["history"] = shipped("history")
    return build


def _binance(build: Build) -> None:
    """The shipped ticker, once for each quote asset; one ticker and exchangeInfo by YAML of the test."""
    block = shipped("binance")
    ticker = block["resources"].pop("ticker")
    del block["resources"]["candles"]
    by_quote: dict[str, dict[str, str]] = {}
    for pair in exact(PAIRS)["symbols"]:
        by_quote.setdefault(pair["quoteAsset"], {})[pair["baseAsset"]] = pair["symbol"]
    for quote, pairs in by_quote.items():
        name = f"in_{quote.lower()}"
        build.list_assets(name, "binance", pairs)
        resource = deepcopy(ticker)
        resource["params"] = {"symbols": f"{{assets.{name}.binance|json}}"}
        block["resources"][name] = resource
    build.plan.served.add(TICKERS)
    build.sources["binance"] = block
    numbers = ("lastPrice", "volume")
    build.sources["binance_more"] = {
        "type": "rest",
        "client": block["client"],
        "resources": {
            "raw_one_ticker": {
                "path": "ticker/24hr",
                "params": {"symbol": "BNBBTC"},
                "rows": "object",
                "columns": {name.lower(): {"from": name, "type": "decimal"} for name in numbers},
            },
            "raw_pairs": {"path": "exchangeInfo", "select": "symbols", "columns": {"symbol": {}}},
            "raw_exchange": {"path": "exchangeInfo", "rows": "object", "columns": {"timezone": {}}},
        },
    }
    build.plan.route(f"{BINANCE}ticker/24hr", ONE_TICKER, symbol="BNBBTC")
    build.plan.route(f"{BINANCE}exchangeInfo", PAIRS)


def _markets(build: Build, source: str, name: str, quote: str, per_page: int) -> None:
    block = json.loads(json.dumps(shipped("coingecko")).replace("assets.crypto.", f"assets.{source}."))
    [resource] = block["resources"].values()
    resource["params"] |= {"vs_currency": quote, "per_page": per_page}
    resource["columns"]["quote_currency"] = {"value": quote.upper()}
    block["resources"] = {source: {**resource, "table": "raw_cryptoprices_coingecko"}}
    symbols: dict[str, str] = {}
    for item in exact(name):
        symbol = item["symbol"].upper()
        symbols[symbol if symbol not in symbols else item["id"]] = item["id"]  # CoinGecko's symbols repeat
    build.list_assets(source, "coingecko", symbols)
    build.sources[source] = block
    build.plan.route(f"{COINGECKO}coins/markets", name, vs_currency=quote, per_page=str(per_page))


def _other_coingecko(build: Build) -> None:
    """Paging up to the empty page, series, candles and one object, in the words of YAML alone."""
    client = shipped("coingecko")["client"]
    price = {"from": "1", "type": "decimal"}
    at = {"from": "0", "type": "timestamp", "epoch": "ms"}
    resources: dict[str, Any] = {
        "raw_paged": {
            "path": "coins/markets",
            "params": {"vs_currency": "usd", "per_page": 1},
            "paginate": {"type": "page_number", "first": 2},
            "numbers": "text",
            "columns": {"id": {}},
        },
        "raw_ohlc": {
            "path": "coins/bitcoin/ohlc",
            "rows": "arrays",
            "columns": {"at": at}
            | {name: {"from": str(n), "type": "decimal"} for n, name in enumerate(("open", "high", "low", "close"), 1)},
        },
        "raw_simple_price": {
            "path": "simple/price",
            "select": "bitcoin",
            "rows": "object",
            "columns": {"usd": {"type": "decimal"}, "last_updated_at": {"type": "timestamp", "epoch": "s"}},
        },
    }
    build.plan.route(f"{COINGECKO}coins/markets", PAGE, per_page="1", page="2")
    build.plan.route(f"{COINGECKO}coins/markets", PAST_LAST_PAGE, per_page="1", page="3")
    build.plan.route(f"{COINGECKO}coins/bitcoin/ohlc", OHLC)
    build.plan.route(f"{COINGECKO}simple/price", SIMPLE_PRICE)
    for name, days in MARKET_CHARTS.items():
        build.plan.route(f"{COINGECKO}coins/bitcoin/market_chart", name, days=days)
        for series in SERIES:
            resources[f"{series}_{days}"] = {
                "table": f"raw_{series}",
                "path": "coins/bitcoin/market_chart",
                "params": {"vs_currency": "usd", "days": days},
                "select": series,
                "rows": "arrays",
                "columns": {"days": {"value": days}, "at": at, "value": price},
            }
    build.sources["gecko_more"] = {"type": "rest", "client": client, "resources": resources}


def _yahoo(build: Build) -> None:
    """One source for the first chart of every ticker and interval, another for the second of those that have one."""
    groups: dict[tuple[str, str, int], dict[str, str]] = {}
    times: dict[tuple[str, str], int] = {}
    for name in names("yahoo_chart_v8/*.json"):
        if "error" in name:
            continue
        meta = exact(name)["chart"]["result"][0]["meta"]
        symbol, interval = meta["symbol"], meta["dataGranularity"]
        kind = "crypto" if meta["instrumentType"] == "CRYPTOCURRENCY" else "stocks"
        nth = times[symbol, interval] = times.get((symbol, interval), -1) + 1
        asset = symbol.removesuffix("-USD") if kind == "crypto" else symbol
        groups.setdefault((kind, interval, nth), {})[asset] = symbol
        source = f"yahoo_{kind}_{interval}_{nth}"
        build.charts[name] = (source, asset)
        build.plan.route(f"{YAHOO}{symbol}", name, interval=interval, range=PERIODS[nth])
    for (kind, interval, nth), symbols in groups.items():
        source = f"yahoo_{kind}_{interval}_{nth}"
        build.list_assets(source, "yfinance", symbols, "crypto" if kind == "crypto" else "stock")
        resource = {"kind": kind, "assets": source, "interval": interval, "period": PERIODS[nth], "facts": False}
        table = "raw_cryptoprices_yfinance" if kind == "crypto" else "raw_stockprices_yfinance"
        build.sources[source] = {"type": "yfinance", "resources": {"bars": {**resource, "table": table}}}
