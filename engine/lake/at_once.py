"""Several packages at a time: each costs a bucket a few round trips, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

WORKERS = 16
AHEAD = 64
"""Results that are kept for whoever asks for the first of them."""

Given = TypeVar("Given")
Found = TypeVar("Found")


def at_once(work: Callable[[Given], Found], items: Iterable[Given]) -> Iterator[Found]:
    """Yield what `work` returns for each item, in order; its error, or that of `items`, where its turn comes."""
    rest = iter(items)
    with ThreadPoolExecutor(WORKERS) as pool:
        while True:
            some: list[Given] = []
            ended: Exception | None = None
            try:
                some.extend(islice(rest, AHEAD))
            except Exception as error:
                ended = error
            yield from pool.map(work, some)
            if ended is not None:
                raise ended
            if len(some) < AHEAD:
                return
