"""The statements of a trace: read-only, names and expressions from the models, every value bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from engine.sql import identifier, qualified
from engine.trace.derivation import Reading


@dataclass(frozen=True, slots=True)
class Ask:
    """Which rows of a reading's table: those where the expressions equal the values of one of `wanted`."""

    reading: Reading
    compared: Mapping[str, exp.Expression]
    types: Sequence[str]
    wanted: Sequence[tuple[Any, ...]]


class Reader:
    """Runs statements on the published state. Values are bound; names and expressions are the models' own."""

    def __init__(self, connection: Any) -> None:
        """`connection`: a warehouse's reader."""
        self._connection = connection

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
        """Return columns with their types, and the rows."""
        cursor = self._connection.execute(sql, list(values))
        types = {str(column[0]): str(column[1]) for column in cursor.description or []}
        rows: list[tuple[Any, ...]] = []
        for batch in cursor.to_arrow_reader(2048):  # Arrow's way: no other zone information is needed for instants
            rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        return types, rows


def rows_statement(
    ask: Ask, checked: Sequence[exp.Expression], order: Sequence[str], limit: int
) -> tuple[str, list[Any]]:
    """Return the statement for an ask and its values: the table's columns, then those of `checked`; newest rows first.

    What is a column of the table as it stands is compared with a list first: lists skip files and row groups.
    """
    table = qualified(*ask.reading.table.split(".", 1))
    narrow, values = [], []
    for place, value in enumerate(ask.compared.values()):
        options = list(dict.fromkeys(one[place] for one in ask.wanted))
        if isinstance(value.unnest(), exp.Column) and options and None not in options:
            listed = ", ".join(f"CAST(? AS {ask.types[place]})" for _ in options)
            narrow.append(f"{value.sql(dialect='duckdb')} IN ({listed})")
            values += options
    shown = [f"{value.sql(dialect='duckdb')} AS {identifier(f'checked {n}')}" for n, value in enumerate(checked)]
    tests = [
        f"{value.sql(dialect='duckdb')} AS {identifier(f'test {n}')}" for n, value in enumerate(ask.compared.values())
    ]
    extra = "".join(f", {text}" for text in (*shown, *tests))
    where = " WHERE " + " AND ".join(narrow) if narrow else ""
    order_by = ", ".join(f"{identifier(name)} DESC" for name in order) or "ALL"
    row = ", ".join(f"CAST(? AS {kind})" for kind in ask.types)
    rows = ", ".join(f"({row})" for _ in ask.wanted)
    names = ", ".join(f"w{n}" for n in range(len(ask.types)))
    same = " AND ".join(f"{identifier(f'test {n}')} IS NOT DISTINCT FROM w{n}" for n in range(len(ask.types)))
    dropped = ", ".join(identifier(f"test {n}") for n in range(len(ask.types)))
    statement = (
        f"SELECT * EXCLUDE ({dropped}) FROM (SELECT *{extra} FROM {table}{where}) AS t "
        f"WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) AS wanted ({names}) WHERE {same}) "
        f"ORDER BY {order_by} LIMIT {limit}"
    )
    return statement, [*values, *(value for one in ask.wanted for value in one)]
