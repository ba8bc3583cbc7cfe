"""Arrow columns straight from integers: DECIMAL(38,18) without a float, ids without a Python loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sources.faker.draws import Ints

SCALE = 18
HALF = 5
_HALVES = np.array([list(f"{number:0{HALF}}".encode()) for number in range(10**HALF)], dtype=np.uint8)
"""The digits of 0 to 99,999."""
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_POWERS = np.array([10**power for power in range(SCALE + 1)], dtype=np.uint64)


def decimals(units: Ints, places: int | Ints) -> pa.Array:
    """Build decimal128(38,18) from non-negative integers with `places` digits after the point (0 to 18)."""
    factor = _POWERS[SCALE - np.broadcast_to(np.asarray(places), units.shape)]
    value = units.astype(np.uint64)
    low_low = (value & _LOW) * (factor & _LOW)
    low_high = (value & _LOW) * (factor >> _32)
    high_low = (value >> _32) * (factor & _LOW)
    middle = (low_low >> _32) + (low_high & _LOW) + (high_low & _LOW)
    words = np.empty((len(units), 2), dtype="<u8")
    words[:, 0] = (low_low & _LOW) | (middle << _32)
    words[:, 1] = (value >> _32) * (factor >> _32) + (low_high >> _32) + (high_low >> _32) + (middle >> _32)
    return pa.Array.from_buffers(pa.decimal128(38, SCALE), len(units), [None, pa.py_buffer(words)])


def half_even(numerator: Ints, denominator: Ints) -> Ints:
    """Divide non-negative integers, rounding to the nearest, a tie to the even one."""
    quotient, rest = np.divmod(numerator, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (quotient % 2 == 1))
    rounded: Ints = quotient + up
    return rounded


def labels(prefix: str, numbers: Ints) -> pa.Array:
    """Build texts such as C7-0000000042: the prefix and the number in ten digits."""
    start = prefix.encode()
    width = len(start) + 2 * HALF
    text = np.empty((len(numbers), width), dtype=np.uint8)
    text[:, : len(start)] = np.frombuffer(start, dtype=np.uint8)
    high, low = np.divmod(numbers.astype(np.int64), 10**HALF)
    text[:, len(start) : len(start) + HALF] = _HALVES[high]
    text[:, len(start) + HALF :] = _HALVES[low]
    ends = np.arange(len(numbers) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(text))


def chosen(words: list[str], positions: NDArray[np.int64]) -> pa.Array:
    """Take words by position, as plain text."""
    return pa.array(words, pa.string()).take(pa.array(positions))
