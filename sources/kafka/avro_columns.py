"""What a field of an Avro record is beyond its bytes: its Arrow column, and its value in Python, exact in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa

from sources.kafka.avro_binary import MAX_DIGITS, AvroError

Form = Literal["null", "bool", "long", "float", "double", "text", "decimal", "date", "instant", "local", "nested"]
Unit = Literal["ms", "us", "ns"]
NARROW_DIGITS, NARROW_BYTES, WIDE_BYTES = 38, 16, 32
_FIRST_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_MILLI, _PER_MICRO = 1_000, 1_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Fields of one kind may share a column; a reader gives their raw value.

    Raw is a decimal's unscaled number, a date's days and a time's units since 1970; else the value itself.
    """

    form: Form
    digits: int = 0
    scale: int = 0
    unit: Unit = "us"

    @property
    def flat(self) -> bool:
        """Whether there is an Arrow column for it."""
        return self.form != "nested"


NULL, NESTED, TEXT, LONG = Kind("null"), Kind("nested"), Kind("text"), Kind("long")

_PLAIN: dict[Form, pa.DataType] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
}


def column(kind: Kind, values: Sequence[Any]) -> pa.Array:
    """Return raw values as an Arrow array."""
    if kind.form == "decimal":
        return _decimals(kind, values)
    if kind.form == "date":
        return pa.array(values, pa.int32()).cast(pa.date32())
    if kind.form in {"instant", "local"}:
        zone = "UTC" if kind.form == "instant" else None
        return pa.array(values, pa.int64()).cast(pa.timestamp(kind.unit, zone))
    return pa.array(values, _PLAIN[kind.form])


def _decimals(kind: Kind, values: Sequence[int | None]) -> pa.Array:
    """Lay the whole numbers into an array's buffer: no float, no text, no context that rounds."""
    whole = [value or 0 for value in values]
    digits = max(kind.digits, 1)
    if max(map(abs, whole), default=0) >= 10**digits:  # a producer that does not keep to its schema
        digits = MAX_DIGITS
    narrow = digits <= NARROW_DIGITS
    size = NARROW_BYTES if narrow else WIDE_BYTES
    data = b"".join([number.to_bytes(size, "little", signed=True) for number in whole])
    valid = None
    if None in values:
        valid = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    decimal = pa.decimal128(digits, kind.scale) if narrow else pa.decimal256(digits, kind.scale)
    return pa.Array.from_buffers(decimal, len(whole), [valid, pa.py_buffer(data)])


def value_of(kind: Kind) -> Callable[[Any], Any] | None:
    """Return what makes a raw value (never None) one of Python; None where it is one already."""
    match kind:
        case Kind("decimal", _, scale):
            return lambda whole: Decimal(f"{whole}E-{scale}")
        case Kind("date"):
            return _date
        case Kind("instant", unit=unit):
            return lambda count: _moment(count, unit)
        case Kind("local", unit=unit):
            return lambda count: _moment(count, unit).replace(tzinfo=None)
        case Kind("float"):
            return _shortest
    return None


def _date(days: int) -> date:
    try:
        return date.fromordinal(_FIRST_DAY + days)
    except (ValueError, OverflowError):
        raise AvroError(f"a date {days:,} days from 1970") from None


def _moment(count: int, unit: Unit) -> datetime:
    micros = {"ms": count * _PER_MILLI, "us": count, "ns": count // _PER_MICRO}[unit]
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise AvroError(f"a time {count:,} {unit} from 1970") from None


def _shortest(value: float) -> float:
    """Return the float that has the fewest digits of those that four bytes hold as this one: 0.1, as it was sent."""
    return float(pa.scalar(value, pa.float32()).cast(pa.string()).as_py())
