"""Avro's binary encoding, read strictly: readers of each type, which take a message and give a value and its end.

fastavro resolves the schemas but does not read the messages. Its reader takes a negative branch of a union for one
counted from the end, drops what a number has beyond 64 bits, and recurses in C: one message of ten thousand levels
ends the process. This one refuses all three and, as it makes no dict of a flat message, is not slower.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

Reader: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""Takes a message and where a value begins; returns the value and where it ends."""

MAX_DIGITS = 76
"""Of a decimal: what Arrow holds, and more than any column."""
MAX_BYTES = 31
"""So many hold fewer digits than that, whatever they are."""
_MIDNIGHT = datetime(1, 1, 1)  # noqa: DTZ001 - a time of day has no zone
_DAY = timedelta(days=1)
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_BITS, _SHIFTS = 64, 63
SHORT = 128
"""A number's byte below it is the last one."""


class AvroError(ValueError):
    """Bytes that the schema does not allow; the message is the reason."""


def null(_: bytes, at: int) -> tuple[None, int]:
    """Read nothing."""
    return None, at


def boolean(data: bytes, at: int) -> tuple[bool, int]:
    """Read a byte that is 0 or 1."""
    byte = data[at]
    if byte > 1:
        raise AvroError(f"a boolean of {byte}")
    return byte == 1, at + 1


def long(data: bytes, at: int) -> tuple[int, int]:
    """Read a whole number of 64 bits."""
    byte = data[at]
    at += 1
    if byte < SHORT:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < SHORT:
            break
        shift += 7
        if shift > _SHIFTS:
            raise AvroError("a number of more than 64 bits")
    if number >> _BITS:
        raise AvroError("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def int32(data: bytes, at: int) -> tuple[int, int]:
    """Read a whole number of 32 bits."""
    number, at = long(data, at)
    if not -(2**31) <= number < 2**31:
        raise AvroError("an int of more than 32 bits")
    return number, at


def float32(data: bytes, at: int) -> tuple[float, int]:
    """Read four bytes; the float of Python has their exact value."""
    return _FLOAT.unpack_from(data, at)[0], at + 4


def float64(data: bytes, at: int) -> tuple[float, int]:
    """Read eight bytes."""
    return _DOUBLE.unpack_from(data, at)[0], at + 8


def raw(data: bytes, at: int) -> tuple[bytes, int]:
    """Read bytes after their length."""
    size = data[at]
    if size < SHORT and not size & 1:  # nearly all are short, and a call for each would be felt
        at += 1
        size >>= 1
    else:
        size, at = long(data, at)
    end = at + size
    if size < 0 or end > len(data):
        raise AvroError(f"a length of {size:,} where {len(data) - at:,} bytes are left")
    return data[at:end], end


def text(data: bytes, at: int) -> tuple[str, int]:
    """Read UTF-8 after its length."""
    found, end = raw(data, at)
    return found.decode(), end


def fixed(size: int) -> Reader:
    """Read so many bytes."""

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise AvroError(f"{size:,} bytes where {len(data) - at:,} are left")
        return data[at:end], end

    return read


def base64_of(reader: Reader) -> Reader:
    """Read bytes as text in base64, whatever they are."""
    return then(reader, lambda found: base64.b64encode(found).decode())


def uuid_of(reader: Reader) -> Reader:
    """Read sixteen bytes as the text of a UUID."""
    return then(reader, lambda found: str(UUID(bytes=found)))


def unscaled(reader: Reader) -> Reader:
    """Read the bytes of a decimal as the whole number that its scale divides."""
    whole = int.from_bytes

    def read(data: bytes, at: int) -> tuple[int, int]:
        found, at = reader(data, at)
        number = whole(found, "big", signed=True)
        if not found:
            raise AvroError("a decimal of no bytes")
        if len(found) > MAX_BYTES and abs(number) >= 10**MAX_DIGITS:
            raise AvroError(f"a decimal of more than {MAX_DIGITS} digits")
        return number, at

    return read


def time_of(reader: Reader, unit: timedelta) -> Reader:
    """Read a count of units since midnight as ISO 8601 text."""

    def clock(count: int) -> str:
        if not 0 <= count < _DAY // unit:
            raise AvroError(f"a time of day of {count:,}")
        return (_MIDNIGHT + count * unit).time().isoformat()

    return then(reader, clock)


def enum(symbols: Sequence[str]) -> Reader:
    """Read a symbol by its number."""
    known = tuple(symbols)

    def read(data: bytes, at: int) -> tuple[str, int]:
        number, at = long(data, at)
        if not 0 <= number < len(known):
            raise AvroError(f"symbol {number:,} of an enum of {len(known):,}")
        return known[number], at

    return read


def union(branches: Sequence[Reader]) -> Reader:
    """Read the value of the branch that is named by its number."""
    known = tuple(branches)
    one_byte = min(2 * len(known), SHORT)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        named = data[at]
        if named < one_byte and not named & 1:
            return known[named >> 1](data, at + 1)
        number, at = long(data, at)
        if not 0 <= number < len(known):
            raise AvroError(f"branch {number:,} of a union of {len(known):,}")
        return known[number](data, at)

    return read


def array(item: Reader) -> Reader:
    """Read blocks of items."""

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            count, at = _block(data, at, len(items))
            if not count:
                return items, at
            for _ in range(count):
                value, at = item(data, at)
                items.append(value)

    return read


def mapping(value: Reader) -> Reader:
    """Read blocks of names with values; of a name that comes twice the last value stays, as in JSON."""

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        fields: dict[str, Any] = {}
        while True:
            count, at = _block(data, at, len(fields))
            if not count:
                return fields, at
            for _ in range(count):
                name, at = text(data, at)
                fields[name], at = value(data, at)

    return read


def _block(data: bytes, at: int, before: int) -> tuple[int, int]:
    """Read how many items follow. An item may take no byte at all: more of them than bytes are no honest message."""
    count, at = long(data, at)
    if count < 0:
        count = -count
        _, at = long(data, at)  # the block's bytes, for who wants to skip it
    if before + count > len(data):
        raise AvroError(f"{before + count:,} items in {len(data):,} bytes")
    return count, at


def record(fields: Mapping[str, Reader]) -> Reader:
    """Read each field, in order."""
    known = tuple(fields.items())

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        for name, reader in known:
            values[name], at = reader(data, at)
        return values, at

    return read


def then(reader: Reader, convert: Callable[[Any], Any]) -> Reader:
    """Read, and convert what is not null."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        value, at = reader(data, at)
        return None if value is None else convert(value), at

    return read
