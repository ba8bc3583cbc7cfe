"""After the demo every table of the design is there, with its columns and rows, and every check has passed."""

from __future__ import annotations

import pytest

from engine.models.semantic import differences, load_catalogue
from tests.e2e.conftest import Demo
from tests.e2e.engine_project import ROOT

pytestmark = pytest.mark.xdist_group("e2e-demo")
VERSION = "load_timestamp record_source hashdiff"
TRANSACTION = (
    "customer_id asset_type asset_symbol transaction_type quantity price_per_unit transaction_amount fee_amount "
    "transaction_timestamp data_date customer_tier customer_risk_tolerance customer_type data_source"
)
TABLES = {
    "raw.raw_assets": "asset_symbol asset_type asset_name asset_category",
    "raw.raw_customers": "customer_id first_name last_name email gender age_group country registration_date "
    "customer_tier risk_tolerance customer_type company_id load_timestamp source",
    "raw.raw_corporates": "company_id company_name company_type company_email country year_founded tax_number "
    "office_primary_location registration_date load_timestamp source",
    "raw.raw_transaction_personal": f"transaction_id {TRANSACTION} load_timestamp source",
    "raw.raw_transaction_corporate": f"transaction_id {TRANSACTION} load_timestamp source",
    "raw.raw_news": "ticker asset_type url date title description image source load_timestamp",
    **{
        f"raw.raw_cryptoprices_{source}": "symbol base_currency quote_currency price volume source observed_at"
        for source in ("binance", "coingecko", "yfinance", "freecryptoapi")
    },
    "raw.raw_stockprices_yfinance": "ticker open_price high_price low_price close_price adj_close_price volume "
    "dividends stock_splits market_cap pe_ratio week_52_high week_52_low avg_volume source observed_at load_timestamp",
    "raw.raw_crypto_candles_binance": "open high low close volume",
    "vault.hub_customer": "customer_hk customer_id load_timestamp record_source",
    "vault.hub_company": "company_hk company_id load_timestamp record_source",
    "vault.hub_asset": "asset_hk asset_symbol asset_type load_timestamp record_source",
    "vault.hub_transaction": "transaction_hk transaction_id load_timestamp record_source",
    "vault.hub_news": "news_hk url load_timestamp record_source",
    "vault.link_customer_transaction": "customer_transaction_hk customer_hk transaction_hk load_timestamp "
    "record_source",
    "vault.link_company_transaction": "company_transaction_hk company_hk transaction_hk load_timestamp record_source",
    "vault.link_customer_company": "customer_company_hk customer_hk company_hk load_timestamp record_source",
    "vault.link_transaction_asset": "transaction_asset_hk transaction_hk asset_hk load_timestamp record_source",
    "vault.link_news_asset": "news_asset_hk news_hk asset_hk load_timestamp record_source",
    "vault.sat_customer_profile": f"customer_hk {VERSION} first_name last_name email country customer_tier "
    "risk_tolerance registration_date company_id is_kyc_verified",
    "vault.sat_company_details": f"company_hk {VERSION} company_name company_type company_email country year_founded "
    "tax_number office_primary_location registration_date",
    "vault.sat_transaction_personal": f"transaction_hk {VERSION} {TRANSACTION}",
    "vault.sat_transaction_corp": f"transaction_hk {VERSION} {TRANSACTION}",
    "vault.sat_asset_price_crypto": f"asset_hk {VERSION} quote_currency observed_at symbol base_currency price volume",
    "vault.sat_asset_price_stock": f"asset_hk {VERSION} observed_at open_price high_price low_price close_price "
    "adj_close_price volume dividends stock_splits market_cap pe_ratio week_52_high week_52_low avg_volume",
    "vault.sat_news_content": f"news_hk {VERSION} date title description image",
    "vault.eff_sat_customer_company": "customer_hk company_hk effective_from effective_to is_current",
    "vault.eff_sat_customer_transaction": "customer_hk transaction_hk effective_from effective_to is_current",
    "marts.dim_customer": "customer_hk customer_id customer_name email country customer_tier risk_tolerance",
    "marts.dim_customer_history": "customer_hk customer_id effective_from effective_to is_current",
    "marts.dim_asset": "asset_hk asset_symbol asset_type asset_name asset_category market_cap",
    "marts.dim_company": "company_hk company_id company_name country",
    "marts.fct_transactions": "transaction_hk transaction_id customer_hk company_hk asset_hk asset_symbol asset_type "
    "transaction_type quantity price_per_unit transaction_amount fee_amount net_amount fee_percentage "
    "customer_tier_at_trade risk_tolerance_at_trade transaction_timestamp transaction_date transaction_year "
    "transaction_month transaction_day record_source load_timestamp data_quality customer_tier risk_tolerance country "
    "asset_name asset_category market_cap",
    "marts.fct_asset_prices": "asset_symbol asset_type price_source quote_currency observed_at price volume "
    "volume_unit",
    "marts.fct_news_events": "news_hk asset_hk url asset_symbol asset_type published_date title",
    "marts.fct_asset_price_comparison": "asset_symbol quote_currency price_date price_binance price_coingecko "
    "price_yfinance price_freecryptoapi price_spread deviation_bps",
    "marts.fct_asset_news_impact": "news_hk asset_hk impact_date price_before change_day_1_percent",
    "marts.fct_asset_candles": "asset_symbol asset_type interval open_time open high low close volume",
    "semantic.semantic_transactions": "transaction_id transaction_timestamp transaction_date transaction_type "
    "asset_symbol asset_type asset_name asset_category quantity price_per_unit transaction_amount fee_amount "
    "net_amount fee_percentage customer_id customer_type customer_tier risk_tolerance country company_name",
    "semantic.semantic_customer_overview": "customer_id customer_type customer_name email_addr country customer_tier "
    "risk_tolerance total_transactions total_transaction_amount total_fee_amount last_transaction_at",
    "semantic.semantic_asset_performance": "asset_symbol asset_type price_date price_source price volume",
}


@pytest.fixture(scope="module")
def columns(demo: Demo) -> dict[str, dict[str, str]]:
    """SQL types by table and column."""
    found: dict[str, dict[str, str]] = {}
    for schema, table, column, data_type in demo.project.rows(
        "select table_schema, table_name, column_name, data_type from information_schema.columns"
    ):
        found.setdefault(f"{schema}.{table}", {})[column] = data_type
    return found


def test_every_table_has_its_columns(columns: dict[str, dict[str, str]]) -> None:
    lacking = {table: set(wanted.split()) - set(columns.get(table, ())) for table, wanted in TABLES.items()}
    assert {table: missing for table, missing in lacking.items() if missing} == {}


def test_every_table_has_rows(demo: Demo) -> None:
    counts = " union all ".join(f"select '{table}', count(*) from {table}" for table in TABLES)
    assert [table for table, rows in demo.project.rows(counts) if not rows] == []


def test_every_check_passes(demo: Demo) -> None:
    [checks] = demo.project.engine("status", "--json").document()["checks"]
    assert checks["failed"] == []
    assert checks["passed"] == demo.project.value("select count(distinct (model, audit)) from landing._checks") >= 30
    assert demo.project.value("select sum(failed_rows) from landing._checks") == 0
    assert f"{checks['passed']} checks passed" in demo.project.engine("status").out


def test_views_over_checked_tables_double_nothing(demo: Demo) -> None:
    """A view is audited through what it reads; here it is looked at itself."""
    for view, key in {
        "marts.fct_transactions": "transaction_hk",
        "marts.fct_news_events": "news_hk, asset_hk",
        "marts.fct_asset_news_impact": "news_hk, asset_hk",
        "marts.fct_asset_price_comparison": "asset_hk, quote_currency, price_date",
        "vault.eff_sat_customer_company": "customer_hk, effective_from",
        "vault.eff_sat_customer_transaction": "transaction_hk, effective_from",
        "semantic.semantic_transactions": "transaction_id",
        "semantic.semantic_customer_overview": "customer_id",
        "semantic.semantic_asset_performance": "asset_symbol, asset_type, price_date, price_source",
    }.items():
        doubled = f"select {key}, count(*) from {view} group by {key} having count(*) > 1 limit 3"
        assert demo.project.rows(doubled) == [], view


def test_amounts_are_those_that_were_landed(demo: Demo) -> None:
    landed = " union all ".join(
        f"select upper(trim(transaction_id)) id, transaction_amount amount from landing.raw_transaction_{feed}"
        for feed in ("personal", "corporate")
    )
    wanted = demo.project.rows(f"select count(distinct id), sum(amount) from ({landed})")
    assert demo.project.rows("select count(*), sum(transaction_amount) from marts.fct_transactions") == wanted


def test_the_semantic_catalogue_is_of_these_views(demo: Demo, columns: dict[str, dict[str, str]]) -> None:
    catalogue = load_catalogue(ROOT / "transforms" / "semantic")
    assert differences(catalogue, columns) == []
    for table in catalogue.tables:
        for name, dimension in table.dimensions.items():
            if isinstance(dimension.values, list):
                other = demo.project.rows(
                    f'select distinct "{name}" from {table.table} where "{name}" is not null '
                    f'and not list_contains([{", ".join(repr(value) for value in dimension.values)}], "{name}")'
                )
                assert other == [], f"{table.table}.{name}"
