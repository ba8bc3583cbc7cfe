"""Avro messages in the registry's wire format: a zero, the id of the writer's schema, then Avro's binary encoding.

Messages of flat records become Arrow columns, also of several schemas at once while their fields agree in kind: a field
that a schema does not have is null. Other messages become dicts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat
from typing import Any, Protocol

import pyarrow as pa

from sources.kafka.avro_binary import AvroError
from sources.kafka.avro_columns import Kind, column, value_of
from sources.kafka.avro_schema import Layout, layout_of
from sources.kafka.json_format import Parsed
from sources.kafka.schema_registry import Schema, UnusableSchemaError

MAGIC = b"\0"
HEAD = 5
"""Bytes before the encoded value: the zero, and the schema's id."""
SOME_PARTS, PART_ROWS = 16, 64
"""A batch has no more parts than some, and one for so many of its messages: smaller ones cost more than they save."""
UNREADABLE = (AvroError, IndexError, struct.error, UnicodeDecodeError, RecursionError)


class Schemas(Protocol):
    """Where schemas are looked up."""

    def schema(self, number: int, /) -> Schema:
        """Raises UnusableSchemaError, and SourceError where nobody answers."""


class AvroFormat:
    """Parses batches; keeps the readers of the schemas it has met."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._layouts: dict[int, Layout | str] = {}

    def parse(self, values: Sequence[bytes]) -> Iterator[Parsed]:
        """Yield the batch in parts, in order. Raises SourceError: the registry cannot be asked."""
        parts = self._parts(values)
        if len(parts) > SOME_PARTS + len(values) // PART_ROWS:  # messages that are unlike take turns
            yield Parsed(0, len(values), rows=[row for part in parts for row in part.rows()])
            return
        start = 0
        for part in parts:
            columns = part.columns() if part.flat else None
            yield Parsed(start, part.count, columns, () if part.flat else part.rows())
            start += part.count

    def _parts(self, values: Sequence[bytes]) -> list[_Part]:
        parts: list[_Part] = []
        for head, group in groupby(values, key=_head):
            for run in self._runs(head, list(group)):
                if not parts or not parts[-1].takes(run):
                    parts.append(_Part(run.layout is not None))
                parts[-1].add(run)
        return parts

    def _runs(self, head: bytes, values: Sequence[bytes]) -> Iterator[_Run]:
        """Read messages that begin alike; those that cannot be read are runs of their own."""
        if len(head) < HEAD or not head.startswith(MAGIC):
            reason = f"not Avro in the registry's wire format: it begins with {head.hex() or 'nothing'}"
            yield _Run(0, None, [reason] * len(values))
            return
        number = int.from_bytes(head[1:], "big")
        layout = self._layout(number)
        if isinstance(layout, str):
            yield _Run(number, None, [layout] * len(values))
            return
        if layout.flat:
            yield from _flat(number, layout, values)
        else:
            yield _Run(number, None, [_whole(number, layout, value) for value in values])

    def _layout(self, number: int) -> Layout | str:
        if number not in self._layouts:
            try:
                self._layouts[number] = layout_of(self._schemas.schema(number))
            except UnusableSchemaError as error:
                self._layouts[number] = f"schema {number}: {error}"
        return self._layouts[number]


@dataclass(frozen=True, slots=True)
class _Run:
    """Messages of one schema: dicts or reasons; or, with a layout, their raw values, one message's after another's.

    A list for each message would be more objects than the garbage collector leaves alone.
    """

    number: int
    layout: Layout | None
    rows: Sequence[Any]

    @property
    def count(self) -> int:
        """How many messages."""
        return len(self.rows) if self.layout is None else len(self.rows) // len(self.layout.names)


@dataclass(slots=True)
class _Part:
    """Messages in a row that can share an Arrow batch, or that cannot and share a page of dicts."""

    flat: bool
    count: int = 0
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _runs: list[_Run] = field(default_factory=list)

    def takes(self, run: _Run) -> bool:
        """Whether the run is of this part's sort, and no field of it of another kind than before."""
        layout = run.layout
        if layout is None or not self.flat:
            return layout is None and not self.flat
        if layout is self._runs[-1].layout:
            return True
        return all(self._kinds.get(name, kind) == kind for name, kind in zip(layout.names, layout.kinds, strict=True))

    def add(self, run: _Run) -> None:
        """Append the run."""
        self._runs.append(run)
        self.count += run.count
        if run.layout is not None:
            self._kinds.update(zip(run.layout.names, run.layout.kinds, strict=True))

    def columns(self) -> pa.RecordBatch:
        """Return one array for each field that a message of the part may have."""
        values: dict[str, list[Any]] = {name: [] for name in self._kinds}
        for run in self._runs:
            names = () if run.layout is None else run.layout.names
            places = {name: place for place, name in enumerate(names)}
            for name, whole in values.items():
                found = run.rows[places[name] :: len(names)] if name in places else repeat(None, run.count)
                whole.extend(found)
        arrays = [column(kind, values[name]) for name, kind in self._kinds.items()]
        return pa.RecordBatch.from_arrays(arrays, names=list(self._kinds))

    def rows(self) -> list[dict[str, Any] | str]:
        """Return the fields of each message, or the reason why it has none."""
        return [row for run in self._runs for row in _finished(run)]


def _head(value: bytes) -> bytes:
    return value[:HEAD]


def _flat(number: int, layout: Layout, values: Sequence[bytes]) -> Iterator[_Run]:
    """Yield runs of raw values, and of reasons between them."""
    cells: list[Any] = []
    for value in values:
        whole, at = len(cells), HEAD
        try:
            for reader in layout.readers:
                found, at = reader(value, at)
                cells.append(found)
            reason = None if at == len(value) else _left_over(number, value, at)
        except UNREADABLE as error:
            reason = _reason(number, error)
        if reason is not None:
            del cells[whole:]
            if cells:
                yield _Run(number, layout, cells)
                cells = []
            yield _Run(number, None, [reason])
    if cells:
        yield _Run(number, layout, cells)


def _whole(number: int, layout: Layout, value: bytes) -> dict[str, Any] | str:
    """Return one message's finished fields, or the reason why it has none."""
    try:
        row, at = layout.whole(value, HEAD)
    except UNREADABLE as error:
        return _reason(number, error)
    if at != len(value):
        return _left_over(number, value, at)
    return row if isinstance(row, dict) else f"schema {number}: no record but {type(row).__name__}"


def _left_over(number: int, value: bytes, at: int) -> str:
    return f"not Avro of schema {number}: {len(value) - at:,} bytes are left over"


def _reason(number: int, error: Exception) -> str:
    match error:
        case AvroError():
            why = str(error)
        case UnicodeDecodeError():
            why = "text that is not UTF-8"
        case RecursionError():
            why = "nested too deeply"
        case _:
            why = "it ends within a value"
    return f"not Avro of schema {number}: {why}"


def _finished(run: _Run) -> Iterator[dict[str, Any] | str]:
    if run.layout is None:
        yield from run.rows
        return
    names = run.layout.names
    converters = [value_of(kind) for kind in run.layout.kinds]
    for start in range(0, len(run.rows), len(names)):
        row = run.rows[start : start + len(names)]
        try:
            yield {
                name: value if value is None or convert is None else convert(value)
                for name, convert, value in zip(names, converters, row, strict=True)
            }
        except AvroError as error:
            yield _reason(run.number, error)
