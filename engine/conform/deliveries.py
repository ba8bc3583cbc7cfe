"""The two kinds of page a source yields, laid out alike: cells by column, faults of whole rows, rows as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.faults import Fault
from engine.conform.json_text import row_text
from engine.conform.schema import MergedSchema
from engine.conform.values import Typed, convert_values, infer
from engine.conform.vector_parts import python_values
from engine.conform.vectors import convert, decoded, infer_type
from engine.table import Column, DataType

SOURCE = "source"
LOAD_TIMESTAMP = "load_timestamp"
OTHER_SOURCE = "payload_source"
"""Where a payload's `source` goes that is no text (an object with id and name, say)."""


class Delivery(Protocol):
    """A page, before typing. Columns it lacks are NULL."""

    count: int
    new: dict[str, str]
    """Columns that the table lacks and that have a value here: name to the payload's field."""
    faults: dict[int, Fault]
    """Rows at fault as a whole."""

    def infer(self, name: str) -> DataType:
        """Return the data type of a new column."""

    def widens(self, name: str) -> bool:
        """Whether a bigint column's values here are floats of which not all are whole."""

    def has(self, name: str) -> bool:
        """Whether the page has the column at all."""

    def typed(self, column: Column) -> Typed:
        """Type the column's values."""

    def filled(self, name: str) -> list[int]:
        """Return the rows that have a value in a new column."""

    def rows_json(self, rows: Sequence[int]) -> list[str]:
        """Return whole rows as JSON for the quarantine."""


@dataclass
class DictPage:
    """A page of dicts."""

    rows: Sequence[Any]
    schema: MergedSchema
    count: int = 0
    new: dict[str, str] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    _cells: dict[str, list[Any]] = field(default_factory=dict)
    _sparse: dict[str, dict[int, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn the rows into columns."""
        self.count = len(self.rows)
        for index, row in enumerate(self.rows):
            if isinstance(row, dict):
                self._lay_out(index, row)
            else:
                self.faults[index] = Fault(None, "the row is no object", typed=False)

    def _lay_out(self, index: int, row: dict[Any, Any]) -> None:
        name_of, cells = self.schema.name_of, self._cells
        placed: dict[str, Any] = {}
        fresh: list[tuple[str, str]] = []
        for key, value in row.items():
            spelled = key if isinstance(key, str) else str(key)
            name = name_of(spelled)
            if name == SOURCE and value is not None and not isinstance(value, str):
                name = OTHER_SOURCE
            if name in placed:
                self.faults[index] = collision(_other_field(row, name, key, self.schema), spelled, name)
                return
            placed[name] = value
            if value is not None and name not in cells and name not in self._sparse and not self._is_known(name):
                fresh.append((name, spelled))
        if len(fresh) + len(self._sparse) > self.schema.room:
            self.faults[index] = too_many(len(fresh), self.schema)
            return
        self.new.update(fresh)
        self._sparse.update((name, {}) for name, _ in fresh)
        for name, value in placed.items():
            if value is None:
                continue
            if name in self._sparse:
                self._sparse[name][index] = value
            else:
                if name not in cells:
                    cells[name] = [None] * self.count
                cells[name][index] = value

    def _is_known(self, name: str) -> bool:
        return name in self.schema.columns or name in {SOURCE, LOAD_TIMESTAMP}

    def infer(self, name: str) -> DataType:
        """See Delivery: the first value of a row that is not at fault decides."""
        values = self._sparse[name]
        return infer(next((value for row, value in values.items() if row not in self.faults), None))

    def widens(self, name: str) -> bool:  # noqa: ARG002 - an answer of dicts brings decimals, which never widen
        """See Delivery."""
        return False

    def has(self, name: str) -> bool:
        """See Delivery."""
        return name in self._cells or name in self._sparse

    def typed(self, column: Column) -> Typed:
        """See Delivery."""
        if column.name in self._sparse:
            cells: list[Any] = [None] * self.count
            for row, value in self._sparse[column.name].items():
                cells[row] = value
            return convert_values(cells, column, undeclared=True)
        undeclared = column.name not in self.schema.declared
        return convert_values(self._cells[column.name], column, undeclared=undeclared)

    def filled(self, name: str) -> list[int]:
        """See Delivery."""
        return list(self._sparse[name])

    def rows_json(self, rows: Sequence[int]) -> list[str]:
        """See Delivery."""
        return [_json_of(self.rows[row]) for row in rows]


@dataclass
class ArrowPage:
    """An Arrow table."""

    table: pa.Table
    schema: MergedSchema
    count: int = 0
    new: dict[str, str] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    _cells: dict[str, pa.ChunkedArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Name the columns."""
        self.count = self.table.num_rows
        fields: dict[str, str] = {}
        for spelled, values in zip(self.table.schema.names, self.table.columns, strict=True):
            name = self.schema.name_of(spelled)
            plain = decoded(values)
            if name == SOURCE and not pa.types.is_string(plain.type) and plain.null_count < self.count:
                name = OTHER_SOURCE
            if name in fields:
                self._refuse(collision(fields[name], spelled, name))
                return
            fields[name] = spelled
            if name in self.schema.columns or name in {SOURCE, LOAD_TIMESTAMP}:
                self._cells[name] = plain
            elif plain.null_count < self.count:
                self._cells[name] = plain
                self.new[name] = spelled
        if len(self.new) > self.schema.room:
            self._refuse(too_many(len(self.new), self.schema))

    def _refuse(self, fault: Fault) -> None:
        self._cells, self.new = {}, {}
        self.faults = dict.fromkeys(range(self.count), fault)

    def infer(self, name: str) -> DataType:
        """See Delivery: Arrow's type decides."""
        return infer_type(self._cells[name].type)

    def widens(self, name: str) -> bool:
        """See Delivery."""
        values = self._cells.get(name)
        if values is None or not pa.types.is_floating(values.type):
            return False
        finite = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
        return pc.all(pc.equal(pc.trunc(finite), finite)).as_py() is False

    def has(self, name: str) -> bool:
        """See Delivery."""
        return name in self._cells

    def typed(self, column: Column) -> Typed:
        """See Delivery."""
        return convert(self._cells[column.name], column)

    def filled(self, name: str) -> list[int]:
        """See Delivery."""
        rows: list[int] = pc.indices_nonzero(pc.is_valid(self._cells[name])).to_pylist()
        return rows

    def rows_json(self, rows: Sequence[int]) -> list[str]:
        """See Delivery."""
        taken = self.table.take(pa.array(rows, pa.int64()))
        columns = [python_values(decoded(column)) for column in taken.columns]
        names = self.table.schema.names
        return [row_text(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def collision(first: str, second: str, name: str) -> Fault:
    """Return the fault of two fields that would fill one column."""
    return Fault(None, f"the fields {first!r} and {second!r} become one column, {name!r}", typed=False)


def too_many(count: int, schema: MergedSchema) -> Fault:
    """Return the fault of a row that brings more columns than the table takes."""
    return Fault(None, f"{count:,} new columns; the table takes {schema.room:,} more in this package", typed=False)


def _other_field(row: dict[Any, Any], name: str, last: object, schema: MergedSchema) -> str:
    spelled = (str(key) for key in row if key is not last)
    return next((key for key in spelled if schema.name_of(key) == name), name)


def _json_of(row: Any) -> str:
    return row_text(row.items()) if isinstance(row, dict) else row_text([("", row)])
