"""The two tables that Yahoo's prices fill."""

from __future__ import annotations

from engine.table import Column, Table

UNIT = "in `currency` as delivered: Yahoo quotes London in pence (GBp), Johannesburg in cents (ZAc)"
FACT = "company fact as known when the row was extracted, not on the bar's date; null in a backfill"

OBSERVED_AT = Column("observed_at", "timestamp", nullable=False, description="UTC instant at which the bar begins")
INTERVAL = Column("interval", "text", description="length of the bar: 1d, 1h, ...; null for a price that is no bar")
IS_LIVE = Column("is_live", "bool", description="the bar is still moving (off the grid, or its session is open)")

CRYPTO_COLUMNS = (
    Column("symbol", "text", nullable=False, description="Yahoo's symbol, BTC-USD"),
    Column("base_currency", "text", nullable=False, description="the asset's symbol, BTC"),
    Column("quote_currency", "text", description="currency of the prices, USD"),
    Column("price", "decimal", description="close of the bar"),
    Column("open", "decimal"),
    Column("high", "decimal"),
    Column("low", "decimal"),
    Column("volume", "decimal", description="traded volume as delivered, see volume_unit"),
    Column("volume_unit", "text", description="quote: Yahoo counts crypto volume in quote currency"),
    OBSERVED_AT,
    INTERVAL,
    IS_LIVE,
)

STOCK_COLUMNS = (
    Column("ticker", "text", nullable=False, description="the asset's symbol"),
    Column("symbol", "text", description="Yahoo's symbol, BRK-B"),
    Column("date", "date", description="trading date at the exchange"),
    Column("open_price", "decimal", description=UNIT),
    Column("high_price", "decimal", description=UNIT),
    Column("low_price", "decimal", description=UNIT),
    Column("close_price", "decimal", description=f"adjusted for splits, not for dividends; {UNIT}"),
    Column("adj_close_price", "decimal", description=f"adjusted for splits and dividends; {UNIT}"),
    Column("volume", "decimal", description="traded volume, see volume_unit"),
    Column("volume_unit", "text", description="shares"),
    Column("dividends", "decimal", description=f"paid on the bar's date a share, 0 if none; {UNIT}"),
    Column("stock_splits", "decimal", description="new shares for an old one on the bar's date, 0 if none"),
    Column("capital_gains", "decimal", description=f"distributed by a fund on the bar's date, 0 if none; {UNIT}"),
    Column("company_name", "text", description=FACT),
    Column("sector", "text", description=FACT),
    Column("industry", "text", description=FACT),
    Column("market_cap", "decimal", description=FACT),
    Column("pe_ratio", "decimal", description=f"trailing twelve months; {FACT}"),
    Column("week_52_high", "decimal", description=FACT),
    Column("week_52_low", "decimal", description=FACT),
    Column("avg_volume", "decimal", description=f"mean daily volume of three months; {FACT}"),
    Column("currency", "text", description="currency or minor unit of the prices, as delivered: USD, GBp"),
    OBSERVED_AT,
    INTERVAL,
    IS_LIVE,
)


def crypto_table(name: str) -> Table:
    """Prices of crypto currencies, one row a bar and delivery."""
    return Table(
        name=name,
        columns=CRYPTO_COLUMNS,
        primary_key=("symbol", "observed_at"),
        description="Crypto prices from Yahoo Finance",
    )


def stock_table(name: str) -> Table:
    """Prices of stocks with their company's facts, one row a bar and delivery."""
    return Table(
        name=name,
        columns=STOCK_COLUMNS,
        primary_key=("ticker", "observed_at"),
        description="Stock prices, dividends, splits and company facts from Yahoo Finance",
    )
