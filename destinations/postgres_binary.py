"""Rows in PostgreSQL's binary COPY format, made column by column: what the server takes with the least work.

Every column becomes a matrix of bytes, a row of it for each row of the batch: the field's length, then its bytes. Side
by side they are the batch; where lengths differ, a mask says which bytes count. Numbers are PostgreSQL's digits in base
10,000 (numeric_recv in its source): leading and trailing zeros may be sent, it drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
LONGEST_TEXT = 256
"""Of a batch with a longer text no matrix is made."""
DAYS_TO_2000 = 10_957
MICROSECONDS_TO_2000 = DAYS_TO_2000 * 86_400_000_000
BILLION = 10**9
GROUP = 10_000
NEGATIVE = 0x4000
SCALE = 18
FRACTION_GROUPS = 5

Field = tuple[Any, Any]
"""Bytes as a matrix, and the mask of those that count (None: all of them)."""


def binary_rows(batch: pa.RecordBatch, types: Mapping[str, str]) -> bytes | None:
    """Return a batch in binary, with header and end; None where it is none of these types, or too long for a matrix.

    `types` are the type words of the table's columns: the server takes binary in no other type than the column's own.
    """
    import numpy as np

    rows = batch.num_rows
    if not rows:
        return SIGNATURE + END
    count = np.frombuffer(len(batch.schema.names).to_bytes(2, "big"), np.uint8)
    fields: list[Field] = [(np.broadcast_to(count, (rows, 2)), None)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        field = _field(column, types[name.lower()])
        if field is None:
            return None
        fields.append(_with_nulls(column, field))
    matrix = np.concatenate([content for content, _ in fields], axis=1)
    if all(mask is None for _, mask in fields):
        return SIGNATURE + matrix.tobytes() + END
    masks = [np.broadcast_to(True, content.shape) if mask is None else mask for content, mask in fields]
    return bytes(SIGNATURE + matrix[np.concatenate(masks, axis=1)].tobytes() + END)


def _field(column: pa.Array, word: str) -> Field | None:
    import pyarrow as pa

    made: dict[tuple[str, str], Callable[[pa.Array], Field | None]] = {
        ("VARCHAR", "string"): _text,
        ("DECIMAL(38,18)", "decimal128(38, 18)"): _numeric,
        ("TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"): lambda c: (
            _fixed(_numbers(c, pa.int64()) - MICROSECONDS_TO_2000, ">i8"),
            None,
        ),
        ("BIGINT", "int64"): lambda c: (_fixed(_numbers(c, pa.int64()), ">i8"), None),
        ("DOUBLE", "double"): lambda c: (_fixed(_numbers(c, pa.float64()), ">f8"), None),
        ("DATE", "date32[day]"): lambda c: (_fixed(_numbers(c, pa.int32()) - DAYS_TO_2000, ">i4"), None),
        ("BOOLEAN", "bool"): lambda c: (_fixed(_numbers(c.cast(pa.uint8()), pa.uint8()), "u1"), None),
    }
    make = made.get((word, str(column.type)))
    return make(column) if make else None


def _numbers(column: pa.Array, kind: pa.DataType) -> Any:
    """The values as numbers of another type of the same bits; zero for NULL."""
    import pyarrow as pa

    column = column if column.type == kind else column.view(kind)
    return (column.fill_null(pa.scalar(0, kind)) if column.null_count else column).to_numpy(zero_copy_only=False)


def _fixed(values: Any, order: str) -> Any:
    """Length and big-endian value of every row."""
    import numpy as np

    content = np.ascontiguousarray(values.astype(order)).view(np.uint8).reshape(len(values), -1)
    return np.concatenate([_length(len(values), content.shape[1]), content], axis=1)


def _length(rows: int, length: int) -> Any:
    import numpy as np

    return np.broadcast_to(np.frombuffer(length.to_bytes(4, "big"), np.uint8), (rows, 4))


def _text(column: pa.Array) -> Field | None:
    import numpy as np

    if column.null_count:
        column = column.fill_null("")
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    if longest > LONGEST_TEXT:
        return None
    sizes = lengths.astype(">i4").view(np.uint8).reshape(-1, 4)
    if not longest:
        return sizes, None
    data = np.frombuffer(data_buffer, np.uint8)
    places = np.arange(longest)
    content = data[np.minimum(offsets[:-1, None] + places, len(data) - 1)]
    matrix = np.concatenate([sizes, content], axis=1)
    if int(lengths.min()) == longest:
        return matrix, None
    return matrix, np.concatenate([np.ones((len(lengths), 4), bool), places < lengths[:, None]], axis=1)


def _numeric(column: pa.Array) -> Field | None:
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
    content = np.empty((len(column), 6 + len(digits)), ">i2")  # length (two), digits, weight, sign, scale, then they
    content[:, 0], content[:, 1] = 0, 8 + 2 * len(digits)
    content[:, 2], content[:, 3] = len(digits), before - 1
    content[:, 4], content[:, 5] = np.where(negative, NEGATIVE, 0), SCALE
    for place, digit in enumerate(digits):
        content[:, 6 + place] = digit
    return content.view(np.uint8).reshape(len(column), -1), None


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


def _with_nulls(column: pa.Array, field: Field) -> Field:
    """Give NULL its length of -1, and no bytes."""
    import numpy as np

    if not column.null_count:
        return field
    content, mask = field[0].copy(), field[1]
    null = ~column.is_valid().to_numpy(zero_copy_only=False)
    content[null, :4] = 0xFF
    mask = np.ones(content.shape, bool) if mask is None else mask.copy()
    mask[null, 4:] = False
    return content, mask
