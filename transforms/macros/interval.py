"""The interval that a run processes, as SQL text: macros put it into a query before they parse it.

A query with `@start_dt` in it would have to be resolved by SQLMesh, which writes and parses it once more for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp
from sqlmesh.utils.errors import SQLMeshError

if TYPE_CHECKING:
    from sqlmesh.core.macros import MacroEvaluator


def start_of(evaluator: MacroEvaluator) -> str:
    """Return the instant from which on rows count as new, as a TIMESTAMPTZ."""
    return _instant(evaluator, "start_dt")


def end_of(evaluator: MacroEvaluator) -> str:
    """Return the last instant of the interval, which counts too."""
    return _instant(evaluator, "end_dt")


def arrived_in(evaluator: MacroEvaluator) -> str:
    """Return the condition that a row has arrived in the interval."""
    return f"_arrived_at BETWEEN {start_of(evaluator)} AND {end_of(evaluator)}"


def _instant(evaluator: MacroEvaluator, name: str) -> str:
    if name not in evaluator.locals:
        raise SQLMeshError(f"@{name} is not known here: the model's kind has no intervals")
    return str(exp.convert(evaluator.locals[name]).sql(dialect="duckdb"))
