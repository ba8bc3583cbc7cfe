"""Arrow columns, whole: the fast paths. Each types what it is sure of; the rest goes value by value to `values`.

A fast path first tries the cast of the whole column, which is right for nearly every delivery. Only when Arrow
refuses is the column parted by a strict pattern into what surely casts and what is asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.arrow_types import ARROW_TYPES
from engine.conform.values import WHOLE_DIGITS, Typed
from engine.conform.vector_parts import by_value, patched, without_empty
from engine.conform.vector_times import dates, timestamps
from engine.table import Column, DataType

_WHOLE = r"^-?[0-9]{1,18}$"
_PLAIN = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"
_TOO_FINE = r"(\.[0-9]{18})[0-9]+"
_CUTTABLE = r"^-?[0-9]{1,20}(\.[0-9]+)?$"
_FLOAT = r"^-?[0-9]{1,30}(\.[0-9]{1,30})?$"
_PIECE = 1 << 16
"""Bytes looked at in one go: copied to memory that is there, which a large copy has to ask for each time."""
_SAFE_CHARS = 20
"""No plain number of so many characters, or with so many before its point, has more whole digits than a decimal."""
_TINY = 1e-17
"""With 38 digits and 57 places or more, of which Arrow loses count, a number is smaller."""
_SAFE_SIZE = 9e19
_BOOLS = pa.array(["true", "false", "1", "0", "True", "False", "TRUE", "FALSE"])
_BOOL_VALUES = pa.array([True, False] * 4)


_PLAINER: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_duration, pa.int64()),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_date64, pa.date32()),
)


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column without its encoding: dictionaries, run lengths, extension types, views, large offsets.

    A duration becomes its number of units.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return decoded(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    if pa.types.is_run_end_encoded(kind):
        return decoded(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_dictionary(kind):
        return decoded(column.cast(kind.value_type))
    plain = next((plain for test, plain in _PLAINER if test(kind)), None)
    return column if plain is None else column.cast(plain, safe=not pa.types.is_date64(kind))


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
    kind = values.type
    if pa.types.is_string(kind):
        return _TEXT_TO[column.data_type](values, column)
    match column.data_type:
        case "bool" if pa.types.is_boolean(kind):
            typed = Typed(values)
        case "text" if pa.types.is_timestamp(kind) and kind.tz is None:
            typed = _local_text(values)
        case other:
            typed = _OTHER_TO.get(other, by_value)(values, column)
    return typed


def _local_text(values: pa.ChunkedArray) -> Typed:
    """A time without a zone, in a column nobody declared: its ISO text."""
    micros = pc.floor_temporal(values, unit="microsecond").cast(pa.timestamp("us"))
    return Typed(pc.replace_substring(micros.cast(pa.string()), " ", "T"))


def _numbers(values: pa.ChunkedArray, column: Column) -> Typed:
    kind, target = values.type, ARROW_TYPES[column.data_type]
    if pa.types.is_floating(kind):
        return _floats(values, column)
    if pa.types.is_integer(kind) and column.data_type == "double":
        sure = pc.and_(pc.less_equal(values, 2**53), pc.greater_equal(values, -(2**53)))
        return patched(values, sure, lambda part: part.cast(target), column)
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and _rescales_safely(kind, column)):
        try:
            return Typed(values.cast(target))
        except pa.ArrowInvalid:
            pass
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _TEXT_TO[column.data_type](values.cast(pa.string()), column)
    return by_value(values, column)


def _rescales_safely(kind: pa.DataType, column: Column) -> bool:
    """Whether Arrow's cast is exact or refuses: from more than 20 whole digits it may overflow without a word."""
    return column.data_type == "decimal" and kind.precision - kind.scale <= WHOLE_DIGITS


def _floats(values: pa.ChunkedArray, column: Column) -> Typed:
    if column.data_type == "decimal":
        return _floats_to_decimal(values, column)
    if column.data_type == "double":
        doubles = values.cast(pa.float64())
        return patched(doubles, pc.is_finite(doubles), lambda sure: pc.add(sure, 0.0), column)
    try:
        return Typed(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        sure = pc.and_(pc.less(pc.abs(values), 2.0**53), pc.equal(pc.trunc(values), values))
        return patched(values, sure, lambda part: part.cast(pa.int64()), column)


def _floats_to_decimal(values: pa.ChunkedArray, column: Column) -> Typed:
    """Through the shortest text that is this float; what is finer than 18 places is noise of the float, and cut."""
    target = ARROW_TYPES["decimal"]
    texts = values.cast(pa.string())
    if _casts_safely(texts):
        try:
            return Typed(texts.cast(target))
        except pa.ArrowInvalid:
            pass
    sure = pc.match_substring_regex(texts, _CUTTABLE)
    plain = pc.if_else(sure, texts, pa.scalar(None, pa.string()))
    if pc.any(pc.match_substring_regex(plain, _TOO_FINE)).as_py():
        plain = pc.replace_substring_regex(plain, _TOO_FINE, r"\1")
    return patched(values, sure, lambda _: plain.cast(target), column)


def _text_to_decimal(values: pa.ChunkedArray, column: Column) -> Typed:
    target = ARROW_TYPES["decimal"]
    if _casts_safely(values):
        try:
            return Typed(values.cast(target))
        except pa.ArrowInvalid:
            pass
    values = without_empty(values)
    return patched(values, pc.match_substring_regex(values, _PLAIN), lambda sure: sure.cast(target), column)


def _casts_safely(values: pa.ChunkedArray) -> bool:
    """Whether Arrow's cast to decimal is right or refuses.

    From 20 whole digits on it may overflow without a word, and what an exponent makes very small becomes zero.
    """
    if not any(sign in piece for piece in _pieces(values) for sign in (b"e", b"E", b"+")):
        point = pc.find_substring(values, ".")
        whole = pc.if_else(pc.less(point, 0), pc.binary_length(values), point)
        if pc.max(whole).as_py() <= _SAFE_CHARS:
            return True
    try:
        sizes = pc.abs(values.cast(pa.float64()))
    except pa.ArrowInvalid:
        return False
    tiny = pc.and_(pc.less(sizes, _TINY), pc.match_substring(values, "e", ignore_case=True))
    return pc.all(pc.less(sizes, _SAFE_SIZE)).as_py() is not False and not pc.any(tiny).as_py()


def _text_to_bigint(values: pa.ChunkedArray, column: Column) -> Typed:
    values = without_empty(values)  # no cast of the whole: Arrow would read 0x10
    return patched(values, pc.match_substring_regex(values, _WHOLE), lambda sure: sure.cast(pa.int64()), column)


def _text_to_double(values: pa.ChunkedArray, column: Column) -> Typed:
    values = without_empty(values)
    sure = pc.match_substring_regex(values, _FLOAT)
    return patched(values, sure, lambda part: pc.add(part.cast(pa.float64()), 0.0), column)


def _text_to_bool(values: pa.ChunkedArray, column: Column) -> Typed:
    sure = pc.is_in(values, value_set=_BOOLS)
    return patched(values, sure, lambda part: pc.take(_BOOL_VALUES, pc.index_in(part, value_set=_BOOLS)), column)


def _text_to_text(values: pa.ChunkedArray, column: Column) -> Typed:
    ascii_only, nul = _looked_at(values)
    if not ascii_only:
        try:
            values.validate(full=True)
            values = pc.utf8_normalize(values, "NFC")
        except pa.ArrowInvalid:
            return by_value(values, column)
    if not nul:
        return Typed(values)
    return patched(values, pc.invert(pc.match_substring(values, "\0")), lambda sure: sure, column)


def _looked_at(values: pa.ChunkedArray) -> tuple[bool, bool]:
    """Return whether all text is ASCII, and whether there may be a NUL."""
    ascii_only, nul = True, False
    for piece in _pieces(values):
        ascii_only = ascii_only and piece.isascii()
        nul = nul or b"\0" in piece
    return ascii_only, nul


def _pieces(values: pa.ChunkedArray) -> Iterator[bytes]:
    """The bytes of all texts, one after the other: to look for a byte there is five times faster than a kernel."""
    for chunk in values.chunks:
        _, offsets, data = chunk.buffers()
        if data is None or not len(chunk):
            continue
        bounds = pa.Array.from_buffers(pa.int32(), len(chunk) + 1, [None, offsets], offset=chunk.offset)
        first, end = bounds[0].as_py(), bounds[-1].as_py()
        for start in range(first, end, _PIECE):
            yield data.slice(start, min(_PIECE, end - start)).to_pybytes()


_TEXT_TO: dict[DataType, Callable[[pa.ChunkedArray, Column], Typed]] = {
    "text": _text_to_text,
    "bigint": _text_to_bigint,
    "double": _text_to_double,
    "decimal": _text_to_decimal,
    "bool": _text_to_bool,
    "date": dates,
    "timestamp": timestamps,
    "json": by_value,
}
_OTHER_TO: dict[DataType, Callable[[pa.ChunkedArray, Column], Typed]] = {
    "timestamp": timestamps,
    "date": dates,
    "decimal": _numbers,
    "double": _numbers,
    "bigint": _numbers,
}
