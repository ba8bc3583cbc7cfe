"""A query's result as JSON, CSV or a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from engine.query import QueryResult
from engine.redact import visible

if TYPE_CHECKING:
    from rich.table import Table

NUMBERS = ("DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "UHUGEINT", "BIGINT", "UBIGINT", "INTEGER", "SMALLINT", "TINYINT")


def as_json(result: QueryResult) -> str:
    """Return {"columns": [...], "rows": [[...], ...]}: decimals as strings, timestamps ISO 8601 with offset."""
    rows = [[plain(value) for value in row] for row in result.rows]
    return json.dumps({"columns": list(result.columns), "rows": rows}, ensure_ascii=False, allow_nan=False)


def as_csv(result: QueryResult) -> str:
    """Return CSV with a header; null is an empty field, text is quoted where it has to be.

    The data as they are: a text such as =1+1 stays one, and a spreadsheet should import these columns as text.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_cell(value) for value in row] for row in result.rows)
    return text.getvalue()


def as_table(result: QueryResult) -> Table:
    """Return a rich table, numbers to the right. Cells are text, never markup; control characters are written out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for name, kind in zip(result.columns, result.types, strict=True):
        table.add_column(Text(visible(name)), justify="right" if kind.startswith(NUMBERS) else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(Text("") if value is None else Text(visible(_shown(value))) for value in row))
    if result.truncated:
        table.caption = f"first {len(result.rows):,} rows"
    return table


def plain(value: Any) -> Any:  # noqa: PLR0911 - any SQL value to any JSON value, one line a type
    """Return a JSON value: exact numbers as text, instants with their offset, NaN and infinity as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return format(value, "f")
        case float():
            return value if isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return f"PT{value.total_seconds():g}S"
        case object(months=months, days=days, nanoseconds=nanoseconds):  # Arrow's interval, a tuple as well
            return f"P{months}M{days}DT{nanoseconds / 1e9:g}S"
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def _cell(value: Any) -> Any:
    simple = plain(value)
    return json.dumps(simple, ensure_ascii=False) if isinstance(simple, list | dict) else simple


def _shown(value: Any) -> str:
    """Trailing zeros of a decimal say nothing to a reader."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(_cell(value))
