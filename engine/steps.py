"""How the steps of a run are carried out: in threads of this process, or as tasks of a scheduler that retries them.

A step is a source (its resources follow each other) or a destination (its load, then its models). Calling it again
after a failure does what is not done yet: what was landed or loaded stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
Kind = Literal["extract", "load"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What an attempt came to. `failure` says on one line why it is not whole, `retry` whether another may help."""

    result: T
    failure: str = ""
    retry: bool = False


class Steps(Protocol):
    """Carries out the steps of one kind."""

    def side_by_side(
        self, kind: Kind, names: Sequence[str], attempt: Callable[[str], Outcome[T]], *, at_once: int
    ) -> list[T]:
        """Return the result of each step, in the order of the names; at most `at_once` go on at a time."""


class Threads:
    """Every step once, in a thread of its own: what failed is for the next run."""

    def side_by_side(
        self, kind: Kind, names: Sequence[str], attempt: Callable[[str], Outcome[T]], *, at_once: int
    ) -> list[T]:
        """Run the steps in a pool of threads."""
        with ThreadPoolExecutor(at_once, thread_name_prefix=kind) as pool:
            return [outcome.result for outcome in pool.map(attempt, names)]
