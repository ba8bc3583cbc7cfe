"""Turn a source's pages into typed rows of the landed table and rows set aside, under the table's contract."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.arrow_types import ARROW_TYPES, QUARANTINE_SCHEMA, arrow_schema
from engine.conform.deliveries import LOAD_TIMESTAMP, SOURCE, ArrowPage, Delivery, DictPage
from engine.conform.faults import CUT_VALUE, Fault
from engine.conform.schema import LINEAGE, MergedSchema
from engine.conform.values import Typed
from engine.errors import SourceError
from engine.table import LINEAGE_COLUMNS, Column, Table
from sources.protocol import SetAside

CONSTANT_BLOCK = 65_536
"""Rows of one chunk of a lineage column."""
MANY_ROWS = 8_192
"""From so many rows on, an Arrow page's columns are typed side by side: Arrow lets the interpreter go meanwhile."""
THREADS = 4


@dataclass(frozen=True, slots=True)
class Conformed:
    """One page: typed rows, and the quarantine's rows (schema of QUARANTINE_COLUMNS).

    `set_aside` rows are only in the quarantine; `noted` quarantine rows tell of a NaN that became NULL in a loaded row.
    rows.num_rows + set_aside is the number of rows delivered; set_aside + noted that of rejected.
    """

    rows: pa.Table
    rejected: pa.Table
    set_aside: int = 0
    noted: int = 0


class Conformer:
    """Types the pages of one load package of one table; remembers the columns seen so far."""

    def __init__(self, table: Table, known: Sequence[Column], *, source: str, load_id: str, run_id: str) -> None:
        """`known` are the columns that the lake's log has for the table (with or without the lineage).

        Raises UsageError where a declaration contradicts what is landed, or names no time zone.
        """
        self._table = table
        self._schema = MergedSchema(table, known)
        self._source = source
        self._load_id = load_id
        self._run_id = run_id
        self._discarded: Counter[str] = Counter()
        self._blocks: dict[str, pa.Array] = {}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The table's whole schema after what was seen: the lineage comes last."""
        return (*self._schema.columns.values(), *LINEAGE_COLUMNS)

    @property
    def discarded(self) -> Mapping[str, int]:
        """Values dropped under `columns: discard_value`, by the name of the column they would have had."""
        return dict(self._discarded)

    def conform(
        self,
        item: list[dict[str, Any]] | pa.Table | pa.RecordBatch,
        load_timestamp: datetime,
        *,
        one_by_one: bool = False,
    ) -> Conformed:
        """Type one page. Raises SourceError where the contract says freeze; any other fault is set aside.

        Rows that came `one_by_one` are a microsecond apart, in their order: of two of a key the later one counts.
        """
        if load_timestamp.tzinfo is None:
            raise ValueError("load_timestamp has no zone")
        sheet = _Sheet(self._page(item))
        sheet.faults.update(sheet.page.faults)
        self._type(sheet)
        lineage = self._lineage(sheet, load_timestamp, one_by_one=one_by_one)
        self._require(sheet)
        kept = _kept(sheet)
        self._admit(sheet, kept)
        rows = self._rows(sheet, lineage, kept)
        notes = [note for note in sheet.notes if note[0] not in sheet.faults]
        records = sorted([*sheet.faults.items(), *notes], key=lambda record: record[0])
        rejected = self._rejected(sheet.page, records, load_timestamp)
        return Conformed(rows, rejected, len(sheet.faults), len(notes))

    def set_aside(self, item: SetAside, load_timestamp: datetime) -> Conformed:
        """Make quarantine rows of what a source could not read."""
        told = [dict(row) for _, _, row in item.rows]
        page = DictPage(told, self._schema)
        records = [
            (at, Fault(None, reason, None if value is None else value[:CUT_VALUE], typed=False))
            for at, (reason, value, _) in enumerate(item.rows)
        ]
        rejected = self._rejected(page, records, load_timestamp)
        return Conformed(arrow_schema(self.columns).empty_table(), rejected, len(records))

    def _page(self, item: list[dict[str, Any]] | pa.Table | pa.RecordBatch) -> Delivery:
        if isinstance(item, pa.RecordBatch):
            item = pa.Table.from_batches([item])
        return ArrowPage(item, self._schema) if isinstance(item, pa.Table) else DictPage(item, self._schema)

    def _type(self, sheet: _Sheet) -> None:
        """Type every column the page has, old ones first; of a row's faults the first counts."""
        page = sheet.page
        sheet.pending = {name: Column(name, page.infer(name)) for name in self._admissible(sheet)}
        columns = []
        for name, column in {**self._schema.columns, **sheet.pending}.items():
            if not page.has(name):
                continue
            if column.data_type == "bigint" and name not in self._schema.declared and page.widens(name):
                self._schema.widen(name)
                columns.append(self._schema.columns[name])
            else:
                columns.append(column)
        many = isinstance(page, ArrowPage) and page.count >= MANY_ROWS
        for column, result in zip(columns, (_threads().map if many else map)(page.typed, columns), strict=True):
            self._note(sheet, result)
            sheet.typed[column.name] = result.values

    def _admissible(self, sheet: _Sheet) -> list[str]:
        """Apply the contract to the columns nobody declared; return those that may come."""
        page, mode = sheet.page, self._table.contract.columns
        if mode == "evolve":
            return list(page.new)
        for name, spelled in page.new.items():
            if mode == "freeze":
                raise SourceError(
                    self._source,
                    f"table {self._table.name} is frozen, and the field {spelled!r} would add column {name!r}",
                    "declare the column, or set the table's contract to columns: evolve",
                    terminal=True,
                )
            if mode == "discard_value":
                self._discarded[name] += len(page.filled(name))
            else:
                fault = Fault(name, "a column nobody declared (contract columns: discard_row)", typed=False)
                for row in page.filled(name):
                    sheet.faults.setdefault(row, fault)
        return []

    def _note(self, sheet: _Sheet, result: Typed) -> None:
        """Collect what did not fit. Raises SourceError where the contract freezes the types."""
        if result.faults and self._table.contract.data_type == "freeze":
            fault = result.faults[min(result.faults)]
            raise SourceError(
                self._source,
                f"table {self._table.name} is frozen, and column {fault.column!r} got {fault.reason}: {fault.value!r}",
                "declare another type, or set the table's contract to data_type: discard_row",
                terminal=True,
            )
        for row, fault in result.faults.items():
            sheet.faults.setdefault(row, fault)
        sheet.notes.extend(result.notes.items())

    def _require(self, sheet: _Sheet) -> None:
        """Set aside rows with a NULL in the key or in a column declared without NULL."""
        key = self._table.primary_key
        for name in (*self._schema.required, *(name for name in key if name in sheet.pending)):
            values = sheet.typed.get(name)
            if values is not None and not values.null_count:
                continue
            why = "a NULL in the primary key" if name in key else "a NULL where the column takes none"
            fault = Fault(name, why, typed=False)
            rows = range(sheet.page.count) if values is None else pc.indices_nonzero(pc.is_null(values)).to_pylist()
            for row in rows:
                sheet.faults.setdefault(row, fault)

    def _admit(self, sheet: _Sheet, kept: pa.Array | None) -> None:
        """Add the new columns that have a value in a row that is loaded; forget the others."""
        for name, column in sheet.pending.items():
            valid = pc.is_valid(sheet.typed[name])
            if pc.any(valid if kept is None else pc.and_(valid, kept)).as_py():
                self._schema.add(column)
            else:
                del sheet.typed[name]

    def _lineage(self, sheet: _Sheet, load_timestamp: datetime, *, one_by_one: bool) -> dict[str, pa.ChunkedArray]:
        page, count = sheet.page, sheet.page.count
        loaded = pa.scalar(load_timestamp.astimezone(UTC), ARROW_TYPES["timestamp"])
        times = _microseconds_apart(loaded, count) if one_by_one else _constant(_block(loaded, count), count)
        lineage = {
            SOURCE: self._every_page(self._source, count),
            LOAD_TIMESTAMP: times,
            "_load_id": self._every_page(self._load_id, count),
            "_run_id": self._every_page(self._run_id, count),
        }
        for column in (LINEAGE[SOURCE], self._schema.given_load_timestamp):
            if column is None or not page.has(column.name):
                continue
            result = page.typed(column)
            self._note(sheet, result)
            values = result.values
            if column.name == SOURCE:
                values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            lineage[column.name] = pc.coalesce(values, lineage[column.name])
        return lineage

    def _every_page(self, text: str, count: int) -> pa.ChunkedArray:
        """Return a column of a text that every page has, whose memory the pages share."""
        block = self._blocks.get(text)
        if block is None or len(block) < min(count, CONSTANT_BLOCK):
            block = self._blocks[text] = _block(pa.scalar(text, pa.string()), count)
        return _constant(block, count)

    def _rows(self, sheet: _Sheet, lineage: dict[str, pa.ChunkedArray], kept: pa.Array | None) -> pa.Table:
        columns, filled = self.columns, {**sheet.typed, **lineage}
        arrays = [
            filled[column.name] if column.name in filled else pa.nulls(sheet.page.count, ARROW_TYPES[column.data_type])
            for column in columns
        ]
        rows = pa.table(arrays, schema=arrow_schema(columns))
        return rows if kept is None else rows.filter(kept)

    def _rejected(self, page: Delivery, records: list[tuple[int, Fault]], load_timestamp: datetime) -> pa.Table:
        if not records:
            return QUARANTINE_SCHEMA.empty_table()
        count = len(records)
        columns = {
            "table_name": [self._table.name] * count,
            "column_name": [fault.column for _, fault in records],
            "reason": [fault.reason for _, fault in records],
            "value": [fault.value for _, fault in records],
            "row": page.rows_json([row for row, _ in records]),
            "source": [self._source] * count,
            "load_timestamp": [load_timestamp.astimezone(UTC)] * count,
            "_load_id": [self._load_id] * count,
            "_run_id": [self._run_id] * count,
        }
        return pa.table(columns, schema=QUARANTINE_SCHEMA)


@dataclass
class _Sheet:
    """A page being typed: its columns so far, what is wrong with it, the columns it would add."""

    page: Delivery
    typed: dict[str, pa.Array | pa.ChunkedArray] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    notes: list[tuple[int, Fault]] = field(default_factory=list)
    pending: dict[str, Column] = field(default_factory=dict)


def _kept(sheet: _Sheet) -> pa.Array | None:
    """Return which rows are loaded, None for all of them."""
    if not sheet.faults:
        return None
    kept = [True] * sheet.page.count
    for row in sheet.faults:
        kept[row] = False
    return pa.array(kept, pa.bool_())


def _microseconds_apart(first: pa.Scalar, count: int) -> pa.ChunkedArray:
    instants = np.arange(first.value, first.value + count, dtype=np.int64)
    return pa.chunked_array([pa.array(instants).cast(first.type)])


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), thread_name_prefix="conform")


def _block(value: pa.Scalar, count: int) -> pa.Array:
    return pa.repeat(value, min(count, CONSTANT_BLOCK))


def _constant(block: pa.Array, count: int) -> pa.ChunkedArray:
    """Return a column of one value: chunks that share one block of memory, of CONSTANT_BLOCK rows or `count`."""
    chunks = [block] * (count // CONSTANT_BLOCK)
    return pa.chunked_array([*chunks, block.slice(0, count % CONSTANT_BLOCK)], block.type)
