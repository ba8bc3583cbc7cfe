"""Results come in order, and an error after all that came before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from engine.lake.at_once import AHEAD, WORKERS, at_once


def numbers(end: int) -> Iterator[int]:
    yield from range(end)
    raise ValueError("the items ended badly")


@pytest.mark.parametrize("count", [0, 1, AHEAD, 2 * AHEAD + 3])
def test_results_come_in_order(count: int) -> None:
    assert list(at_once(lambda n: n * n, range(count))) == [n * n for n in range(count)]


def test_several_are_under_way() -> None:
    together = threading.Barrier(WORKERS, timeout=30)
    assert len(list(at_once(lambda _: together.wait(), range(WORKERS)))) == WORKERS


@pytest.mark.parametrize("end", [3, AHEAD, AHEAD + 5])
def test_an_error_of_the_items_comes_after_what_they_gave(end: int) -> None:
    taken: list[str] = []
    with pytest.raises(ValueError, match="ended badly"):
        taken.extend(at_once(str, numbers(end)))
    assert taken == [str(n) for n in range(end)]


def test_an_error_of_the_work_comes_in_its_turn() -> None:
    taken: list[int] = []
    with pytest.raises(ZeroDivisionError):
        taken.extend(at_once(lambda n: 6 // (n - 3), range(10)))
    assert taken == [-2, -3, -6]
