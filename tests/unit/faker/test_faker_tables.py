from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import pairwise

import pyarrow as pa
import pytest
from dlt.extract.exceptions import ResourceExtractionError

from engine.errors import SourceError
from sources.faker.settings import TABLES, FakerSource

NOW = datetime(2026, 3, 1, 13, 0, 30, tzinfo=UTC)
ARROW = {
    "text": pa.string(),
    "decimal": pa.decimal128(38, 18),
    "timestamp": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "bigint": pa.int64(),
    "bool": pa.bool_(),
}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_columns_and_types_are_those_declared(faking, table):
    rows = faking(table.name, {})
    assert [(field.name, field.type) for field in rows.schema] == [
        (column.name, ARROW[column.data_type]) for column in table.columns
    ]
    assert all(resource.simulated for resource in FakerSource(type="faker").resources_of("faker", {}))


def test_everything_a_row_refers_to_exists(faking):
    customers = set(faking("raw_customers", {})["customer_id"].to_pylist())
    corporates = set(faking("raw_corporates", {})["company_id"].to_pylist())
    employers = faking("raw_customers", {})["company_id"]
    assert set(employers.to_pylist()) - {None} <= corporates
    assert 0 < employers.null_count < len(employers)
    state, other = {}, {}
    for run in range(3):
        now = NOW + timedelta(days=run)
        assert set(faking("raw_transaction_personal", state, now=now)["customer_id"].to_pylist()) <= customers
        assert set(faking("raw_transaction_corporate", other, now=now)["customer_id"].to_pylist()) <= corporates


def test_assets_are_those_of_the_project(faking):
    rows = faking("raw_transaction_personal", {})
    pairs = set(zip(rows["asset_symbol"].to_pylist(), rows["asset_type"].to_pylist(), strict=True))
    crypto = {(symbol, "crypto") for symbol in ("BTC", "ETH", "USDT", "SHIB", "NEWCOIN")}
    assert pairs == crypto | {(symbol, "stock") for symbol in ("AAPL", "BRK-B", "ZZZZ")}


def test_no_assets_is_one_clear_error(faking):
    with pytest.raises(ResourceExtractionError) as caught:
        faking("raw_transaction_personal", {}, assets={})
    assert isinstance(caught.value.__cause__, SourceError)
    assert "no assets" in str(caught.value.__cause__)


def test_amounts_are_exact_and_fees_rounded_half_even(faking):
    fees = {"BRONZE": 50, "SILVER": 35, "GOLD": 25, "PLATINUM": 15}
    with localcontext(prec=60):
        for row in faking("raw_transaction_personal", {}).to_pylist():
            amount = row["quantity"] * row["price_per_unit"]
            assert row["transaction_amount"] == amount
            fee = amount * fees[row["customer_tier"]] / 10_000
            assert row["fee_amount"] == fee.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
            assert row["quantity"] > 0
            assert row["price_per_unit"] > 0


def test_prices_are_plausible(faking):
    rows = faking("raw_transaction_personal", {}).to_pylist()
    between = {"BTC": (20_000, 200_000), "USDT": (Decimal("0.99"), Decimal("1.01")), "AAPL": (90, 400)}
    for symbol, (low, high) in between.items():
        prices = [row["price_per_unit"] for row in rows if row["asset_symbol"] == symbol]
        assert low < min(prices) <= max(prices) < high
        assert len(set(prices)) > 10


def test_times_lie_in_the_runs_period(faking):
    state = {}
    minute = NOW.replace(second=0)
    first = faking("raw_transaction_personal", state)
    times = first["transaction_timestamp"].to_pylist()
    assert minute - timedelta(days=30) <= min(times) < minute - timedelta(days=29)
    assert minute - timedelta(days=1) < max(times) < minute
    assert first["data_date"].to_pylist() == [time.astimezone(UTC).date() for time in times]
    later = faking("raw_transaction_personal", state, now=NOW + timedelta(hours=1))["transaction_timestamp"].to_pylist()
    assert minute <= min(later)
    assert max(later) < minute + timedelta(hours=1)
    back = faking("raw_transaction_personal", state, now=NOW)["transaction_timestamp"].to_pylist()
    assert max(back) < minute, "a clock that went back brings no trade of the future"


def test_customers_change_one_respect_at_a_time(faking):
    state = {}
    rows = [
        row for run in range(30) for row in faking("raw_customers", state, now=NOW + timedelta(days=run)).to_pylist()
    ]
    history = {}
    for row in rows:
        history.setdefault(row.pop("customer_id"), []).append(row)
    assert len(history) == 1_000 + 29 * 20
    assert max(map(len, history.values())) == 3
    changed = set()
    for versions in history.values():
        for before, after in pairwise(versions):
            different = {name for name in before if before[name] != after[name]}
            assert different - {"is_kyc_verified"} in ({"customer_tier"}, {"risk_tolerance"}, {"country"})
            changed |= different
    assert {"customer_tier", "risk_tolerance"} <= changed


def test_the_tier_at_trade_follows_the_customers_version(faking):
    customers, trades = {}, {}
    tier = {}
    for run in range(4):
        now = NOW + timedelta(days=run)
        rows = faking("raw_customers", customers, now=now)
        tier |= dict(zip(rows["customer_id"].to_pylist(), rows["customer_tier"].to_pylist(), strict=True))
        for row in faking("raw_transaction_personal", trades, now=now).to_pylist():
            assert row["customer_tier"] == tier[row["customer_id"]]


def test_names_and_addresses(faking):
    rows = faking("raw_customers", {})
    emails = rows["email"].to_pylist()
    assert len(set(emails)) == 1_000
    assert all(email.isascii() and email.split("@")[1].startswith("example.") for email in emails)
    assert len(set(rows["last_name"].to_pylist())) > 300
    assert any(not name.isascii() for name in rows["last_name"].to_pylist())
    assert len(set(rows["country"].to_pylist())) == 11
    names = faking("raw_corporates", {})["company_name"].to_pylist()
    assert len(set(names)) > 190
