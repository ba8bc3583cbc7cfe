"""Candles: the queries of a table's continuous aggregates."""

from __future__ import annotations

from engine.sql import identifier, qualified
from engine.table import Table
from engine.timeseries import CANDLES, prices_of

APART = ("quote_currency", "interval", "currency")
"""Columns that keep candles apart though they are in no key: prices in two currencies make no candle."""


def candle_views(table: Table) -> dict[str, str]:
    """Return the query of each of a table's candles by the name of its view, <table>_<length>."""
    series, prices = table.timeseries, prices_of(table.columns)
    if series is None or prices is None:
        return {}
    time = identifier(series.hypertable)
    declared = {column.name for column in table.columns}
    names = ["source", *table.primary_key, *(name for name in APART if name in declared)]
    apart = ", ".join(identifier(name) for name in dict.fromkeys(names) if name != series.hypertable)
    bar = (
        f"first({identifier(prices.open)}, {time}) AS open, max({identifier(prices.high)}) AS high,"
        f" min({identifier(prices.low)}) AS low, last({identifier(prices.close)}, {time}) AS close,"
        + (f" sum({identifier(prices.volume)}) AS volume," if prices.volume else "")
        + " count(*) AS row_count"
    )
    priced = f"{identifier(prices.close)} IS NOT NULL"
    views = {}
    for length in series.candles:
        bucket = f"time_bucket(INTERVAL '{int(CANDLES[length].total_seconds())} seconds', {time})"
        views[f"{table.name}_{length}"] = (
            f"SELECT {apart}, {bucket} AS bucket, {bar} FROM {qualified('timeseries', table.name)} WHERE {priced}"
            f" GROUP BY {apart}, {bucket}"  # by its name it would be the table's own column, where there is one
        )
    return views


def candle_view(view: str, query: str) -> str:
    """Return the statement that makes one, empty; rows newer than its last refresh are seen through it at once."""
    return (
        f"CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous, timescaledb.materialized_only = false)"
        f" AS {query} WITH NO DATA"
    )
