"""JSON Lines, exact to the last digit: Arrow where every field is declared, else pages of dicts with Decimals."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.json

from sources.columns import ColumnSettings
from sources.files.csv_format import BrokenFileError, opened
from sources.files.settings import FILE_COLUMN, FilesResource
from sources.files.shape import DECIMAL, free_name, layout, shaped

BLOCK_BYTES = 4 << 20
PAGE_ROWS = 10_000
LINE_BYTES = 16 << 20
WIDE = pa.decimal256(76, 18)
_FAST = {"text": pa.string(), "bigint": pa.int64(), "decimal": WIDE, "bool": pa.bool_(), "timestamp": pa.string()}
"""What Arrow's JSON parser reads without loss. Times as text: it would take a naive one for UTC. Decimals wider than
they land: in 38 digits the parser lets 1e36 overflow without a word, and only a cast refuses it."""


def batches(stream: IO[bytes], name: str, settings: FilesResource) -> Iterator[pa.RecordBatch]:
    """Read with Arrow. Raises pyarrow.ArrowInvalid as soon as a field is undeclared or does not fit."""
    fields = {
        column.source or key: column for key, column in settings.columns.items() if column.source or not column.value
    }
    if not fields or any(column.type not in _FAST or column.epoch for column in fields.values()):
        raise pa.ArrowInvalid("a declared type needs the exact reader")
    schema = pa.schema([(str(field), _FAST[column.type]) for field, column in fields.items()])
    plan = layout(schema.names, settings.columns)
    reader = pa.json.open_json(
        opened(stream, name),
        read_options=pa.json.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    for batch in reader:
        if batch.num_rows:
            yield shaped(_narrowed(batch.select(schema.names)), plan, settings.columns, name)


def _narrowed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give decimals their landed type. Raises pyarrow.ArrowInvalid where one has more digits than that holds."""
    fields = [field.with_type(DECIMAL) if field.type == WIDE else field for field in batch.schema]
    return batch.cast(pa.schema(fields))


def pages(stream: IO[bytes], name: str, settings: FilesResource) -> Iterator[list[dict[str, Any]]]:
    """Read line by line: numbers as int or Decimal, undeclared fields kept.

    Raises BrokenFileError, OSError, EOFError.
    """
    stream.seek(0)
    lines = gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream
    page: list[dict[str, Any]] = []
    number = 0
    while line := lines.readline(LINE_BYTES):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            page.append(_row(line, number, name, settings))
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    if page:
        yield page


def _row(line: bytes, number: int, name: str, settings: FilesResource) -> dict[str, Any]:
    try:
        row = json.loads(line.decode(), parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BrokenFileError(f"line {number} is not JSON: {str(error)[:120]}") from None
    if not isinstance(row, dict):
        raise BrokenFileError(f"line {number} is not a JSON object")
    out = {target: _value(row, target, column) for target, column in settings.columns.items()}
    used = {str(column.source or target).split(".")[0] for target, column in settings.columns.items()}
    taken = {*settings.columns, FILE_COLUMN.name}
    for at, (field, value) in enumerate(row.items()):
        if field not in used:
            out[free_name(field, at, taken)] = value
    out[FILE_COLUMN.name] = name
    return out


def _value(row: dict[str, Any], target: str, column: ColumnSettings) -> object:
    value: Any = None
    if column.source is not None or column.value is None:
        path = str(column.source or target)
        value = row.get(path)
        if value is None and "." in path:
            value = row
            for step in path.split("."):
                value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return column.value
    if column.fold and isinstance(value, str):
        upper = column.fold == "upper"
        return (
            "".join(c.upper() if upper else c.lower() for c in value) if value.isascii() else _fold(value, upper=upper)
        )
    return value


def _fold(value: str, *, upper: bool) -> str:
    return "".join((c.upper() if upper else c.lower()) if c.isascii() else c for c in value)
