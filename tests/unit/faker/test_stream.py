"""The endless stream: what is reserved, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sources.faker.settings import CORPORATE, CORPORATES, CUSTOMERS, PERSONAL, FakerSource
from sources.faker.stream import Stream
from sources.protocol import Asset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL: dict[str, Any] = {"raw_customers": {"first": 50}, "raw_corporates": {"first": 10}}


def stream(state: dict[str, Any], seed: int = 7) -> Stream:
    settings = FakerSource.model_validate({"type": "faker", "seed": seed, "resources": SMALL})
    return Stream(settings, [Asset("BTC", "crypto", {}), Asset("AAPL", "stock", {})], state)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_of_any_size_add_up_to_the_same_rows(block: int) -> None:
    state: dict[str, Any] = {}
    one = stream(state)
    for _ in range(0, 700, block):
        one.reserve(block)
    assert [state[table.name] for table in (PERSONAL, CORPORATE, CUSTOMERS, CORPORATES)] == [560, 105, 28, 7]


def test_a_stream_that_goes_on_gives_other_ids_within_the_time_asked_for() -> None:
    state: dict[str, Any] = {}
    ids: list[str] = []
    for _ in range(3):
        again = stream(state)
        for table, rows in again.pages(again.reserve(200), NOW - timedelta(seconds=10), NOW):
            if table in {PERSONAL, CORPORATE}:
                ids += rows["transaction_id"].to_pylist()
                at = rows["transaction_timestamp"].to_pylist()
                assert min(at) >= NOW - timedelta(seconds=10)
                assert max(at) < NOW
    assert len(ids) == len(set(ids)) == 3 * 190


def test_everybody_who_trades_or_changes_is_of_the_population() -> None:
    one = stream({})
    (people,) = [rows for table, rows in one.population(NOW) if table is CUSTOMERS]
    traded = set()
    for table, rows in one.pages(one.reserve(500), NOW - timedelta(seconds=1), NOW):
        if table in {PERSONAL, CUSTOMERS}:
            traded |= set(rows["customer_id"].to_pylist())
    assert traded
    assert traded <= set(people["customer_id"].to_pylist())


def test_a_population_given_again_shows_what_has_changed_meanwhile() -> None:
    state: dict[str, Any] = {}
    one = stream(state)
    changed = {}
    for table, rows in one.pages(one.reserve(2_000), NOW - timedelta(seconds=1), NOW):
        if table is CUSTOMERS:
            for row in rows.to_pylist():
                changed[row["customer_id"]] = row["customer_tier"], row["risk_tolerance"], row["country"]
    (again,) = [rows for table, rows in stream(state).population(NOW) if table is CUSTOMERS]
    now = {r["customer_id"]: (r["customer_tier"], r["risk_tolerance"], r["country"]) for r in again.to_pylist()}
    assert len(changed) == 50
    assert now == changed


def test_another_seed_begins_anew() -> None:
    state: dict[str, Any] = {}
    stream(state).reserve(100)
    stream(state, seed=8)
    assert (state["seed"], state["rows"]) == (8, 0)
