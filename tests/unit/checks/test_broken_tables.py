"""Every audit passes on sound rows and fails on a table that was broken for it, and says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("broken tables"),
]
TWICE = "INSERT INTO {{{0}}} SELECT * FROM {{{0}}} LIMIT 1"
"""A row of the table once more."""
HISTORY = "UPDATE {{marts.dim_customer_history}} SET {}"
ARRIVED = "UPDATE {{landing._packages}} SET arrived_at = '{} 00:00:00+00' WHERE {}"
HUBS = {
    "customer": "customer_id",
    "company": "company_id",
    "asset": "asset_symbol",
    "transaction": "transaction_id",
    "news": "url",
}
LINKS = {
    "customer_transaction": ("customer", "transaction"),
    "company_transaction": ("company", "transaction"),
    "customer_company": ("customer", "company"),
    "transaction_asset": ("transaction", "asset"),
    "news_asset": ("news", "asset"),
}
SATELLITES = {
    "customer_profile": "customer",
    "company_details": "company",
    "transaction_personal": "transaction",
    "transaction_corp": "transaction",
    "news_content": "news",
}
FACTS = {
    "marts.dim_customer": "customer_id",
    "marts.dim_company": "company_id",
    "marts.dim_asset": "asset_type",
    "marts.dim_customer_history": "effective_to",
    "marts.fct_asset_prices": "price_source",
    "marts.fct_asset_candles": "close",
    "business.transaction": "transaction_id",
    "business.asset_price_day": "price_source",
}
KEYED = {
    **{f"vault.hub_{hub}": column for hub, column in HUBS.items()},
    **{f"vault.link_{link}": "record_source" for link in LINKS},
    **{f"vault.sat_{satellite}": "hashdiff" for satellite in (*SATELLITES, "asset_price_crypto", "asset_price_stock")},
    **FACTS,
}
BROKEN = [
    *((name, "key_sound", "duplicate key", [TWICE.format(name)]) for name in KEYED),
    *(
        (name, "key_sound", f"no {column}", [f"UPDATE {{{name}}} SET {column} = NULL"])
        for name, column in KEYED.items()
    ),
    *(
        (f"vault.link_{link}", "key_sound", f"not in vault.hub_{hub}", [f"DELETE FROM {{vault.hub_{hub}}}"])
        for link, hubs in LINKS.items()
        for hub in hubs
    ),
    *(
        (f"vault.sat_{satellite}", "key_sound", f"not in vault.hub_{hub}", [f"DELETE FROM {{vault.hub_{hub}}}"])
        for satellite, hub in SATELLITES.items()
    ),
    *(
        (f"marts.dim_{hub}", "key_sound", f"not in vault.hub_{hub}", [f"DELETE FROM {{vault.hub_{hub}}}"])
        for hub in ("customer", "company", "asset")
    ),
    (
        "marts.dim_asset",
        "priced_assets_known",
        "priced, and not in vault.hub_asset",
        ["DELETE FROM {vault.hub_asset} WHERE asset_symbol = 'BTC'"],
    ),
    (
        "marts.dim_asset",
        "priced_assets_known",
        "priced, and not in vault.hub_asset",
        ["DELETE FROM {vault.hub_asset} WHERE asset_symbol = 'AAPL'"],
    ),
    *(
        ("marts.dim_customer_history", "history_sound", problem, [HISTORY.format(change)])
        for problem, change in {
            "not exactly one current version": "is_current = FALSE WHERE customer_id = 'C2'",
            "the current version ends": "effective_to = effective_from + INTERVAL 1 DAY WHERE is_current",
            "a gap before the next version": "effective_to = effective_to - INTERVAL 1 DAY WHERE NOT is_current",
            "overlaps the next version": "effective_to = effective_to + INTERVAL 1 DAY WHERE NOT is_current",
        }.items()
    ),
    (
        "marts.dim_customer_history",
        "history_sound",
        "not exactly one current version",
        ["UPDATE {marts.dim_customer_history} SET is_current = TRUE"],
    ),
    (
        "business.transaction",
        "transactions_complete",
        "delivered, and no fact",
        ["DELETE FROM {business.transaction} WHERE transaction_id = 'T1'"],
    ),
    (
        "business.transaction",
        "transactions_complete",
        "delivered, and no fact",
        ["DELETE FROM {business.transaction} WHERE transaction_id = 'T3'"],
    ),
    (
        "business.transaction",
        "transactions_complete",
        "its amount is none that a source gave last",
        [
            (
                "UPDATE {business.transaction} SET transaction_amount = transaction_amount + 0.000000000000000001 "
                "WHERE transaction_id = 'T2'"
            )
        ],
    ),
    (
        "business.transaction",
        "transactions_complete",
        "staged with 1 of 2 rows",
        ["UPDATE {landing._packages} SET rows = 2 WHERE table_name = 'raw_transaction_corporate'"],
    ),
    *(
        ("business.transaction", "transactions_complete", "staged with 0 of ", [f"DELETE FROM {{stage.{feed}}}"])
        for feed in ("transaction_personal", "transaction_corporate")
    ),
    ("marts.fct_asset_candles", "ohlc_sane", "high below low", ["UPDATE {marts.fct_asset_candles} SET low = high + 1"]),
    (
        "marts.fct_asset_candles",
        "ohlc_sane",
        "high is not the highest",
        ["UPDATE {marts.fct_asset_candles} SET close = high + 1"],
    ),
    (
        "marts.fct_asset_candles",
        "ohlc_sane",
        "low is not the lowest",
        ["UPDATE {marts.fct_asset_candles} SET open = low - 1"],
    ),
    (
        "marts.fct_asset_candles",
        "candle_grid",
        "candles are missing before this one",
        ["DELETE FROM {marts.fct_asset_candles} WHERE epoch(open_time) % 14400 = 7200"],
    ),
    (
        "business.asset_price_day",
        "sources_agree",
        "sources differ by",
        ["UPDATE {business.asset_price_day} SET mean_price = mean_price * 2 WHERE price_source = 'yfinance'"],
    ),
    (
        "marts.fct_asset_prices",
        "prices_fresh",
        "the newest price delivered is of 2026-05-01",
        ["DELETE FROM {marts.fct_asset_prices} WHERE price_date > '2026-05-01' AND price_source = 'coingecko'"],
    ),
    (
        "marts.fct_asset_prices",
        "prices_fresh",
        "raw_cryptoprices_binance: nothing has arrived since 2001-01-01",
        [
            ARRIVED.format("2001-01-01", "table_name = 'raw_cryptoprices_binance'"),
            ARRIVED.format("2099-12-31", "arrived_at > '2002-01-01'"),
        ],
    ),
]
LATE = ["UPDATE {landing._packages} SET arrived_at = '2099-12-31 00:00:00+00'"]
"""The audits look from the end of the century: what has arrived now is fresh then."""


@pytest.mark.parametrize("model", sorted(KEYED))
def test_sound_tables_pass(built: Any, model: str) -> None:
    found = built.audit(model, LATE)
    assert found
    assert [check.line for check in found if check.failed_rows] == []


@pytest.mark.parametrize(
    ("model", "audit", "problem", "statements"), BROKEN, ids=[f"{b[0]}-{b[1]}-{b[2]}-{n}" for n, b in enumerate(BROKEN)]
)
def test_a_broken_table_fails(built: Any, model: str, audit: str, problem: str, statements: list[str]) -> None:
    found = {check.audit: check for check in built.audit(model, statements)}
    check = found[audit]
    assert check.failed_rows > 0
    problems = {str(row["problem"]) for row in check.sample}
    assert any(told.startswith(problem) for told in problems), problems
    assert check.model == model
    assert f"check {audit} failed for" in check.line
    assert check.blocking == (audit not in {"ohlc_sane", "candle_grid", "sources_agree", "prices_fresh"})


def test_every_audit_was_broken(built: Any) -> None:
    used = {(m.name, a.name) for m in built.models.context.models.values() for a, _ in m.audits_with_args}
    assert used == {(model, audit) for model, audit, *_ in BROKEN}


def test_what_did_not_arrive_now_is_not_looked_at(built: Any) -> None:
    """An old broken row costs nothing and is told no second time; a key that is touched now is looked at whole."""
    old = "UPDATE {vault.hub_customer} SET _arrived_at = '2001-01-01 00:00:00+00'"
    twice = TWICE.format("vault.hub_customer")
    [check] = built.audit("vault.hub_customer", [twice, old])
    assert (check.failed_rows, check.status) == (0, "passed")
    one = "UPDATE {vault.hub_customer} SET _arrived_at = '2001-01-01 00:00:00+00' WHERE customer_id <> 'C1'"
    before = "SELECT * REPLACE ('2001-01-01 00:00:00+00'::TIMESTAMPTZ AS _arrived_at) FROM {vault.hub_customer}"
    again = f"INSERT INTO {{vault.hub_customer}} {before} WHERE customer_id = 'C1'"
    [check] = built.audit("vault.hub_customer", [again, one])
    assert check.failed_rows == 1
