"""Simulated transactions: rows a second, beside calling Faker row by row, in one run.

    python -m tests.bench.bench_faker

Prints both rates (the best of rounds that alternate, so that a busy machine hurts both alike) and their ratio.
Bounded to about ten seconds. The target is 200,000 rows a second and a ratio of 30.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from faker import Faker

from sources.faker.market import Market
from sources.faker.people import World
from sources.faker.resource import PAGE_ROWS
from sources.faker.trades import Period, Trades
from sources.protocol import Asset

ROUNDS, SECONDS = 6, 0.7
RATE, RATIO = 200_000, 30
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASSETS = [Asset(f"C{n}", "crypto") for n in range(50)] + [Asset(f"S{n}", "stock") for n in range(90)]


def rate_of_columns(seconds: float = SECONDS) -> float:
    """Rows a second of the source: pages of Arrow, the set-up of one run included."""
    started, rows = time.perf_counter(), 0
    period = Period(NOW - timedelta(days=1), NOW)
    trades = Trades(World(7, 1_000, 200), "personal", Market.of(7, ASSETS), period)
    while time.perf_counter() - started < seconds:
        rows += trades.rows(rows, PAGE_ROWS).num_rows
    return rows / (time.perf_counter() - started)


def rate_of_rows(seconds: float = SECONDS) -> float:
    """Rows a second of the same columns with one Faker call for each random field, as dicts."""
    fake = Faker("en_US")
    fake.seed_instance(7)
    random.seed(7)
    started, rows = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            _row(fake, rows)
            rows += 1
    return rows / (time.perf_counter() - started)


def _row(fake: Faker, number: int) -> dict[str, Any]:
    asset = ASSETS[fake.random_int(0, len(ASSETS) - 1)]
    quantity = fake.pydecimal(left_digits=3, right_digits=4, positive=True)
    price = fake.pydecimal(left_digits=5, right_digits=2, positive=True)
    amount = quantity * price
    instant = fake.date_time_between_dates(NOW - timedelta(days=1), NOW, tzinfo=UTC)
    return {
        "transaction_id": f"T-{number:010}",
        "customer_id": f"C-{fake.random_int(0, 999):010}",
        "asset_type": asset.asset_type,
        "asset_symbol": asset.symbol,
        "transaction_type": fake.random_element(("BUY", "SELL")),
        "quantity": quantity,
        "price_per_unit": price,
        "transaction_amount": amount,
        "fee_amount": (amount * fake.random_int(5, 50) / 10_000).quantize(Decimal("0.01")),
        "transaction_timestamp": instant,
        "data_date": instant.date(),
        "customer_tier": fake.random_element(("BRONZE", "SILVER", "GOLD", "PLATINUM")),
        "customer_risk_tolerance": fake.random_element(("LOW", "MEDIUM", "HIGH")),
        "customer_type": "personal",
        "data_source": fake.random_element(("MOBILE", "WEB", "API")),
        "quote_currency": "USD",
    }


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    rounds = [(rate_of_rows(), rate_of_columns()) for _ in range(ROUNDS)]
    by_row, by_column = (max(rates) for rates in zip(*rounds, strict=True))
    ratio = by_column / by_row
    print(f"whole columns   {by_column:>12,.0f} rows/s  (target {RATE:,})")
    print(f"Faker by row    {by_row:>12,.0f} rows/s")
    print(f"ratio           {ratio:>12,.0f} x       (target {RATIO})")
    return 0 if by_column >= RATE and ratio >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
