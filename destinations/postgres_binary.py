"""Rows in PostgreSQL's binary COPY format, made column by column: what the server takes with the least work.

A row is its number of fields, then for each field its length and its bytes. What has the same width in every row stands
in a NumPy record, of which a column that holds one value throughout is filled only once; what has not is an Arrow array
of bytes. Arrow joins both, row by row. Numbers are PostgreSQL's digits in base 10,000 (numeric_recv in its source):
leading and trailing zeros may be sent, it drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
MOST_BYTES = 1 << 30
"""A larger batch, as Arrow holds it, is not joined: the places in an array of bytes have 31 bits."""
DAYS_TO_2000 = 10_957
MICROSECONDS_TO_2000 = DAYS_TO_2000 * 86_400_000_000
BILLION = 10**9
GROUP = 10_000
NEGATIVE = 0x4000
SCALE = 18
FRACTION_GROUPS = 5
NULL = -1
"""The length of a field that is NULL: no bytes follow."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """What has one width: a NumPy type in network order, and one value for each row, or one for all of them."""

    kind: str
    values: Any


Part = Fixed | Any
"""Of a row: Fixed, or an Arrow array of bytes of any length."""


def binary_rows(batch: pa.RecordBatch, types: Mapping[str, str]) -> bytes | None:
    """Return a batch in binary, with header and end; None where it is none of these types, or too large.

    `types` are the type words of the table's columns: the server takes binary in no other type than the column's own.
    """
    if not batch.num_rows:
        return SIGNATURE + END
    if batch.nbytes > MOST_BYTES:
        return None
    parts: list[Part] = [Fixed(">i2", batch.num_columns)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        field = _field(column, types[name.lower()])
        if field is None:
            return None
        parts += field
    return b"".join((SIGNATURE, _joined(parts, batch.num_rows), END))


def _joined(parts: Sequence[Part], rows: int) -> Any:
    """Put the parts of every row behind each other, and the rows; gives a buffer of bytes."""
    import numpy as np
    import pyarrow.compute as pc

    pieces = list(_pieces(parts, rows))
    whole = pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, b"")
    _, places, content = whole.buffers()
    return content[: int(np.frombuffer(places, np.int32)[rows])]


def _pieces(parts: Sequence[Part], rows: int) -> Iterator[pa.Array]:
    """Arrays of bytes: neighbours of one width as one record."""
    fixed: list[Fixed] = []
    for part in parts:
        if isinstance(part, Fixed):
            fixed.append(part)
            continue
        if fixed:
            yield _record(fixed, rows)
            fixed = []
        yield part
    if fixed:
        yield _record(fixed, rows)


def _record(parts: Sequence[Fixed], rows: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    kind = np.dtype([(f"{place}", part.kind) for place, part in enumerate(parts)])
    first, width = np.zeros(1, kind), kind.itemsize
    varied = []
    for place, part in enumerate(parts):
        if isinstance(part.values, np.ndarray):
            varied.append(f"{place}")
        else:
            first[f"{place}"] = part.values
    record = np.empty(rows, kind)
    record.view(f"V{width}")[:] = first.view(f"V{width}")
    for name in varied:
        record[name] = parts[int(name)].values
    places = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(places), pa.py_buffer(record)])


def _field(column: pa.Array, word: str) -> list[Part] | None:
    """Return a field's length and bytes, of every row, or once where all rows are alike; None if it has no form."""
    import pyarrow as pa

    made: dict[tuple[str, str], Callable[[pa.Array], list[Part] | None]] = {
        ("VARCHAR", "string"): _text,
        ("DECIMAL(38,18)", "decimal128(38, 18)"): _numeric,
        ("TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"): lambda c: _number(
            c, ">i8", _numbers(c, pa.int64()) - MICROSECONDS_TO_2000
        ),
        ("BIGINT", "int64"): lambda c: _number(c, ">i8", _numbers(c, pa.int64())),
        ("DOUBLE", "double"): lambda c: _number(c, ">f8", _numbers(c, pa.float64())),
        ("DATE", "date32[day]"): lambda c: _number(c, ">i4", _numbers(c, pa.int32()) - DAYS_TO_2000),
        ("BOOLEAN", "bool"): lambda c: _number(c, "u1", _numbers(c.cast(pa.uint8()), pa.uint8())),
    }
    make = made.get((word, str(column.type)))
    if make is None:
        return None
    if not _alike(column):
        return make(column)
    field = make(column.slice(0, 1))
    if field is None:
        return None
    content = _joined(field, 1).to_pybytes()
    return [Fixed(f"V{len(content)}", content)]


def _alike(column: pa.Array) -> bool:
    """Whether all rows have one value. Not asked of floats: -0.0 is 0.0, and NaN is not itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        return bool(column.null_count == len(column))
    first = column[0]
    if pa.types.is_floating(column.type) or first != column[-1]:
        return False
    return bool(pc.all(pc.equal(column, first)).as_py())


def _numbers(column: pa.Array, kind: pa.DataType) -> Any:
    """The values as numbers of another type of the same bits; zero for NULL."""
    import pyarrow as pa

    column = column if column.type == kind else column.view(kind)
    return (column.fill_null(pa.scalar(0, kind)) if column.null_count else column).to_numpy(zero_copy_only=False)


def _number(column: pa.Array, kind: str, values: Any) -> list[Part]:
    """Length and value of every row; of NULL, the length alone."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    width = np.dtype(kind).itemsize
    if not column.null_count:
        return [Fixed(">i4", width), Fixed(kind, values)]
    content = pa.py_buffer(np.ascontiguousarray(values, kind))
    whole = pa.Array.from_buffers(pa.binary(width), len(column), [None, content]).cast(pa.binary())
    valid = column.is_valid()
    return [Fixed(">i4", np.where(valid, width, NULL)), pc.if_else(valid, whole, b"")]


def _text(column: pa.Array) -> list[Part]:
    import pyarrow as pa
    import pyarrow.compute as pc

    content = column.cast(pa.binary())
    lengths = pc.binary_length(content)
    if column.null_count:
        content, lengths = content.fill_null(b""), lengths.fill_null(NULL)
    return [Fixed(">i4", lengths.to_numpy(zero_copy_only=False)), content]


def _numeric(column: pa.Array) -> list[Part] | None:
    """Decimals of 18 places; None where one has more before the point than 64 bits hold."""
    import numpy as np

    words = np.frombuffer(column.buffers()[1], np.uint64)[2 * column.offset : 2 * (column.offset + len(column))]
    low, high = words[0::2].copy(), words[1::2].copy()
    if column.null_count:
        null = ~column.is_valid().to_numpy(zero_copy_only=False)
        low[null], high[null] = 0, 0
    negative = (high >> np.uint64(63)).astype(bool)
    if negative.any():
        high[negative] = ~high[negative] + (low[negative] == 0).astype(np.uint64)
        low[negative] = ~low[negative] + np.uint64(1)
    limbs = [high >> np.uint64(32), high & np.uint64(0xFFFFFFFF), low >> np.uint64(32), low & np.uint64(0xFFFFFFFF)]
    limbs, fine = _divided(limbs)
    limbs, coarse = _divided(limbs)
    if limbs[0].any() or limbs[1].any():
        return None
    whole = (limbs[2] << np.uint64(32)) | limbs[3]
    fraction = coarse * np.uint64(BILLION) + fine
    head = fraction // np.uint64(100)
    groups = [*_groups(head, FRACTION_GROUPS - 1), (fraction - head * np.uint64(100)) * np.uint64(100)]
    while groups and not groups[-1].any():
        groups.pop()
    before = max(1, -(-len(str(int(whole.max(initial=0)))) // 4))
    digits = [*_groups(whole, before), *groups]
    content = np.empty((len(column), 4 + len(digits)), ">i2")  # how many digits, weight, sign, scale, then they
    content[:, 0], content[:, 1] = len(digits), before - 1
    content[:, 2], content[:, 3] = np.where(negative, NEGATIVE, 0), SCALE
    for place, digit in enumerate(digits):
        content[:, 4 + place] = digit
    kind = f"V{2 * content.shape[1]}"
    return _number(column, kind, content.view(kind).reshape(-1))


def _divided(limbs: list[Any]) -> tuple[list[Any], Any]:
    """Divide numbers of 32-bit limbs, highest first, by a billion."""
    import numpy as np

    quotient, rest = [], np.zeros_like(limbs[0])
    for limb in limbs:
        current = (rest << np.uint64(32)) | limb
        quotient.append(current // np.uint64(BILLION))
        rest = current - quotient[-1] * np.uint64(BILLION)
    return quotient, rest


def _groups(numbers: Any, count: int) -> list[Any]:
    """The last `count` digits in base 10,000, highest first."""
    import numpy as np

    groups = []
    for _ in range(count):
        rest = numbers // np.uint64(GROUP)
        groups.append(numbers - rest * np.uint64(GROUP))
        numbers = rest
    return groups[::-1]
