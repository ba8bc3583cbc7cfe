"""Lineage by the models' text alone: which columns a column is made of, and which models a table is built from.

Within a model this is SQLGlot's lineage of the query as SQLMesh renders it, so that macros are followed as they expand;
expressions are shown as the model's file has them, macros unexpanded, wherever the two can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sqlglot import exp

from engine.errors import UsageError
from engine.models.graph import Model, ModelGraph
from engine.trace.derivation import plain_name


@dataclass(frozen=True, slots=True)
class Step:
    """One expression within a model: of its output column, or of a column of a subquery or CTE on the way."""

    column: str
    expression: str


@dataclass(frozen=True, slots=True)
class ColumnNode:
    """A column, how its model makes it, and what of. `repeated`: shown before, with what lies behind it."""

    table: str
    column: str
    landed: bool
    steps: tuple[Step, ...]
    made_of: tuple[ColumnNode, ...]
    repeated: bool = False

    @property
    def name(self) -> str:
        """`schema.table.column`."""
        return f"{self.table}.{self.column}"

    def as_json(self) -> dict[str, Any]:
        """Return the tree: column, expressions (outermost first), from."""
        document: dict[str, Any] = {"column": self.name, "landed": self.landed}
        if self.steps:
            document["expressions"] = [{"column": step.column, "expression": step.expression} for step in self.steps]
        if self.repeated:
            document["repeated"] = True
        return document | {"from": [node.as_json() for node in self.made_of]}


@dataclass(frozen=True, slots=True)
class TableNode:
    """A model or a landed table, and what it reads. `repeated`: shown before, with what lies behind it."""

    name: str
    kind: str
    description: str
    reads: tuple[TableNode, ...]
    repeated: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the tree: table, kind, description, from."""
        document: dict[str, Any] = {"table": self.name, "kind": self.kind, "description": self.description}
        if self.repeated:
            document["repeated"] = True
        return document | {"from": [node.as_json() for node in self.reads]}


def split_target(graph: ModelGraph, target: str) -> tuple[Model, str | None]:
    """Return the model and the column, None for a table, that `[SCHEMA.]TABLE[.COLUMN]` names. Raises UsageError."""
    parts = target.strip().split(".")
    schemas = {model.name.split(".", 1)[0] for model in graph}
    if len(parts) > 3 or not all(parts):  # noqa: PLR2004 - schema, table, column
        raise UsageError(f"{target!r} is no table and no column", "Write SCHEMA.TABLE or SCHEMA.TABLE.COLUMN.")
    if len(parts) == 1 or (len(parts) == 2 and parts[0].lower() in schemas):  # noqa: PLR2004
        return graph.find(target), None
    model = graph.find(".".join(parts[:-1]))
    return model, column_of(graph, model, parts[-1])


def column_of(graph: ModelGraph, model: Model, name: str) -> str:
    """Return the column as the model writes it; UsageError with what it could have been."""
    columns = graph.columns(model.name)
    by_lower = {column.lower(): column for column in columns}
    if model.landed and name.lower() not in by_lower:
        return name  # a field that nobody declared lands too
    found = by_lower.get(name.lower())
    if found is None:
        near = [by_lower[match] for match in get_close_matches(name.lower()[:200], by_lower, n=3)]
        hint = (
            f"Did you mean {', '.join(near)}?"
            if near
            else f"It has: {', '.join(columns) or 'no column that is known'}."
        )
        raise UsageError(f"{model.name} has no column {name!r}", hint)
    return found


def column_lineage(graph: ModelGraph, model: Model, column: str) -> ColumnNode:
    """Return what a column is made of, down to landed columns."""
    return _ColumnTree(graph).node(model.name, column)


def table_lineage(graph: ModelGraph, model: Model) -> TableNode:
    """Return what a table is built from, down to landed tables. How arrivals are known is left out."""
    seen: set[str] = set()

    def node(name: str) -> TableNode:
        found = graph.models[name]
        reads = [parent for parent in found.upstream if not parent.startswith("landing._p")]
        repeated = name in seen and bool(reads)
        seen.add(name)
        return TableNode(
            name, found.kind, found.description, () if repeated else tuple(map(node, reads)), repeated=repeated
        )

    return node(model.name)


def landed_columns(node: ColumnNode) -> list[str]:
    """Return the landed columns at the tree's ends, each once, in order."""
    if node.landed:
        return [node.name]
    return list(dict.fromkeys(name for child in node.made_of for name in landed_columns(child)))


def landed_tables(node: TableNode) -> list[str]:
    """Return the landed tables at the tree's ends, each once, in order."""
    if node.kind == "landed":
        return [node.name]
    return list(dict.fromkeys(name for child in node.reads for name in landed_tables(child)))


class _ColumnTree:
    """Builds one tree; what lies behind a column is shown once."""

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        self._seen: set[tuple[str, str]] = set()
        self._written: dict[str, Mapping[int, str]] = {}
        self._scopes: dict[str, Any] = {}

    def node(self, table: str, column: str) -> ColumnNode:
        model = self._graph.models.get(table)
        if model is None or model.landed or self._graph.query(table) is None:
            landed = model is None or model.landed
            return ColumnNode(table, column, landed=landed, steps=(), made_of=())
        steps, parents = self._within(model, column)
        repeated = (table, column) in self._seen and bool(parents)
        self._seen.add((table, column))
        made_of = () if repeated else tuple(self.node(*parent) for parent in parents)
        return ColumnNode(table, column, landed=False, steps=steps, made_of=made_of, repeated=repeated)

    def _within(self, model: Model, column: str) -> tuple[tuple[Step, ...], list[tuple[str, str]]]:
        """Return a column's expressions within its model, and the columns of other tables that they come to."""
        from sqlglot import exp
        from sqlglot.lineage import lineage
        from sqlglot.optimizer.scope import build_scope

        query = self._graph.query(model.name)
        if model.name not in self._scopes:
            self._scopes[model.name] = build_scope(query)
            self._written[model.name] = written_expressions(model.native.query, query)
        root = lineage(
            exp.column(column, quoted=True),
            sql=query,
            scope=self._scopes[model.name],
            trim_selects=False,
            dialect=model.native.dialect,
            copy=False,
        )
        written = self._written[model.name]
        steps: dict[Step, None] = {}
        parents: dict[tuple[str, str], None] = {}
        for node in root.walk():
            if isinstance(node.expression, exp.Table):
                parents[plain_name(node.expression), exp.to_column(node.name).name] = None
                continue
            name = node.expression.alias_or_name or column
            bare = node.expression.unalias()
            if not (isinstance(bare, exp.Column) and bare.name == name):
                steps[Step(name, written.get(id(node.expression)) or _shown(bare))] = None
        return tuple(steps), sorted(parents)


def written_expressions(written: exp.Expression, rendered: exp.Expression) -> Mapping[int, str]:
    """Return the file's text of the rendered query's projections, by id of the projection.

    The two are laid side by side select by select, those of conditions left out, of which no row comes; where macros
    have made other selects of it, nothing is returned.
    """
    ours, theirs = (
        [select for select in tree.find_all(exp.Select) if not select.find_ancestor(exp.Where)]
        for tree in (written, rendered)
    )
    if len(ours) != len(theirs):
        return {}
    found: dict[int, str] = {}
    for own, other in zip(ours, theirs, strict=True):
        texts = {p.alias_or_name.lower(): p.unalias().sql(dialect="duckdb") for p in own.expressions}
        by_place = len(own.expressions) == len(other.expressions)
        for place, projection in enumerate(other.expressions):
            text = texts.get(projection.alias_or_name.lower())
            if by_place and not own.expressions[place].alias_or_name:
                text = own.expressions[place].sql(dialect="duckdb")
            if text:
                found[id(projection)] = text
    return found


def _shown(expression: exp.Expression) -> str:
    """Return a rendered expression without the quotes that it needs nowhere."""
    copy = expression.copy()
    for name in copy.find_all(exp.Identifier):
        name.set("quoted", not name.name.isidentifier())
    return str(copy.sql(dialect="duckdb"))
