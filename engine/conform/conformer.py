"""Turn a source's pages into typed rows of the landed table and rows set aside, under the table's contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.arrow_types import ARROW_TYPES, QUARANTINE_SCHEMA, arrow_schema
from engine.conform.deliveries import SOURCE, ArrowPage, Delivery, DictPage
from engine.conform.faults import Fault
from engine.conform.schema import LINEAGE, MergedSchema
from engine.conform.values import Typed
from engine.errors import SourceError
from engine.table import LINEAGE_COLUMNS, Column, Table


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

    @property
    def columns(self) -> tuple[Column, ...]:
        """The table's whole schema after what was seen: the lineage comes last."""
        return (*self._schema.columns.values(), *LINEAGE_COLUMNS)

    @property
    def discarded(self) -> Mapping[str, int]:
        """Values dropped under `columns: discard_value`, by the name of the column they would have had."""
        return dict(self._discarded)

    def conform(self, item: list[dict[str, Any]] | pa.Table | pa.RecordBatch, load_timestamp: datetime) -> Conformed:
        """Type one page. Raises SourceError where the contract says freeze; any other fault is set aside."""
        if load_timestamp.tzinfo is None:
            raise ValueError("load_timestamp has no zone")
        page = self._page(item)
        faults: dict[int, Fault] = dict(page.faults)
        notes: list[tuple[int, Fault]] = []
        typed = self._typed(page, faults, notes)
        lineage = self._lineage(page, load_timestamp, faults)
        self._required(typed, page.count, faults)
        kept = self._kept(page.count, faults)
        self._admit(page, typed, kept)
        rows = self._rows(page.count, typed, lineage, kept)
        notes = [note for note in notes if note[0] not in faults]
        records = sorted([*faults.items(), *notes], key=lambda record: record[0])
        return Conformed(rows, self._rejected(page, records, load_timestamp), len(faults), len(notes))

    def _page(self, item: list[dict[str, Any]] | pa.Table | pa.RecordBatch) -> Delivery:
        if isinstance(item, pa.RecordBatch):
            item = pa.Table.from_batches([item])
        return ArrowPage(item, self._schema) if isinstance(item, pa.Table) else DictPage(item, self._schema)

    def _typed(self, page: Delivery, faults: dict[int, Fault], notes: list[tuple[int, Fault]]) -> dict[str, Any]:
        """Type every column the page has, old ones first; collect each row's first fault."""
        wanted = list(self._schema.columns.values())
        wanted += [Column(name, page.infer(name)) for name in self._admissible(page, faults)]
        typed: dict[str, Any] = {}
        for column in wanted:
            if not page.has(column.name):
                continue
            target = column
            if column.data_type == "bigint" and column.name not in self._schema.declared and page.widens(column.name):
                self._schema.widen(column.name)
                target = self._schema.columns[column.name]
            result = page.typed(target)
            self._frozen(result)
            typed[column.name] = result.values
            for row, fault in result.faults.items():
                faults.setdefault(row, fault)
            notes.extend(result.notes.items())
            if column.name in page.new:
                self._pending[column.name] = column
        return typed

    def _admissible(self, page: Delivery, faults: dict[int, Fault]) -> list[str]:
        """Apply the contract to the columns nobody declared; return those that may come."""
        self._pending: dict[str, Column] = {}
        mode = self._table.contract.columns
        if mode == "evolve" or not page.new:
            return list(page.new)
        for name, field in page.new.items():
            if mode == "freeze":
                raise SourceError(
                    self._source,
                    f"table {self._table.name} is frozen, and the field {field!r} would add column {name!r}",
                    "declare the column, or set the table's contract to columns: evolve",
                    terminal=True,
                )
            rows = [row for row in page.filled(name) if row not in page.faults]
            if mode == "discard_value":
                self._discarded[name] += len(rows)
            else:
                fault = Fault(name, "a column nobody declared (contract columns: discard_row)", typed=False)
                for row in rows:
                    faults.setdefault(row, fault)
        return []

    def _frozen(self, result: Typed) -> None:
        if self._table.contract.data_type == "freeze" and result.faults:
            fault = result.faults[min(result.faults)]
            raise SourceError(
                self._source,
                f"table {self._table.name} is frozen, and column {fault.column!r} got {fault.reason}: {fault.value!r}",
                "declare another type, or set the table's contract to data_type: discard_row",
                terminal=True,
            )

    def _required(self, typed: dict[str, Any], count: int, faults: dict[int, Fault]) -> None:
        for name in (*self._schema.required, *(key for key in self._table.primary_key if key in self._pending)):
            why = "a NULL in the primary key" if name in self._table.primary_key else "a NULL where none may be"
            fault = Fault(name, why, typed=False)
            if name not in typed:
                rows: Sequence[int] = range(count)
            elif typed[name].null_count:
                rows = pc.indices_nonzero(pc.is_null(typed[name])).to_pylist()
            else:
                continue
            for row in rows:
                faults.setdefault(row, fault)

    @staticmethod
    def _kept(count: int, faults: dict[int, Fault]) -> pa.Array | None:
        """Return which rows are loaded, None for all of them."""
        if not faults:
            return None
        kept = [True] * count
        for row in faults:
            kept[row] = False
        return pa.array(kept, pa.bool_())

    def _admit(self, page: Delivery, typed: dict[str, Any], kept: pa.Array | None) -> None:
        """Add the new columns that have a value in a row that is loaded; forget the others."""
        for name, column in self._pending.items():
            valid = pc.is_valid(typed[name])
            if pc.any(valid if kept is None else pc.and_(valid, kept)).as_py():
                self._schema.add(column)
            else:
                del typed[name]

    def _lineage(self, page: Delivery, load_timestamp: datetime, faults: dict[int, Fault]) -> dict[str, Any]:
        moment = pa.scalar(load_timestamp.astimezone(UTC), ARROW_TYPES["timestamp"])
        name = pa.scalar(self._source, pa.string())
        lineage: dict[str, Any] = {
            SOURCE: pa.repeat(name, page.count),
            "load_timestamp": pa.repeat(moment, page.count),
            "_load_id": pa.repeat(pa.scalar(self._load_id, pa.string()), page.count),
            "_run_id": pa.repeat(pa.scalar(self._run_id, pa.string()), page.count),
        }
        given = {column.name: column for column in self._table.columns if column.name == "load_timestamp"}
        for column in (LINEAGE[SOURCE], *given.values()):
            if not page.has(column.name):
                continue
            result = page.typed(
                Column(column.name, LINEAGE[column.name].data_type, timezone=column.timezone, epoch=column.epoch)
            )
            self._frozen(result)
            for row, fault in result.faults.items():
                faults.setdefault(row, fault)
            values = result.values
            if column.name == SOURCE:
                values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            lineage[column.name] = pc.fill_null(values, name if column.name == SOURCE else moment)
        return lineage

    def _rows(self, count: int, typed: dict[str, Any], lineage: dict[str, Any], kept: pa.Array | None) -> pa.Table:
        columns = self.columns
        arrays = [
            lineage[column.name]
            if column.name in lineage
            else typed[column.name]
            if column.name in typed
            else pa.nulls(count, ARROW_TYPES[column.data_type])
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
