"""Arrow columns, whole: the fast paths. Each types what it is sure of; the rest goes value by value to `values`.

A fast path first tries the cast of the whole column, which is right for nearly every delivery. Only when Arrow
refuses is the column parted by a strict pattern into what surely casts and what is asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.arrow_types import ARROW_TYPES
from engine.conform.values import Typed
from engine.conform.vector_times import dates, timestamps
from engine.conform.vector_parts import by_value, patched, python_values
from engine.table import Column, DataType

_WHOLE = r"^-?[0-9]{1,18}$"
_PLAIN = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"
_FLOAT = r"^-?[0-9]{1,30}(\.[0-9]{1,30})?$"
_BOOLS = pa.array(["true", "false", "1", "0", "True", "False", "TRUE", "FALSE"])
_BOOL_VALUES = pa.array([True, False] * 4)


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column without its encoding: dictionaries, run lengths, extension types, views, large offsets."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return decoded(column)
    if pa.types.is_run_end_encoded(kind):
        return decoded(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_dictionary(kind):
        return decoded(column.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_duration(kind):
        return column.cast(pa.int64())
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_date64(kind):
        return column.cast(pa.date32())
    return column


def infer_type(kind: pa.DataType) -> DataType:
    """Return the data type of a column that nobody declared, from its (decoded) Arrow type."""
    tests: tuple[tuple[Callable[[pa.DataType], bool], DataType], ...] = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_integer, "bigint"),
        (pa.types.is_floating, "double"),
        (pa.types.is_decimal, "decimal"),
        (pa.types.is_date, "date"),
        (pa.types.is_nested, "json"),
    )
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "text"
    return next((data_type for test, data_type in tests if test(kind)), "text")


def convert(values: pa.ChunkedArray, column: Column) -> Typed:
    """Type a (decoded) Arrow column for a column of the table."""
    if values.null_count == len(values):
        return Typed(pa.nulls(len(values), ARROW_TYPES[column.data_type]))
    if pa.types.is_string(values.type):
        return _TEXT_TO[column.data_type](values, column)
    match column.data_type:
        case "timestamp":
            return timestamps(values, column)
        case "date":
            return dates(values, column)
        case "decimal" | "double" | "bigint":
            return _numbers(values, column)
        case "bool" if pa.types.is_boolean(values.type):
            return Typed(values)
        case "text" if pa.types.is_timestamp(values.type) and values.type.tz is None:
            micros = pc.floor_temporal(values, unit="microsecond").cast(pa.timestamp("us"))
            return Typed(pc.replace_substring(micros.cast(pa.string()), " ", "T"))
    return by_value(values, column)


def _numbers(values: pa.ChunkedArray, column: Column) -> Typed:
    kind, target = values.type, ARROW_TYPES[column.data_type]
    if pa.types.is_floating(kind):
        return _floats(values, column)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        try:
            return Typed(values.cast(target))
        except pa.ArrowInvalid:
            return _TEXT_TO[column.data_type](values.cast(pa.string()), column)
    return by_value(values, column)


def _floats(values: pa.ChunkedArray, column: Column) -> Typed:
    if column.data_type == "decimal":
        return _text_to_decimal(values.cast(pa.string()), column)  # the shortest text that is this float
    if column.data_type == "double":
        doubles = values.cast(pa.float64())
        finite = pc.is_finite(doubles)
        if pc.all(finite).as_py() is not False:
            return Typed(pc.add(doubles, 0.0))
        return patched(doubles, finite, lambda sure: pc.add(sure, 0.0), column)
    try:
        return Typed(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        safe = pc.less(pc.abs(values), 2.0**53)
        sure = pc.and_(safe, pc.equal(pc.trunc(values), values))
        return patched(values, sure, lambda part: part.cast(pa.int64()), column)


def _text_to_decimal(values: pa.ChunkedArray, column: Column) -> Typed:
    target = ARROW_TYPES["decimal"]
    try:
        return Typed(values.cast(target))
    except pa.ArrowInvalid:
        values = _without_empty(values)
        return patched(values, pc.match_substring_regex(values, _PLAIN), lambda sure: sure.cast(target), column)


def _text_to_bigint(values: pa.ChunkedArray, column: Column) -> Typed:
    values = _without_empty(values)  # no cast of the whole: Arrow would read 0x10
    return patched(values, pc.match_substring_regex(values, _WHOLE), lambda sure: sure.cast(pa.int64()), column)


def _text_to_double(values: pa.ChunkedArray, column: Column) -> Typed:
    values = _without_empty(values)
    sure = pc.match_substring_regex(values, _FLOAT)
    return patched(values, sure, lambda part: pc.add(part.cast(pa.float64()), 0.0), column)


def _text_to_bool(values: pa.ChunkedArray, column: Column) -> Typed:
    sure = pc.is_in(values, value_set=_BOOLS)
    return patched(values, sure, lambda part: pc.take(_BOOL_VALUES, pc.index_in(part, value_set=_BOOLS)), column)


def _text_to_text(values: pa.ChunkedArray, column: Column) -> Typed:
    ascii_only = pc.all(pc.string_is_ascii(values)).as_py() is not False
    if not ascii_only:
        try:
            values.validate(full=True)
            values = pc.utf8_normalize(values, "NFC")
        except pa.ArrowInvalid:
            return by_value(values, column)
    unstorable = pc.match_substring(values, "\0")
    if pc.any(unstorable).as_py():
        return patched(values, pc.invert(unstorable), lambda sure: sure, column)
    return Typed(values)


def _text_to_json(values: pa.ChunkedArray, column: Column) -> Typed:
    return by_value(values, column)


def _without_empty(values: pa.ChunkedArray) -> pa.ChunkedArray:
    empty = pc.equal(values, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), values) if pc.any(empty).as_py() else values


_TEXT_TO: dict[DataType, Callable[[pa.ChunkedArray, Column], Typed]] = {
    "text": _text_to_text,
    "bigint": _text_to_bigint,
    "double": _text_to_double,
    "decimal": _text_to_decimal,
    "bool": _text_to_bool,
    "date": dates,
    "timestamp": timestamps,
    "json": _text_to_json,
}
