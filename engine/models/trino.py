"""What SQLMesh has to be told about Trino: two things that SQLGlot writes, and that are not what the models say.

There, a timestamp without a precision has milliseconds; the models say TIMESTAMPTZ and mean microseconds, as every
other engine reads it. And Trino has no QUALIFY: where the columns are `*`, SQLGlot repeats those that are named beside
it, and two of its `_w` may meet.
"""

from __future__ import annotations

from functools import wraps
from itertools import count
from typing import Any

MICROSECONDS = 6


def speak_trino() -> None:
    """Let SQLMesh's Trino adapter write statements so. Done once a process."""
    from sqlmesh.core.engine_adapter.trino import TrinoEngineAdapter

    plain = TrinoEngineAdapter._to_sql  # noqa: SLF001 - where every statement of SQLMesh becomes text
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def to_sql(self: Any, expression: Any, *args: Any, **kwargs: Any) -> str:
        text: str = plain(self, said_for_trino(expression), *args, **kwargs)
        return text

    TrinoEngineAdapter._to_sql = to_sql  # noqa: SLF001


def said_for_trino(tree: Any) -> Any:
    """Return a copy of a statement that means on Trino what it says."""
    numbers = count(1)
    return tree.transform(_with_places).transform(lambda node: _without_qualify(node, numbers))


def _without_qualify(node: Any, numbers: Any) -> Any:
    """Return `SELECT *, ... QUALIFY condition` as a SELECT * from it where the windows of the condition are columns.

    An ORDER BY and a LIMIT are of what is left, as they were: they move outside, by the columns' own names.
    """
    from sqlglot import exp

    if not (isinstance(node, exp.Select) and node.args.get("qualify") and node.is_star):
        return node
    inner = node.copy()
    condition = inner.args["qualify"].pop().this
    last = {part: inner.args[part].pop() for part in ("order", "limit", "offset") if inner.args.get(part)}
    for window in list(condition.find_all(exp.Window)):
        name = f"_window_{next(numbers)}"
        inner.select(exp.alias_(window.copy(), name), copy=False)
        window.replace(exp.column(name))
    outer = exp.select("*").from_(inner.subquery(f"_qualified_{next(numbers)}")).where(condition)
    for part, clause in last.items():
        for column in clause.find_all(exp.Column):
            column.set("table", None)
        outer.set(part, clause)
    return outer


def _with_places(node: Any) -> Any:
    from sqlglot import exp

    if (
        isinstance(node, exp.DataType)
        and node.this in {exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMP}
        and not node.expressions
    ):
        whole = node.copy()
        whole.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(MICROSECONDS))])
        return whole
    return node
