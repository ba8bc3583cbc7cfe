"""Finding the newest number of a log without listing it: numbers are consecutive, so existence is monotone."""

from __future__ import annotations

from collections.abc import Callable


def last_consecutive(exists: Callable[[int], bool], start: int) -> int:
    """Return the highest number that exists, given that `start` does (or is 0) and that there is no gap.

    Looks at start + 1, + 2, + 4 ... and then between the last two: 2 log2(n) looks for n new numbers.
    """
    low, step = start, 1
    while exists(low + step):
        low += step
        step *= 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if exists(middle):
            low = middle
        else:
            high = middle
    return low
