"""JSON messages as Arrow: a batch at once where its messages are alike, else one by one, exact to the last digit.

Arrow's parser reads the concatenated values as JSON Lines. That is only right when every message is one line with one
object, which is checked before (each begins with `{`, none holds a line break) and after (as many rows as messages).
What it cannot read is parted in halves, so that one bad message among thousands costs a few parses, not thousands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from sources.kafka.json_shape import Shape, shape_of
from sources.kafka.json_texts import TextReader

WIDE = pa.decimal256(76, 18)
DECIMAL = pa.decimal128(38, 18)
NESTED = pa.null()
"""Stands for objects and lists, which are read one by one."""
SAMPLE = 20
"""Messages of a batch whose fields are looked at."""
ONE_BY_ONE = 64
"""Messages below which halves are read one by one."""
MANY = 5_000
"""Messages from which on another parser is worth its preparations."""
DEPTH = 100
"""Brackets in a row that no honest message has: Arrow's parser must not see them."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Messages [start, start + count) of a batch: Arrow columns, or a dict each, or a reason where there is no row."""

    start: int
    count: int
    columns: pa.RecordBatch | None = None
    rows: Sequence[dict[str, Any] | str] = ()
    """One entry a message: its fields, or the reason why it has none."""


class JsonFormat:
    """Parses batches; remembers the fields of the last message it looked at."""

    def __init__(self) -> None:
        self._schema: pa.Schema | None = None
        self._texts = TextReader()

    def parse(self, values: Sequence[bytes]) -> Iterator[Parsed]:
        """Yield the batch in parts, in order."""
        yield from self._parse(values, 0)

    def _parse(self, values: Sequence[bytes], start: int) -> Iterator[Parsed]:
        if len(values) >= ONE_BY_ONE:
            columns = self._arrow(values)
            if columns is not None:
                yield Parsed(start, len(values), columns)
                return
            half = len(values) // 2
            yield from self._parse(values[:half], start)
            yield from self._parse(values[half:], start + half)
            return
        yield Parsed(start, len(values), rows=[row(value) for value in values])

    def _arrow(self, values: Sequence[bytes]) -> pa.RecordBatch | None:
        """Return the batch as Arrow, None if it is not all of one kind."""
        given = pa.array(values, pa.binary())
        if not pc.all(pc.starts_with(given, b"{")).as_py():
            return None
        try:
            batch = _Batch(values, given.cast(pa.string()), shape_of(given))  # the parsers take bytes that are no UTF-8
        except pa.ArrowInvalid:
            return None
        if self._schema is not None and (columns := self._read(batch, self._schema)) is not None:
            return columns
        schema = fields_of(values[:: max(1, len(values) // SAMPLE)])
        if schema is None or schema == self._schema:
            return None
        columns = self._read(batch, schema)
        if columns is not None:
            self._schema = schema
        return columns

    def _read(self, batch: _Batch, schema: pa.Schema) -> pa.RecordBatch | None:
        if batch.shape is not None and len(batch.values) >= MANY and set(schema.types) == {pa.string()}:
            columns = self._texts.read(batch.texts, schema.names, batch.shape)
            if columns is not None:
                return columns
        joined = batch.joined()
        return None if joined is None else _read(joined, schema, len(batch.values), batch.shape)


@dataclass(slots=True)
class _Batch:
    """Messages that begin with `{` and are UTF-8."""

    values: Sequence[bytes]
    texts: pa.StringArray
    shape: Shape | None
    _joined: bytes | None = None

    def joined(self) -> bytes | None:
        """Return the messages as lines; None where a message is no single line, or nested as none should be."""
        if self._joined is None:
            joined = b"\n".join(self.values)
            if joined.count(b"\n") != len(self.values) - 1 or b"[" * DEPTH in joined or b'{"' * DEPTH in joined:
                joined = b""
            self._joined = joined
        return self._joined or None


def _read(joined: bytes, schema: pa.Schema, count: int, shape: Shape | None) -> pa.RecordBatch | None:
    try:
        table = _table(joined, schema, "error")
        numbers = pa.schema([(field.name, pa.float64()) for field in schema if field.type == WIDE])
        # for a decimal the parser takes the text "007" too, and makes it 7; for a float it refuses texts
        if numbers and (shape is None or shape.texts != _texts(table)):
            _table(joined, numbers, "ignore")
        if table.num_rows != count:
            return None
        narrow = pa.schema([field.with_type(DECIMAL) if field.type == WIDE else field for field in schema])
        return table.select(schema.names).cast(narrow).combine_chunks().to_batches()[0]
    except pa.ArrowException:
        return None


def _texts(table: pa.Table) -> int:
    """Count the texts in columns of text: as many as in all of the messages, and none is in a column of numbers."""
    return sum(table.num_rows - column.null_count for column in table.columns if pa.types.is_string(column.type))


def _table(joined: bytes, schema: pa.Schema, others: Literal["error", "ignore"]) -> pa.Table:
    return pa.json.read_json(
        pa.BufferReader(joined),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(joined) + 1),
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others),
    )


def fields_of(values: Sequence[bytes]) -> pa.Schema | None:
    """Return the fields of some messages as Arrow reads them without loss; None where there is no such type.

    Numbers are wide decimals: in 38 digits the parser lets 1e36 overflow without a word, and only a cast refuses it.
    A field that is always null is text, which refuses a number; the batch is then read in halves.
    """
    kinds: dict[str, pa.DataType | None] = {}
    for value in values:
        fields = row(value)
        if isinstance(fields, str):
            return None
        for name, found in fields.items():
            kind = _kind(found)
            if kind is not None and kinds.get(name, kind) not in {None, kind}:
                return None
            kinds[name] = kinds.get(name) or kind
    if not kinds or NESTED in kinds.values():
        return None
    return pa.schema([(name, kind or pa.string()) for name, kind in kinds.items()])


def _kind(found: object) -> pa.DataType | None:
    if found is None:
        return None
    if isinstance(found, bool):
        return pa.bool_()
    if isinstance(found, int | Decimal):
        return WIDE
    return pa.string() if isinstance(found, str) else NESTED


def row(value: bytes) -> dict[str, Any] | str:
    """Return one message's fields, numbers as int or Decimal; or the reason why it is no object."""
    try:
        found = json.loads(value.decode(), parse_float=Decimal)
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    except RecursionError:
        return "not JSON that can be read: nested too deeply"
    except ArithmeticError:
        return "not JSON that can be read: a number beyond all measure"
    except ValueError as error:
        return f"not JSON: {str(error)[:120]}"
    if not isinstance(found, dict):
        return f"not a JSON object but {type(found).__name__}"
    return found
