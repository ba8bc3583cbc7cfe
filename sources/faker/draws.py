"""Random numbers by position: draw n of a column is a pure function of (seed, table, column, n).

SplitMix64's finaliser over a counter (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
Integers only, so that every machine draws the same.
"""

from __future__ import annotations

from hashlib import blake2b
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
QUANTILES = 4096


def draw(seed: int, column: str, numbers: Ints) -> Bits:
    """Draw 64 bits for each number; `column` names an independent stream."""
    key = np.frombuffer(blake2b(f"{seed}/{column}".encode(), digest_size=8).digest(), dtype="<u8")[0]
    bits = numbers.astype(np.uint64) * _GOLDEN + key
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    mixed: Bits = bits ^ (bits >> np.uint64(31))
    return mixed


def below(bits: Bits, limit: int | Ints) -> Ints:
    """Turn bits into integers from 0 to limit - 1 (limit at most 2**31)."""
    product = (bits >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)
    return (product >> np.uint64(32)).astype(np.int64)


def skewed(bits: Bits, limit: int) -> Ints:
    """Turn bits into integers from 0 to limit - 1, small ones more often (the square of a uniform draw)."""
    half = bits >> np.uint64(32)
    return below(((half * half) >> np.uint64(32)) << np.uint64(32), limit)


def weighted(bits: Bits, weights: list[int]) -> Ints:
    """Turn bits into positions of `weights`, each as often as its weight says."""
    steps = np.cumsum(weights)
    return np.searchsorted(steps, below(bits, int(steps[-1])), side="right").astype(np.int64)


def looked_up(bits: Bits, table: Ints) -> Ints:
    """Pick from a table of equally likely values."""
    return table[below(bits, len(table))]


def normal_quantiles() -> NDArray[np.float64]:
    """Give the middle of each of 4,096 equally likely slices of the standard normal distribution."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((slot + 0.5) / QUANTILES) for slot in range(QUANTILES)])
