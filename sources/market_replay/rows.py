"""The rows inside an API's payload, so that faults and the ledger treat all APIs alike.

A row is a mapping, or a list for klines and chart points. Yahoo's columns are turned into rows and back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a resource keeps its rows, and which of their fields are times (seconds, milliseconds, text)."""

    path: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()
    milliseconds: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


SHAPES = {
    "binance.ticker": Shape(milliseconds=("openTime", "closeTime")),
    "binance.price": Shape(),
    "binance.klines": Shape(milliseconds=("0", "6")),
    "binance.exchangeInfo": Shape(path=("symbols",)),
    "coingecko.markets": Shape(texts=("last_updated",)),
    "coingecko.simple": Shape(seconds=("last_updated_at",)),
    "coingecko.ohlc": Shape(milliseconds=("0",)),
    "coingecko.market_chart": Shape(path=("prices",), milliseconds=("0",)),
    "freecryptoapi.symbols": Shape(path=("symbols",), texts=("date",)),
    "coincodex.news": Shape(texts=("date",)),
    "yahoo.chart": Shape(seconds=("timestamp",)),
    "yahoo.quote": Shape(path=("quoteResponse", "result"), seconds=("regularMarketTime",)),
    "yahoo.summary": Shape(path=("quoteSummary", "result")),
}
_META = {"timestamp", "adjclose"}


def rows_of(resource: str, payload: Any) -> list[Any]:
    """The payload's rows, the objects themselves (a chart's are made); none where it is not of that shape."""
    shape = SHAPES.get(resource)
    if shape is None:
        return []
    if resource == "yahoo.chart":
        return _bars(payload)
    inner = payload
    for name in shape.path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        return list(inner.values()) if resource == "coingecko.simple" else [inner]
    return inner if isinstance(inner, list) else []


def with_rows(resource: str, payload: Any, rows: list[Any]) -> Any:
    """The payload with these rows in place of its own."""
    shape = SHAPES[resource]
    if resource == "yahoo.chart":
        return _with_bars(payload, rows)
    if not shape.path:
        if resource == "coingecko.simple":
            return payload
        return rows if isinstance(payload, list) or len(rows) != 1 else rows[0]
    *outer, last = shape.path
    inner = payload
    for name in outer:
        inner = inner[name]
    inner[last] = rows
    return payload


def change_field(row: Any, field: str, change: Callable[[Any], Any]) -> None:
    """Change one field of a row in place, if the row has it. A list's fields are called by their position."""
    if isinstance(row, dict) and field in row:
        row[field] = change(row[field])
    elif isinstance(row, list) and field.isdigit() and int(field) < len(row):
        row[int(field)] = change(row[int(field)])


def _bars(payload: Any) -> list[dict[str, Any]]:
    result = (payload.get("chart") or {}).get("result") if isinstance(payload, dict) else None
    if not result or "timestamp" not in result[0]:
        return []
    indicators = result[0]["indicators"]
    columns = {"timestamp": result[0]["timestamp"], **indicators["quote"][0]}
    if "adjclose" in indicators:
        columns["adjclose"] = indicators["adjclose"][0]["adjclose"]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _with_bars(payload: Any, rows: list[dict[str, Any]]) -> Any:
    result = payload["chart"]["result"][0]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    result.pop("timestamp", None)
    if "timestamp" in columns:
        result["timestamp"] = columns["timestamp"]
    result["indicators"]["quote"] = [{name: column for name, column in columns.items() if name not in _META}]
    result["indicators"].pop("adjclose", None)
    if "adjclose" in columns:
        result["indicators"]["adjclose"] = [{"adjclose": columns["adjclose"]}]
    return payload
