"""Parting an Arrow column into what surely casts and what is asked value by value; its values as Python's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.faults import Fault
from engine.conform.json_text import value_text
from engine.conform.values import Typed, convert_values
from engine.table import Column


def patched(
    values: pa.ChunkedArray,
    sure: pa.ChunkedArray,
    cast: Callable[[pa.ChunkedArray], pa.ChunkedArray],
    column: Column,
) -> Typed:
    """Cast the values where `sure` (boolean, null where the value is), convert the others one by one."""
    doubtful = pc.fill_null(pc.invert(sure), False)
    indices = pc.indices_nonzero(doubtful)
    if not len(indices):
        return Typed(cast(values))
    typed = convert_values(python_values(values.take(indices)), column)
    base = whole(cast(pc.if_else(doubtful, pa.scalar(None, values.type), values)))
    rows = indices.to_pylist()
    return Typed(
        pc.replace_with_mask(base, whole(doubtful), typed.values),
        _at(rows, typed.faults),
        _at(rows, typed.notes),
    )


def by_value(values: pa.ChunkedArray, column: Column) -> Typed:
    """Convert every value one by one."""
    return convert_values(python_values(values), column)


def without_empty(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the text with NULL for the empty ones: an empty field of a CSV file is no number, date or boolean."""
    empty = pc.equal(values, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), values) if pc.any(empty).as_py() else values


def refused(values: pa.ChunkedArray, allowed: pa.ChunkedArray, reason: str, column: Column) -> dict[int, Fault]:
    """Return one fault for every delivered value that is not allowed (null counts as allowed)."""
    indices = pc.indices_nonzero(pc.fill_null(pc.invert(allowed), False))
    texts = map(value_text, python_values(values.take(indices)))
    return {row: Fault(column.name, reason, text) for row, text in zip(indices.to_pylist(), texts, strict=True)}


def whole(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return one array of a fixed-width or short column."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def python_values(values: pa.ChunkedArray) -> list[Any]:
    """Return Python values as a payload of dicts would bring them; what Python cannot hold as its text."""
    kind = values.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        values = pc.floor_temporal(values, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    if pa.types.is_timestamp(kind) and kind.tz:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    if pa.types.is_time64(kind):
        values = values.cast(pa.time64("us"), safe=False)
    if pa.types.is_float32(kind):
        return [None if text is None else float(text) for text in values.cast(pa.string()).to_pylist()]
    try:
        plain: list[Any] = values.to_pylist()
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        return [_python_value(scalar) for chunk in values.chunks for scalar in chunk]
    return plain


class Unreadable:
    """A value that Arrow holds and Python does not; every column refuses it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        """Return what Arrow shows of it."""
        return self._text


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return bytes(scalar.as_buffer())
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        try:
            return Unreadable(scalar.cast(pa.string()).as_py())
        except (ValueError, pa.ArrowException):
            return Unreadable(f"an Arrow value of type {scalar.type}")


def _at(rows: list[int], faults: Mapping[int, Fault]) -> dict[int, Fault]:
    return {rows[index]: fault for index, fault in faults.items()}
