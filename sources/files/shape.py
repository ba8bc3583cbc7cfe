"""From a file's columns to the table's: names, constants, case.

What does not fit its declared type raises `pyarrow.ArrowInvalid`, and the caller reads the file as written instead, so
that the engine's typing step sets aside only the rows at fault. Zones and epochs are that step's as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.names import column_name, payload_name
from sources.columns import ColumnSettings
from sources.files.settings import FILE_COLUMN

DECIMAL = pa.decimal128(38, 18)
INSTANT = pa.timestamp("us", "UTC")
ARROW: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.string(),
    "double": pa.float64(),
    "decimal": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "json": pa.string(),
}
"""What the CSV parser reads for each declared type. Timestamps: see csv_format.

As text, for the typing stage, which is as fast and exact: bigint (the parser would read 0x10) and decimal (1e36 and 21
digits before the point overflow in the parser without a word).
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which field of a file becomes which column of the table.

    `declared` maps a target column to the position of its field, `kept` an undeclared field's target to its position;
    `missing` are declared columns whose field the file does not have.
    """

    declared: Mapping[str, int]
    kept: Mapping[str, int]
    missing: tuple[str, ...]


def layout(fields: Sequence[str], columns: Mapping[str, ColumnSettings], *, header: bool = True) -> Layout:
    """Match a file's fields with the declared columns: by position, by exact name, then as a column would be named."""
    fields = [field.strip() for field in fields]
    exact = {name: at for at, name in reversed(list(enumerate(fields)))} if header else {}
    loose = {column_name(name): at for at, name in reversed(list(enumerate(fields)))} if header else {}
    declared: dict[str, int] = {}
    missing = []
    for target, settings in columns.items():
        wanted = target if settings.source is None and settings.value is None else settings.source
        if wanted is None:
            continue
        at = wanted if isinstance(wanted, int) else exact.get(wanted, loose.get(column_name(wanted)))
        if at is not None and at < len(fields):
            declared[target] = at
        elif settings.value is None:
            missing.append(target)
    kept: dict[str, int] = {}
    taken = {*columns, FILE_COLUMN.name}
    for at, field in enumerate(fields):
        if at not in declared.values():
            kept[free_name(field, at, taken)] = at
    return Layout(declared, kept, tuple(missing))


def free_name(field: str, at: int, taken: set[str]) -> str:
    """Name the column of an undeclared field that stands at position `at`, and take the name."""
    name = candidate = payload_name(field) if field.strip() else f"column_{at + 1}"
    number = 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def shaped(batch: pa.RecordBatch, plan: Layout, columns: Mapping[str, ColumnSettings], file: str) -> pa.RecordBatch:
    """Give a batch the table's column names, and add constants and the file's name."""
    rows = batch.num_rows
    arrays: dict[str, pa.Array] = {}
    for target, settings in columns.items():
        at = plan.declared.get(target)
        if at is not None:
            arrays[target] = finished(batch.column(at), settings)
        elif settings.value is not None:
            arrays[target] = pa.repeat(constant(settings), rows)
    arrays |= {target: batch.column(at) for target, at in plan.kept.items()}
    arrays[FILE_COLUMN.name] = pa.repeat(pa.scalar(file), rows)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def finished(array: pa.Array, settings: ColumnSettings) -> pa.Array:
    """Fold case and fill nulls with the declared default."""
    if settings.fold and pa.types.is_string(array.type):
        array = pc.ascii_upper(array) if settings.fold == "upper" else pc.ascii_lower(array)
    if settings.value is not None and array.null_count:
        array = array.fill_null(constant(settings).cast(array.type))
    return array


def constant(settings: ColumnSettings) -> pa.Scalar:
    """Build the declared constant in its declared type; times stay text, which the typing step reads."""
    text = pa.scalar(str(settings.value).lower() if isinstance(settings.value, bool) else str(settings.value))
    kind = ARROW.get(settings.type)
    return text if kind is None else text.cast(kind)
