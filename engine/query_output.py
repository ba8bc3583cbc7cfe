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
    from rich.console import RenderableType
    from rich.table import Table

NARROW = 8
"""Characters of a column below which a table is hard to read."""
BORDER = 3
"""Characters that a table draws beside each of its columns."""
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


def for_terminal(result: QueryResult, width: int) -> RenderableType:
    """Return a table, or records with one column a line where a row does not fit `width` characters."""
    longest = [
        max(len(text) for text in (name, *(_line(row[at]) for row in result.rows)))
        for at, name in enumerate(map(visible, result.columns))
    ]
    needed = sum(min(length, NARROW) + BORDER for length in longest) + 1
    return as_records(result) if needed > width and result.rows else as_table(result)


def as_records(result: QueryResult) -> RenderableType:
    """Return record after record, one column a line; else as a table is."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    names = [visible(name) for name in result.columns]
    for number, row in enumerate(result.rows, 1):
        record = Table.grid(padding=(0, 2, 0, 0))
        record.add_column(min_width=min(max(map(len, names)), 40), overflow="fold")
        record.add_column(overflow="fold")
        for name, value in zip(names, row, strict=True):
            record.add_row(Text(name, style="bold"), Text(_line(value)))
        parts += [Text(f"-- row {number:,}"), record]
    return Group(*parts, *([Text(_caption(result))] if result.truncated else []))


def as_table(result: QueryResult) -> Table:
    """Return a rich table, numbers to the right. Cells are text, never markup; control characters are written out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for name, kind in zip(result.columns, result.types, strict=True):
        table.add_column(Text(visible(name)), justify="right" if kind.startswith(NUMBERS) else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(Text(_line(value)) for value in row))
    if result.truncated:
        table.caption = _caption(result)
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


def _caption(result: QueryResult) -> str:
    return f"first {len(result.rows):,} rows"


def _line(value: Any) -> str:
    return "" if value is None else visible(_shown(value))


def _shown(value: Any) -> str:
    """Trailing zeros of a decimal say nothing to a reader."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(_cell(value))
