"""From a file's columns to the table's: names, constants, case, declared zones and epochs.

Everything here is exact: what cannot be converted without loss raises `pyarrow.ArrowInvalid`, and the caller reads
the file as text instead, so that the engine's typing step sets aside only the rows at fault.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sources.columns import ColumnSettings
from sources.files.settings import FILE_COLUMN

DECIMAL = pa.decimal128(38, 18)
INSTANT = pa.timestamp("us", "UTC")
ARROW: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "decimal": DECIMAL,
    "bool": pa.bool_(),
    "date": pa.date32(),
    "json": pa.string(),
}
"""Arrow's type for each declared type; timestamps depend on how they are written."""
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_RESERVED = frozenset({"load_timestamp"})
_WORD = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(name: str) -> str:
    """Name a column as the warehouse does: `Adj Close` and `adjClose` become adj_close; letters lose their marks."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = [word.lower() for word in _WORD.split(plain) if word]
    text = "_".join(words)
    return f"_{text}"[1:] if text and not text[0].isdigit() else (f"c_{text}" if text else "")


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
    """Match a file's fields with the declared columns: by position, by exact name, then by snake-case name."""
    exact = {name: at for at, name in reversed(list(enumerate(fields)))} if header else {}
    loose = {snake(name): at for at, name in reversed(list(enumerate(fields)))} if header else {}
    declared: dict[str, int] = {}
    missing = []
    for target, settings in columns.items():
        wanted = target if settings.source is None and settings.value is None else settings.source
        if wanted is None:
            continue
        at = wanted if isinstance(wanted, int) else exact.get(wanted, loose.get(snake(wanted)))
        if at is not None and at < len(fields):
            declared[target] = at
        elif settings.value is None:
            missing.append(target)
    kept: dict[str, int] = {}
    taken = {*columns, FILE_COLUMN.name, *_RESERVED}
    for at, field in enumerate(fields):
        if at not in declared.values():
            name = _free(snake(field) or f"column_{at + 1}", taken)
            taken.add(name)
            kept[name] = at
    return Layout(declared, kept, tuple(missing))


def _free(name: str, taken: Iterable[str]) -> str:
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def shaped(batch: pa.RecordBatch, plan: Layout, columns: Mapping[str, ColumnSettings], file: str) -> pa.RecordBatch:
    """Give a batch the table's column names, and finish what a reader cannot do (epochs, zones, case, constants)."""
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
    """Turn epochs and zoned local times into UTC instants, fold case, fill nulls with the declared default."""
    if settings.epoch and pa.types.is_integer(array.type):
        array = pc.multiply_checked(array.cast(pa.int64()), _MICROSECONDS[settings.epoch]).cast(INSTANT)
    elif settings.timezone and pa.types.is_timestamp(array.type) and array.type.tz is None:
        array = pc.assume_timezone(array, settings.timezone).cast(INSTANT)
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
