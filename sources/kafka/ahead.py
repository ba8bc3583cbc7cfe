"""Work on the next item in a thread while the last one's result is used: in order, and one item ahead, never more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """Yield `work(item)` of each; it runs beside whoever takes the results and beside what finds the next item.

    An error of the items comes after the results of all items before it; an error of the work ends both.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        last: Future[Result] | None = None
        broken: Exception | None = None
        following = iter(items)
        while True:
            try:
                item = next(following)
            except StopIteration:
                break
            except Exception as error:
                broken = error
                break
            working = pool.submit(work, item)
            if last is not None:
                yield last.result()
            last = working
        if last is not None:
            yield last.result()
        if broken is not None:
            raise broken
