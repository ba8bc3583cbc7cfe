"""Results come in order, one item is worked on ahead, and an error comes where it belongs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sources.kafka.ahead import ahead


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(ahead(range(50), lambda number: number * 2)) == list(range(0, 100, 2))
    assert list(ahead([], str)) == []


def test_the_next_is_worked_on_before_the_last_is_asked_for() -> None:
    begun = {number: threading.Event() for number in range(3)}
    results = ahead(range(3), lambda number: begun[number].set())
    next(results)
    assert begun[1].wait(10), "nobody has asked for the second yet"
    assert not begun[2].is_set()
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_the_items_comes_after_the_results_of_those_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("the third")

    results = ahead(items(), str)
    assert [next(results), next(results)] == ["1", "2"]
    with pytest.raises(KeyError, match="the third"):
        next(results)


def test_an_error_of_the_work_ends_it() -> None:
    asked = []

    def items() -> Iterator[int]:
        for number in (1, 0, 2, 3, 4):
            asked.append(number)
            yield number

    results = ahead(items(), lambda number: 1 / number)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert asked == [1, 0, 2]
