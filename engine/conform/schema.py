"""The merged schema of a landed table: what the log has seen, what the source declares, what a payload adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.names import column_name, payload_name, reserved
from engine.conform.times import zone
from engine.errors import UsageError
from engine.table import LINEAGE_COLUMNS, Column, Table

MAX_NEW_COLUMNS = 1_000
"""Columns that one package may add to a table."""
MAX_COLUMNS = 1_500
"""Columns a table may have (PostgreSQL stops at 1,600)."""

LINEAGE = {column.name: column for column in LINEAGE_COLUMNS}


class MergedSchema:
    """Columns by name, in order, without the lineage; and which field of a payload fills which column."""

    def __init__(self, table: Table, known: Sequence[Column]) -> None:
        self.table = table
        declared = {column.name: column for column in table.columns}
        self.declared = {name: column for name, column in declared.items() if name not in LINEAGE}
        given = declared.get("load_timestamp")
        self.given_load_timestamp = given and replace(given, data_type="timestamp")
        """How the payload's own load_timestamp is read; None where the table does not declare it."""
        landed = {column.name: column for column in known if column.name not in LINEAGE}
        self.columns: dict[str, Column] = {
            name: _merged(table, column, self.declared.get(name)) for name, column in landed.items()
        }
        for name, column in self.declared.items():
            # a column added to a table that has rows is NULL in those, whatever the source promises
            self.columns.setdefault(name, replace(column, nullable=column.nullable or bool(landed)))
        for column in declared.values():
            _check_zone(table, column)
        self.added = 0
        self._open = {name for name in self.columns if name in self.declared or not reserved(name)}
        self._spelled = {column_name(name): name for name in self._open}
        self._names: dict[str, str] = {}

    @property
    def required(self) -> tuple[str, ...]:
        """Columns of which this source's rows may have no NULL, in order: the key and the not nullable."""
        key = set(self.table.primary_key)
        return tuple(
            name for name in self.columns if name in key or (name in self.declared and not self.declared[name].nullable)
        )

    @property
    def room(self) -> int:
        """How many columns this package may still add."""
        return max(0, min(MAX_NEW_COLUMNS - self.added, MAX_COLUMNS - len(self.columns) - len(LINEAGE)))

    def name_of(self, field: str) -> str:
        """Return the column that a payload's field fills: an existing one, `source`, or the name of a new one."""
        name = self._names.get(field)
        if name is None:
            name = self._names[field] = self._resolved(field)
        return name

    def add(self, column: Column) -> None:
        """Append a column that a payload brought."""
        self.columns[column.name] = column
        self._open.add(column.name)
        self._spelled.setdefault(column.name, column.name)
        self.added += 1

    def widen(self, name: str) -> None:
        """Make a bigint column a double: the one change of type that every destination makes in place."""
        self.columns[name] = replace(self.columns[name], data_type="double")

    def _resolved(self, field: str) -> str:
        if field in self._open:
            return field
        spelled = column_name(field)
        if spelled == "source" or (spelled == "load_timestamp" and self.given_load_timestamp):
            return spelled
        new = payload_name(field)
        return self._spelled.get(spelled) or self._spelled.get(new) or new


def _merged(table: Table, landed: Column, declared: Column | None) -> Column:
    """What is landed keeps its type; what is declared says how values are read. Any other source may leave NULLs."""
    if declared is None:
        return replace(landed, nullable=True)
    types = {landed.data_type, declared.data_type}
    if len(types) > 1 and types != {"bigint", "double"}:
        raise UsageError(
            f"table {table.name}: column {declared.name!r} is declared as {declared.data_type}, "
            f"but it was landed as {landed.data_type}",
            f"declare it as {landed.data_type}, or give the new type a column name of its own",
        )
    data_type = declared.data_type if len(types) == 1 else "double"
    return replace(declared, data_type=data_type, nullable=landed.nullable or declared.nullable)


def _check_zone(table: Table, column: Column) -> None:
    if column.timezone is None:
        return
    try:
        zone(column.timezone)
        pc.assume_timezone(pa.scalar(0, pa.timestamp("us")), column.timezone)  # Arrow looks it up on its own
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"table {table.name}: column {column.name!r} declares the unknown time zone {column.timezone!r}",
            "use a name of the IANA list, such as Asia/Ho_Chi_Minh or UTC",
        ) from None
