"""Every recorded error gives its one clear sentence and lands nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.config.load import load_project
from engine.progress import Silent
from engine.report import ResourceReport
from engine.run import Runner
from tests.conformance import recorded_market as market

GECKO, BINANCE = "coingecko/error_", "binance/error_"
FREE, YAHOO = "freecryptoapi/error_", "yahoo_chart_v8/error_"
CASES = {
    f"{BINANCE}400_-1100_illegal_chars.json": r"answered 400: it does not understand the request",
    f"{BINANCE}400_-1120_invalid_interval.json": r"answered 400: .*-1120",
    f"{BINANCE}418_-1003_ip_banned.json": r"banned for ignoring rate limits",
    f"{BINANCE}429_-1003_weight.json": r"answered 429 \(2 times",
    f"{GECKO}401_10002_key_missing.json": r"answered 401: it refuses the credentials.*10002",
    f"{GECKO}401_10005_pro_only.json": r"answered 401: .*10005",
    f"{GECKO}404_coin_not_found.json": r"answered 404: .*coin not found",
    f"{GECKO}422_coins_markets_missing_param.json": r"answered 422: .*vs_currency",
    f"{GECKO}422_market_chart_missing_param.json": r"answered 422: .*days|answered 422: .*param",
    f"{GECKO}429_rate_limit.json": r"answered 429 \(2 times",
    f"{FREE}plan_no_history.json": r"FreeCryptoAPI refuses .*does not include historical data",
    f"{YAHOO}400_no_data_range.json": r"none of 1 tickers.*Data doesn't exist for startDate = 1565740800",
    f"{YAHOO}404_not_found.json": r"none of 1 tickers.*404: No data found, symbol may be delisted",
    f"{YAHOO}422_1m_range.json": r"none of 1 tickers.*Only 8 days worth of 1m granularity",
    f"{YAHOO}429_edge.txt": r"none of 1 tickers.*answered 429",
}
"""Recording -> what its sentence says. Two more are no failures: see below."""
UNKNOWN_SYMBOL, CRUMB = f"{BINANCE}400_-1121_invalid_symbol.json", f"{YAHOO}401_invalid_crumb.json"
CHART = "yahoo_chart_v8/chart-AAPL.json"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts forget what an earlier test did to them; pauses that no server asked for are short."""
    monkeypatch.setattr("sources.http.limits._buckets", {})
    monkeypatch.setattr("sources.http.adapter.pause", lambda _attempt, asked, _backoff: min(asked or 0.01, 0.01))


def status_of(name: str) -> int:
    meta = market.RECORDINGS / f"{name}.meta"
    return int(json.loads(meta.read_text())["status"])


def run_one(folder: Path, block: dict[str, Any], *routes: tuple[str, str, int]) -> ResourceReport:
    """Run the one resource of a source against recordings; return its report once nothing of it was landed."""
    with market.loopback() as plan:
        for path, name, status in routes:
            plan.route(path, name, status=status)
        build = market.Build(plan, sources={"probe": block})
        for column in ("binance", "coingecko", "freecryptoapi"):
            build.assets["crypto"] = {"asset_type": "crypto", "add": [{"symbol": "BTC", column: "BTCUSDT"}]}
            if column in json.dumps(block):
                break
        build.list_assets("stocks", "yfinance", {"AAPL": "AAPL"}, "stock")
        report = Runner(load_project(build.write(folder, load=()), env={}), Silent()).run("all")
    [found] = [resource for resource in report.resources if resource.source == "probe"]
    return found


def block_for(name: str) -> tuple[dict[str, Any], str]:
    """Return the source that asks for a recording, with one resource, and the host and path that it asks."""
    if name.startswith(YAHOO):
        return {"type": "yfinance", "resources": {"stocks": {"facts": False}}}, f"{market.YAHOO}AAPL"
    if name.startswith(FREE):
        return market.shipped("freecryptoapi"), f"{market.FREECRYPTOAPI}getData"
    block = market.shipped("binance" if name.startswith(BINANCE) else "coingecko")
    block["client"] |= {"tries": 2, "budget": 5}
    if name.startswith(GECKO):
        return block, f"{market.COINGECKO}coins/markets"
    kept, path = ("candles", "klines") if "interval" in name else ("ticker", "ticker/24hr")
    block["resources"] = {kept: block["resources"][kept]}
    return block, f"{market.BINANCE}{path}"


def landed_nothing(folder: Path) -> bool:
    return not [path for path in (folder / ".data" / "lake").rglob("*") if path.is_file() and "probe" in str(path)]


@pytest.mark.parametrize("name", CASES)
def test_an_error_gives_one_sentence_and_lands_nothing(name: str, tmp_path: Path) -> None:
    block, path = block_for(name)
    if name.startswith(BINANCE) and "ticker" in path:
        # the loopback cuts tickers out of the recorded list where symbols are named: ask for one
        block["resources"]["ticker"]["params"] = {"symbol": "{assets.crypto.binance}"}
    found = run_one(tmp_path, block, (path, name, status_of(name)))
    assert (found.status, found.rows, found.quarantined) == ("failed", 0, 0)
    assert found.error is not None
    assert re.search(CASES[name], found.error), found.error
    assert "\n" not in found.error
    assert "Traceback" not in found.error
    assert found.remedy or " — " in found.error
    assert landed_nothing(tmp_path)


def test_an_unknown_symbol_costs_only_itself(tmp_path: Path) -> None:
    block, path = block_for(UNKNOWN_SYMBOL)
    block["resources"]["ticker"]["params"] = {"symbol": "{assets.crypto.binance}"}
    found = run_one(tmp_path, block, (path, UNKNOWN_SYMBOL, status_of(UNKNOWN_SYMBOL)))
    assert (found.status, found.error) == ("unchanged", None)
    assert found.notices == ["probe: BTCUSDT: Binance does not know this symbol"]
    assert landed_nothing(tmp_path)


def test_a_refused_crumb_costs_the_company_facts_only(tmp_path: Path) -> None:
    block = {"type": "yfinance", "resources": {"stocks": {"interval": "1d"}}}
    summary = f"{market.YAHOO.partition('v8')[0]}v10/finance/quoteSummary/AAPL"
    found = run_one(tmp_path, block, (f"{market.YAHOO}AAPL", CHART, 200), (summary, CRUMB, status_of(CRUMB)))
    assert (found.status, found.rows, found.error) == ("landed", 1, None)
    [notice] = found.notices
    assert "1 without company facts" in notice
    assert "Invalid Crumb" in notice


def test_every_recorded_error_has_a_case() -> None:
    recorded = {name for name in market.names("*/error_*") if not name.endswith(".meta")}
    assert {*CASES, UNKNOWN_SYMBOL, CRUMB} == recorded
