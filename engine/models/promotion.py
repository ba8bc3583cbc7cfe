"""Views change hands together: what SQLMesh creates and promotes view by view becomes one commit of the warehouse.

A kill in the middle of a promotion leaves every view as it was, and a first plan is spared a commit for each view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

TOGETHER = ("create", "promote", "demote")
"""The evaluator's steps that only make, move or drop views and empty tables."""


def promote_together() -> None:
    """Make each of these steps of SQLMesh one transaction, on DuckDB. Done once a process."""
    from sqlmesh.core.snapshot import SnapshotEvaluator

    for name in TOGETHER:
        step = getattr(SnapshotEvaluator, name)
        if not hasattr(step, "__wrapped__"):
            setattr(SnapshotEvaluator, name, _in_one_transaction(step))


def _in_one_transaction(step: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(step)
    def together(evaluator: Any, *args: Any, **kwargs: Any) -> Any:
        if evaluator.adapter.dialect != "duckdb":  # engines with their own transactions, or none, stay as they are
            return step(evaluator, *args, **kwargs)
        with _transaction(evaluator.adapter):
            return step(evaluator, *args, **kwargs)

    return together


@contextmanager
def _transaction(adapter: Any) -> Iterator[None]:
    adapter.execute("BEGIN TRANSACTION")
    try:
        yield
        adapter.execute("COMMIT")
    except BaseException:
        with suppress(Exception):  # a commit that failed has ended the transaction by itself
            adapter.execute("ROLLBACK")
        raise
