"""What a resource's `timeseries:` block means: how a time-series destination keeps a table, and its candles.

Light on purpose (no pydantic): sources declare it, destinations read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from engine.table import Column

CANDLES: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
"""Lengths of candles by name. All of them begin at whole multiples in UTC."""

LONGEST_NAME = 63
"""PostgreSQL's limit of a name, in bytes."""

LATE = timedelta(days=1)
"""How much longer than its longest candle a table keeps rows: a day for the last of them to arrive, and for a run."""

BARS: Sequence[tuple[str, str, str, str]] = (
    ("open", "high", "low", "close"),
    ("open", "high", "low", "price"),
    ("open_price", "high_price", "low_price", "close_price"),
)
"""Columns in which a table of bars has open, high, low and close."""


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """How a time-series destination keeps a table: by which instant, in what chunks, for how long, which candles."""

    hypertable: str
    chunk: timedelta = timedelta(days=7)
    compress_after: timedelta | None = None
    retain: timedelta | None = None
    candles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """The columns of which candles are made. `volume` only where it was traded within the row's own bar."""

    open: str
    high: str
    low: str
    close: str
    volume: str | None = None


def prices_of(columns: Iterable[Column]) -> Prices | None:
    """Return the price columns of a table: bars, or single prices; None if it has neither."""
    decimals = {column.name for column in columns if column.data_type == "decimal"}
    for bar in BARS:
        if decimals.issuperset(bar):
            return Prices(*bar, "volume" if "volume" in decimals else None)
    return Prices("price", "price", "price", "price") if "price" in decimals else None


def problem(series: TimeSeries, columns: Iterable[Column], primary_key: Sequence[str]) -> str | None:
    """Return what keeps a table from being such a time series (reason, line break, remedy); None if nothing does."""
    known = {column.name: column for column in columns}
    time = series.hypertable
    instants = ", ".join(name for name, column in known.items() if column.data_type == "timestamp") or "none"
    if time not in known:
        return f"hypertable: the column {time!r} is not declared\nColumns of type timestamp: {instants}."
    if known[time].data_type != "timestamp":
        reason = f"hypertable: the column {time!r} is of type {known[time].data_type}, not a timestamp"
        return f"{reason}\nColumns of type timestamp: {instants}."
    if time not in primary_key:
        reason = f"hypertable: the column {time!r} is not part of the primary_key, by which rows are replaced"
        return f"{reason}\nAdd it to `primary_key`."
    if series.candles and prices_of(known.values()) is None:
        return "candles: the table has no prices\nDeclare a decimal `price`, or `open`, `high`, `low` and `close`."
    return _retain_problem(series)


def _retain_problem(series: TimeSeries) -> str | None:
    if series.compress_after and series.retain and series.retain <= series.compress_after:
        return "retain: rows would go before they are compressed\nRetain longer than `compress_after`, or leave it out."
    least = max((CANDLES[length] for length in series.candles), default=timedelta()) + LATE
    if series.retain and series.retain < least:
        reason = "retain: rows would go before their candles are whole"
        hours = -(-least // timedelta(hours=1))
        return f"{reason}\nRetain at least {hours}h: the longest candle and a day."
    return None
