"""`engine demo` in a fresh clone: what it says, what it built, and that every word of it is true."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.conftest import Demo
from tests.e2e.engine_project import ROOT

pytestmark = pytest.mark.xdist_group("e2e-demo")

CRYPTO, STOCKS = 50, 103
TOLD = '.venv/bin/engine "'
BINANCE_CANDLES = "from marts.fct_asset_candles where price_source = 'binance'"


def listed(asset_type: str) -> list[dict[str, str]]:
    with (ROOT / "transforms" / "seeds" / "assets.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["asset_type"] == asset_type]


def test_it_succeeds_and_says_that_all_is_simulated(demo: Demo) -> None:
    assert demo.ended.code == 0, demo.ended.out + demo.ended.err
    assert "SIMULATED" in demo.ended.out
    for line in demo.ended.out.splitlines():
        if line.endswith("landed") and not line.startswith(("assets", "history")):
            pytest.fail(f"not marked as simulated: {line}")
    for pipeline in ("batch-data-pipeline", "prices-crypto-pipeline", "prices-stock-pipeline", "historical-backfill"):
        assert f"{pipeline}: done (run " in demo.ended.out


def test_it_fills_every_table_it_names(demo: Demo) -> None:
    landed = {line.split()[1] for line in demo.ended.out.splitlines() if " landed" in line and "raw_" in line}
    tables = {t["table"]: t for t in demo.project.engine("status", "--json").document()["tables"]}
    assert landed == set(tables)
    assert {
        "raw_assets", "raw_customers", "raw_corporates", "raw_transaction_personal", "raw_transaction_corporate",
        "raw_news", "raw_cryptoprices_binance", "raw_cryptoprices_coingecko", "raw_cryptoprices_yfinance",
        "raw_cryptoprices_freecryptoapi", "raw_stockprices_yfinance", "raw_crypto_candles_binance",
        "raw_history_ohlcv",
    } == landed  # fmt: skip
    assert all(table["rows"] > 0 and table["packages_behind"] == 0 for table in tables.values())
    counts = " union all ".join(f"select '{name}', count(*) from landing.{name}" for name in sorted(tables))
    assert dict(demo.project.rows(counts)) == {name: table["rows"] for name, table in tables.items()}


def test_it_shows_the_stream_and_says_whose_broker_it_is(demo: Demo) -> None:
    assert "trino-incremental-dbt-5min: done (run " in demo.ended.out
    assert "librdkafka's mock broker" in demo.ended.out
    streamed = demo.project.rows(
        "select transaction_id, quantity, price_per_unit, transaction_amount from landing.raw_transaction_personal "
        "where _kafka_topic = 'raw_transaction_personal' and _kafka_offset >= 0"
    )
    assert len(streamed) > 1_000
    assert all(Decimal(quantity) * Decimal(price) == Decimal(amount) for _, quantity, price, amount in streamed)
    in_marts = {row[0] for row in demo.project.rows("select transaction_id from marts.fct_transactions")}
    assert {row[0] for row in streamed} <= in_marts


def test_its_closing_words_work(demo: Demo) -> None:
    told = [line.strip() for line in demo.ended.out.splitlines() if line.strip().startswith(".venv/bin/engine ")]
    assert len(told) >= 4
    for line in told:
        words = shlex.split(line.split("   ")[0])[1:]
        if words[0] == "run":  # real prices need a network; the same command on the replay is the demo itself
            assert words[1] in {p["pipeline"] for p in demo.project.engine("ls", "--json").document()["pipelines"]}
            continue
        arguments = [word for word in words if word not in {"-p", "demo"}]
        ended = demo.project.engine(*arguments)
        assert ended.out.strip()
        assert not ended.err
    count = 'engine query "select count(*) from marts.fct_asset_prices" -p demo'
    assert any(line.endswith(count) for line in told)
    assert demo.project.value("select count(*) from marts.fct_asset_prices") > CRYPTO + STOCKS


def test_prices_are_what_landing_implies(demo: Demo) -> None:
    """Counted and compared by SQL of the test's own, straight over landing."""
    implied = """
        select upper(base_currency) a, 'crypto' t, source s, quote_currency q, observed_at o, price p
            from landing.raw_cryptoprices_binance where price is not null
        union select upper(base_currency), 'crypto', source, quote_currency, observed_at, price
            from landing.raw_cryptoprices_coingecko where price is not null
        union select upper(base_currency), 'crypto', source, quote_currency, observed_at, price
            from landing.raw_cryptoprices_freecryptoapi where price is not null
        union select upper(base_currency), 'crypto', source, quote_currency, observed_at, price
            from landing.raw_cryptoprices_yfinance where price is not null
        union select upper(ticker), 'stock', source, coalesce(currency, 'USD'), observed_at, close_price
            from landing.raw_stockprices_yfinance where close_price is not null
    """
    facts = """
        select asset_symbol, asset_type, price_source, quote_currency, observed_at, price
        from marts.fct_asset_prices
    """
    assert demo.project.rows(f"({facts} except ({implied})) limit 5") == []
    assert demo.project.rows(f"(({implied}) except {facts}) limit 5") == []
    assert demo.project.value("select count(*) from marts.fct_asset_prices") == demo.project.value(
        f"select count(*) from (select distinct a, t, s, q, o from ({implied}))"
    )


def test_every_asset_has_a_price_of_every_source_that_carries_it(demo: Demo) -> None:
    pairs = "select distinct asset_symbol, price_source from marts.fct_asset_prices where asset_type = 'crypto'"
    found = {tuple(row) for row in demo.project.rows(pairs)}
    coins = listed("crypto")[:CRYPTO]
    sources = ("binance", "coingecko", "yfinance", "freecryptoapi")
    assert found == {(coin["asset_symbol"], source) for coin in coins for source in sources if coin[source]}
    stocks = demo.project.rows("select distinct asset_symbol from marts.fct_asset_prices where asset_type = 'stock'")
    assert {row[0] for row in stocks} == {row["asset_symbol"] for row in listed("stock")}


def test_a_year_of_daily_and_a_month_of_hourly_candles(demo: Demo) -> None:
    carried = {coin["asset_symbol"] for coin in listed("crypto")[:CRYPTO] if coin["binance"]}
    assert len(carried) > CRYPTO / 2
    for interval, seconds, least in (("1d", 86_400, 364), ("1h", 3_600, 30 * 24 - 1)):
        series = demo.project.rows(
            f"select asset_symbol, count(*), (epoch(max(open_time)) - epoch(min(open_time))) / {seconds} + 1 "
            f"{BINANCE_CANDLES} and interval = '{interval}' group by asset_symbol"
        )
        assert {row[0] for row in series} == carried
        assert [row for row in series if row[1] < least or row[1] != row[2]] == [], "too few, or a gap"


def test_open_candles_are_left_out(demo: Demo) -> None:
    """Landing has the open candle of every series, the mart none of them and all the others."""
    landed = """
        select base_currency a, interval i, open_time t, close_time < load_timestamp as closed, close c
        from landing.raw_crypto_candles_binance
    """
    still_open = demo.project.rows(f"select a, i, count(*) from ({landed}) where not closed group by all")
    carried = [coin for coin in listed("crypto")[:CRYPTO] if coin["binance"]]
    assert Counter(row[2] for row in still_open) == {1: 2 * len(carried)}
    kept = f"select asset_symbol, interval, open_time, close {BINANCE_CANDLES}"
    wanted = f"select a, i, t, c from ({landed}) where closed"
    assert demo.project.rows(f"({kept} except {wanted}) limit 5") == []
    assert demo.project.rows(f"({wanted} except {kept}) limit 5") == []


@pytest.mark.parametrize(
    ("mart", "key"),
    [
        ("fct_asset_prices", "asset_symbol, asset_type, price_source, quote_currency, observed_at"),
        ("fct_asset_candles", 'asset_symbol, asset_type, price_source, quote_currency, "interval", open_time'),
    ],
)
def test_marts_hold_every_key_once(demo: Demo, mart: str, key: str) -> None:
    assert demo.project.rows(f"select {key}, count(*) from marts.{mart} group by all having count(*) > 1 limit 5") == []


def test_each_api_is_asked_as_seldom_as_it_allows(demo: Demo) -> None:
    asked = Counter(demo.asked)
    assert asked["data-api.binance.vision", "/api/v3/ticker/24hr"] == 1
    assert asked["api.coingecko.com", "/api/v3/coins/markets"] == 1
    assert asked["api.freecryptoapi.com", "/v1/getData"] == 1
    carried = sum(1 for coin in listed("crypto")[:CRYPTO] if coin["binance"])
    assert asked["data-api.binance.vision", "/api/v3/klines"] == 2 * carried


def test_freshness_is_shown(demo: Demo) -> None:
    document = demo.project.engine("status", "--json").document()
    ran = {p["pipeline"]: p for p in document["pipelines"] if p["status"]}
    assert {p["status"] for p in ran.values()} == {"ok"}
    assert len(ran) == 5
    for table in document["tables"]:
        assert datetime.fromisoformat(table["arrived_at"]).utcoffset() is not None


def test_replay_rebuilds_the_same_marts(demo: Demo, tmp_path: Path) -> None:
    before = demo.project.checksums()
    again = demo.project.copy(tmp_path / "again")
    (run,) = again.engine("replay", "--json").document()["runs"]
    assert run["status"] == "ok"
    assert run["destinations"][0]["packages"] == demo.project.value("select count(*) from landing._packages")
    assert again.checksums() == before
    assert again.value("select count(*) from landing._packages") == run["destinations"][0]["packages"]
