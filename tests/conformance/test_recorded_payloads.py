"""Every recorded payload passes through its source, the lake and the warehouse; its values are found again, exact."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from destinations import open_destination
from engine.config.load import load_project
from engine.progress import Silent
from engine.report import RunReport
from engine.run import Runner
from tests.conformance import recorded_market as market

pytestmark = pytest.mark.xdist_group("recorded payloads")
LINEAGE = {"source", "load_timestamp", "_load_id", "_run_id"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Landed:
    """What two runs of the project left in the warehouse."""

    build: market.Build
    reports: list[RunReport]
    tables: dict[str, list[dict[str, Any]]]

    def rows(self, table: str, source: str | None = None) -> list[dict[str, Any]]:
        return [row for row in self.tables[table] if source in {None, row["source"]}]


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    """Run everything once, and the sources with a second answer once more."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "data" / "history").mkdir(parents=True)
    shutil.copy(market.PROJECT / market.HISTORY, folder / market.HISTORY)
    with market.loopback() as plan:
        build = market.declare(plan)
        project = load_project(build.write(folder), env={})
        reports = [Runner(project, Silent()).run("all")]
        again = load_project(build.write(folder, only="free_btc"), env={})
        reports.append(Runner(again, Silent()).run("all"))
    warehouse = open_destination("warehouse", project.destinations["warehouse"], folder, folder / ".data")
    connection = warehouse.reader()
    try:
        found = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'landing'").fetchall()
        tables = {
            name: connection.sql(f'SELECT * FROM landing."{name}"').to_arrow_table().to_pylist() for (name,) in found
        }
    finally:
        connection.close()
    return Landed(build, reports, tables)


def micros(milliseconds: Decimal) -> datetime:
    return EPOCH + timedelta(milliseconds=int(milliseconds))


def column_of(field: str) -> str:
    """An undeclared field's column: camelCase parted, lower case."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field).lower()
    return f"_{name}" if name[0].isdigit() else name


def same(sent: Any, found: Any, *, numbers_as_text: bool = False) -> bool:
    """Whether an undeclared value landed as documented: numbers as decimals (or text), nested values as JSON."""
    if sent is None or isinstance(sent, bool | str):
        return sent == found
    if isinstance(sent, Decimal):
        return isinstance(found, str if numbers_as_text else Decimal) and Decimal(found) == sent
    return json.loads(found, parse_float=Decimal, parse_int=Decimal) == sent


def check_rest(
    item: Mapping[str, Any],
    row: Mapping[str, Any],
    declared: Mapping[str, Any],
    consumed: set[str],
    *,
    numbers_as_text: bool = False,
) -> None:
    """Compare one item with its row: declared columns, every other field beside them, and nothing else."""
    for column, expected in declared.items():
        assert row[column] == expected, (column, expected, row[column])
    beside = {column_of(field): value for field, value in item.items() if field not in consumed}
    for column, value in beside.items():
        assert same(value, row.get(column), numbers_as_text=numbers_as_text), (column, value, row.get(column))
    unexplained = {name for name, value in row.items() if value is not None} - set(declared) - set(beside) - LINEAGE
    assert unexplained == set()


def test_the_runs_went_well(landed: Landed) -> None:
    for report in landed.reports:
        assert (report.status, report.errors) == ("ok", [])
        assert [resource.error for resource in report.resources if resource.error] == []
        assert sum(resource.quarantined for resource in report.resources) == 0
    assert landed.rows("_quarantine") == []


def test_every_recording_is_served_or_is_an_error_with_a_test_of_its_own(landed: Landed) -> None:
    everything = {name for name in market.names("*/*") if not name.endswith(".meta")}
    errors = {name for name in everything if "/error_" in name}
    assert landed.build.plan.served == everything - errors
    listed = (market.RECORDINGS / "PROVENANCE.md").read_text()
    assert [name for name in everything if name not in listed] == []


def test_binance_tickers(landed: Landed) -> None:
    sent = {item["symbol"]: item for item in market.exact(market.TICKERS)}
    pairs = {pair["symbol"]: pair for pair in market.exact(market.PAIRS)["symbols"]}
    rows = {row["symbol"]: row for row in landed.rows("raw_cryptoprices_binance")}
    assert len(landed.rows("raw_cryptoprices_binance")) == len(sent) == 595
    halted = 0
    for symbol, item in sent.items():
        is_halted = item["firstId"] == -1
        halted += is_halted
        if is_halted:
            assert Decimal(item["lastPrice"]) == 0
        declared = {
            "symbol": symbol,
            "base_currency": pairs[symbol]["baseAsset"],
            "quote_currency": pairs[symbol]["quoteAsset"],
            "price": None if is_halted else Decimal(item["lastPrice"]),  # a halted symbol has no price
            "volume": Decimal(item["volume"]),
            "volume_unit": "base",
            "volume_quote": Decimal(item["quoteVolume"]),
            "observed_at": micros(item["closeTime"]),
        }
        check_rest(item, rows[symbol], declared, {"symbol", "lastPrice", "volume", "quoteVolume", "closeTime"})
    assert halted == 51
    tickers = [address for address in landed.build.plan.asked if "ticker/24hr?symbols=" in address]
    lists = Counter(pair["quoteAsset"] for pair in pairs.values())
    assert len(tickers) == sum(-(-pairs_in_it // 100) for pairs_in_it in lists.values())  # a call names 100 pairs


def test_one_binance_ticker(landed: Landed) -> None:
    item = market.exact(market.ONE_TICKER)
    [row] = landed.rows("raw_one_ticker")
    declared = {"lastprice": Decimal(item["lastPrice"]), "volume": Decimal(item["volume"])}
    check_rest(item, row, declared, {"lastPrice", "volume"})


def test_binance_exchange_info_which_no_shipped_source_reads(landed: Landed) -> None:
    sent = market.exact(market.PAIRS)
    rows = {row["symbol"]: row for row in landed.rows("raw_pairs")}
    assert len(landed.rows("raw_pairs")) == len(sent["symbols"]) == 595
    for pair in sent["symbols"]:
        check_rest(pair, rows[pair["symbol"]], {"symbol": pair["symbol"]}, {"symbol"})
    [row] = landed.rows("raw_exchange")
    check_rest(sent, row, {"timezone": "UTC"}, {"timezone"})


@pytest.mark.parametrize("name", market.MARKETS)
def test_coingecko_markets(landed: Landed, name: str) -> None:
    number = list(market.MARKETS).index(name)
    sent = market.exact(name)
    found = landed.rows("raw_cryptoprices_coingecko", f"gecko_{number}")
    rows = {row["symbol"]: row for row in found}
    assert len(found) == len(rows) == len(sent)
    assets = {added["coingecko"]: added["symbol"] for added in landed.build.assets[f"gecko_{number}"]["add"]}
    for item in sent:
        declared = {
            "symbol": item["id"],
            "base_currency": assets[item["id"]],
            "quote_currency": market.MARKETS[name][0].upper(),
            "price": item["current_price"],
            "volume": item["total_volume"],
            "volume_unit": "quote",
            "market_cap": item["market_cap"],
            "high_24h": item["high_24h"],
            "low_24h": item["low_24h"],
            "observed_at": datetime.fromisoformat(item["last_updated"]),
        }
        consumed = {"id", "symbol", "current_price", "total_volume", "market_cap", "high_24h", "low_24h",
                    "last_updated"}  # fmt: skip
        check_rest(item, rows[item["id"]], declared, consumed, numbers_as_text=True)


def test_coingecko_pages_end_with_the_empty_one(landed: Landed) -> None:
    [item] = market.exact(market.PAGE)
    [row] = landed.rows("raw_paged")
    check_rest(item, row, {"id": item["id"]}, {"id"}, numbers_as_text=True)
    pages = [address for address in landed.build.plan.asked if "per_page=1&" in f"{address}&"]
    assert [re.findall(r"[?&]page=(\d)", address) for address in pages] == [["2"], ["3"]]


@pytest.mark.parametrize("name", market.MARKET_CHARTS)
@pytest.mark.parametrize("series", market.SERIES)
def test_coingecko_market_charts(landed: Landed, name: str, series: str) -> None:
    rows = [row for row in landed.rows(f"raw_{series}") if row["days"] == market.MARKET_CHARTS[name]]
    sent = [(micros(at), value) for at, value in market.exact(name)[series]]
    assert sorted((row["at"], row["value"]) for row in rows) == sorted(sent)
    assert sent


def test_coingecko_candles_and_one_object(landed: Landed) -> None:
    candles = [(row["at"], row["open"], row["high"], row["low"], row["close"]) for row in landed.rows("raw_ohlc")]
    assert sorted(candles) == [(micros(at), *values) for at, *values in market.exact(market.OHLC)]
    [row] = landed.rows("raw_simple_price")
    item = market.exact(market.SIMPLE_PRICE)["bitcoin"]
    declared = {"usd": item["usd"], "last_updated_at": micros(item["last_updated_at"] * 1000)}
    check_rest(item, row, declared, {"usd", "last_updated_at"})


@pytest.mark.parametrize("source", market.FREE)
def test_freecryptoapi(landed: Landed, source: str) -> None:
    sent = [item for name in market.FREE[source] for item in market.exact(name)["symbols"]]
    found = landed.rows("raw_cryptoprices_freecryptoapi", source)
    rows = {(row["symbol"], row["observed_at"]): row for row in found}
    assert len(found) == len(rows) == len(sent)
    for item in sent:
        at = datetime.strptime(f"{item['date']} +0000", "%Y-%m-%d %H:%M:%S %z")
        declared = {
            "symbol": item["symbol"],
            "base_currency": item["symbol"],
            "quote_currency": "USD",
            "price": Decimal(item["last"]),
            "volume": None,
            "observed_at": at,
        }
        check_rest(item, rows[item["symbol"], at], declared, {"symbol", "last", "date"})


CHARTS = [name for name in market.names("yahoo_chart_v8/*.json") if "/error_" not in name]


@pytest.mark.parametrize("name", CHARTS)
def test_yahoo_charts(landed: Landed, name: str) -> None:
    """Bars, dividends and splits. Of `meta` the currency and the company's name land; the rest is about the chart."""
    source, asset = landed.build.charts[name]
    result = market.exact(name)["chart"]["result"][0]
    meta, stamps = result["meta"], [int(at) for at in result.get("timestamp") or []]
    crypto = "crypto" in source
    rows = landed.rows("raw_cryptoprices_yfinance" if crypto else "raw_stockprices_yfinance", source)
    rows = sorted((row for row in rows if row["symbol"] == meta["symbol"]), key=lambda row: row["observed_at"])
    assert [row["observed_at"] for row in rows] == [EPOCH + timedelta(seconds=at) for at in stamps]
    quote = result["indicators"]["quote"][0]
    adjusted = result["indicators"].get("adjclose", [{}])[0].get("adjclose", [None] * len(stamps))
    events = _events(result, stamps)
    for at, row in enumerate(rows):
        values = {key: quote[key][at] for key in ("open", "high", "low", "close", "volume")}
        assert row["interval"] == meta["dataGranularity"]
        assert isinstance(row["volume"], Decimal)
        if crypto:
            landed_values = {key: row["price" if key == "close" else key] for key in values}
            assert landed_values == values
            assert (row["base_currency"], row["quote_currency"], row["volume_unit"]) == (asset, "USD", "quote")
            continue
        assert {key: row[key if key == "volume" else f"{key}_price"] for key in values} == values
        assert row["adj_close_price"] == adjusted[at]
        assert (row["dividends"], row["stock_splits"]) == events[at]
        assert row["date"] == datetime.fromtimestamp(stamps[at], ZoneInfo(meta["exchangeTimezoneName"])).date()
        assert (row["currency"], row["volume_unit"]) == (meta["currency"], "shares")
        assert row["company_name"] == (meta.get("longName") or meta.get("shortName"))


def _events(result: Mapping[str, Any], stamps: list[int]) -> list[tuple[Decimal, Decimal]]:
    """Dividend and split of each bar; recorded events stand on the bar that begins with them, or within a month's."""
    found = result.get("events", {})
    dividends, splits = [Decimal(0)] * len(stamps), [Decimal(0)] * len(stamps)
    for event in found.get("dividends", {}).values():
        dividends[max(at for at, stamp in enumerate(stamps) if stamp <= event["date"])] += event["amount"]
    for event in found.get("splits", {}).values():
        ratio = event["numerator"] / event["denominator"]
        splits[max(at for at, stamp in enumerate(stamps) if stamp <= event["date"])] = ratio
    return list(zip(dividends, splits, strict=True))


def test_yahoo_dividends_and_splits_are_there() -> None:
    events = [market.exact(name)["chart"]["result"][0].get("events", {}) for name in CHARTS]
    assert sum(len(each.get("dividends", {})) for each in events) == 13
    assert sum(len(each.get("splits", {})) for each in events) == 3


def test_the_history_file(landed: Landed) -> None:
    with gzip.open(market.PROJECT / market.HISTORY, "rt") as file:
        sent = {(line["Ticker"], line["Date"]): line for line in csv.DictReader(file)}
    found = landed.rows("raw_history_ohlcv")
    new_york = ZoneInfo("America/New_York")
    rows = {(row["symbol"], row["open_time"].astimezone(new_york).strftime("%Y-%m-%d")): row for row in found}
    assert len(found) == len(rows) == len(sent) == 12_154
    columns = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close",
               "volume": "Volume"}  # fmt: skip
    for key, line in sent.items():
        assert {name: rows[key][name] for name in columns} == {
            name: Decimal(line[field]) for name, field in columns.items()
        }
        assert rows[key]["open_time"].astimezone(new_york).time().isoformat() == "00:00:00"
