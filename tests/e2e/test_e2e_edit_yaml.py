"""One more coin, stock, REST API and schedule: each an edit of a copy of pipelines.yaml, and of nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from sources.market_replay import MarketReplay
from tests.e2e.engine_project import EngineProject

Make = Callable[..., EngineProject]
CRYPTO = "where: {asset_type: crypto}, top: 3}"
STOCKS = "where: {asset_type: stock}, top: 3}"
KEY = "a-key-that-nobody-may-see"


def test_a_coin(ran_project: EngineProject, market: MarketReplay) -> None:
    """PEPE as a bare symbol, ARB as a mapping: both are outside the list's three, one source carries each alone."""
    project = ran_project
    project.replace("    market: replay\n", f"    market: replay\n    market_url: {market.url}\n")
    coins = "add: [DOT, {symbol: MYCOIN, name: My Coin, category: Meme, binance: PEPEUSDT, coingecko: pepe}]"
    project.replace(CRYPTO, CRYPTO.replace("}", "}", 1)[:-1] + f", {coins}}}")
    plan = project.engine("plan").out
    assert "+ assets.crypto.symbols: DOT" in plan
    assert "+ assets.crypto.symbols: MYCOIN" in plan
    (run,) = project.run("prices-crypto-pipeline")
    assert run["failures"] == []
    found = project.rows(
        "select asset_symbol, price_source from marts.fct_asset_prices where asset_symbol in ('DOT', 'MYCOIN') "
        "group by all order by all"
    )
    assert found == [
        ["DOT", "binance"], ["DOT", "coingecko"], ["DOT", "freecryptoapi"], ["DOT", "yfinance"],
        ["MYCOIN", "binance"], ["MYCOIN", "coingecko"],
    ]  # fmt: skip
    assert project.rows(
        "select asset_name, asset_category, binance from landing.raw_assets where asset_symbol = 'MYCOIN'"
    ) == [["My Coin", "Meme", "PEPEUSDT"]]
    assert project.rows(
        "select distinct symbol from landing.raw_cryptoprices_coingecko where base_currency = 'MYCOIN'"
    ) == [["pepe"]]
    candles = "select distinct interval from marts.fct_asset_candles where asset_symbol = 'MYCOIN' order by all"
    assert project.rows(candles) == [["1d"], ["1h"]]
    tickers = [served for served in market.requests if served.path.endswith("ticker/24hr")]
    assert len(tickers) == 1, "two more coins, not one more call"


def test_stocks(small_project: Make) -> None:
    project = small_project(models=False)
    project.replace(STOCKS, STOCKS[:-1] + ", add: [ARM, SNOW]}")
    (run,) = project.run("prices-stock-pipeline")
    assert run["failures"] == []
    delivered = project.rows("select distinct ticker from landing.raw_stockprices_yfinance order by all")
    assert {"ARM", "SNOW"} < {row[0] for row in delivered}
    assert len(delivered) == 5


class Api(ThreadingHTTPServer):
    """An API that nobody has heard of: three pages of fares, a key in a header."""

    daemon_threads = True
    pages = (
        [{"code": "A1", "fare": "12.340000000000000001", "at": "2026-03-01T10:00:00+07:00", "seats": 3}],
        [{"code": "B2", "fare": "0.000000000000000002", "at": "2026-03-01T10:00:00Z", "seats": None}],
        [{"code": "C3", "fare": "99999999999999999999.5", "at": "2026-03-01T23:59:59.123456+00:00", "seats": 0}],
    )

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        api = cast("Api", self.server)
        api.keys.append(self.headers.get("X-Fares-Key"))
        number = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
        rows = api.pages[number - 1] if number <= len(api.pages) else []
        body = json.dumps({"data": {"fares": rows}, "pages": len(api.pages)}).encode()
        self.send_response(200 if api.keys[-1] == KEY else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Nothing on standard error."""


@pytest.fixture
def fares() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield api
    api.shutdown()
    api.server_close()


SOURCE = """sources:
  fares:
    type: rest
    client:
      base_url: URL/v1
      allow_private: true
      auth: {type: api_key, header: X-Fares-Key, key: "${FARES_KEY}"}
      limits: {per_minute: 600, per_month: 10000}
    resources:
      raw_fares:
        path: fares
        select: data.fares
        paginate: {type: page_number, total: pages}
        primary_key: [code, observed_at]
        columns:
          code:        {}
          fare:        {type: decimal}
          observed_at: {from: at, type: timestamp}
          seats:       {type: bigint}
"""
PIPELINE = """pipelines:
  fares-pipeline:
    schedule: "*/30 * * * *"
    extract: [fares]
    load: [warehouse]
"""


def test_a_rest_source(small_project: Make, fares: Api) -> None:
    project = small_project(profile="local", models=False, FARES_KEY=KEY)
    project.run("historical-backfill")
    project.replace("\nsources:\n", "\n" + SOURCE.replace("URL", fares.url))
    project.replace("\npipelines:\n", "\n" + PIPELINE)
    plan = project.engine("plan").out
    for line in ("+ tables.raw_fares", "+ pipelines.fares-pipeline", "+ calls.fares"):
        assert line in plan
    (run,) = project.run("fares-pipeline")
    assert run["failures"] == []
    assert project.rows("select code, fare, observed_at, seats, source from landing.raw_fares order by code") == [
        ["A1", "12.340000000000000001", "2026-03-01T03:00:00+00:00", 3, "fares"],
        ["B2", "0.000000000000000002", "2026-03-01T10:00:00+00:00", None, "fares"],
        ["C3", "99999999999999999999.500000000000000000", "2026-03-01T23:59:59.123456+00:00", 0, "fares"],
    ]
    assert fares.keys == [KEY] * 3
    assert "Changes since the last run:\n  none" in project.engine("plan").out


def test_a_rest_source_without_its_key(small_project: Make, fares: Api) -> None:
    project = small_project(profile="local", models=False)
    project.replace("\nsources:\n", "\n" + SOURCE.replace("URL", fares.url))
    refused = project.engine("validate", expect=2)
    line = (
        project.file.read_text(encoding="utf-8")
        .splitlines()
        .index('      auth: {type: api_key, header: X-Fares-Key, key: "${FARES_KEY}"}')
    )
    assert f"pipelines.yaml:{line + 1}" in refused.err
    assert "FARES_KEY is not set" in refused.err
    wrong = EngineProject(project.folder, project.profile, {"FARES_KEY": "the-wrong-one"})
    wrong.replace("\npipelines:\n", "\n" + PIPELINE)
    (run,) = wrong.run("fares-pipeline", expect=1)
    (failure,) = run["failures"]
    assert "401" in failure
    assert "the-wrong-one" not in json.dumps(run)
    assert len(fares.keys) == 1, "a refused key is not tried again"


def test_a_schedule(small_project: Make) -> None:
    project = small_project()
    hourly = 'schedule: "0 20 * * *"\n    extract: [binance'
    project.replace(hourly, hourly.replace("0 20 * * *", "*/45 9-17 * * 1-5"))
    project.engine("validate")
    document = project.engine("plan", "prices-crypto-pipeline", "--json").document()
    block = document["pipelines"]["prices-crypto-pipeline"]
    assert block["schedule"] == "*/45 9-17 * * 1-5"
    assert block["next_run"].endswith("+07:00")
    (coingecko,) = [row for row in document["calls"] if row["source"] == "coingecko"]
    assert coingecko["calls_per_month"] == 22 * 9 * 2
    assert coingecko["sentence"] == "396 calls a month; the plan allows 10,000"
    project.replace("*/45 9-17 * * 1-5", "*/2 * * * *")
    refused = project.engine("validate", expect=2)
    assert "21,600 calls a month; the plan allows 10,000: every 5 minutes would fit" in refused.err
    assert "pipelines.yaml:" in refused.err
    assert not refused.out
