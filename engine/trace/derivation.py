"""How a model's rows come from the rows that it reads: for each table read, its part of the output columns.

This is what a query's text says and nothing more: which output columns are expressions over columns of one table, by
themselves or through a join's equalities. What is aggregated, windowed, or made of two tables is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlglot import exp

MOST = 200
"""Readings of one query. A query that multiplies unions beyond that is followed only so far."""


@dataclass(frozen=True, slots=True)
class Link:
    """A join's equality: `column` of another table that the query reads equals `value`, over this one's columns."""

    table: str
    column: str
    value: exp.Expression


@dataclass(frozen=True, slots=True)
class Reading:
    """One place where a query reads a table.

    `columns` maps an output column to the expression over that table's columns which it equals. `own` are those of
    them that come from the table itself, not through an equality of a join. `outer`: a row may lack it (LEFT JOIN).
    `links` say which row it is by the rows of other tables that the query reads.
    """

    table: str
    columns: Mapping[str, exp.Expression]
    own: frozenset[str] = frozenset()
    outer: bool = False
    links: tuple[Link, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    """The output columns in order: unions are matched by it."""


def plain_name(table: str | exp.Table) -> str:
    """Return `schema.name` of SQLMesh's full name, which has a catalog before it."""
    table = exp.to_table(table, dialect="duckdb")
    return ".".join(part for part in (table.db, table.name) if part)


def readings(query: exp.Query) -> list[Reading]:
    """Return every reading of a qualified query that its output rows come from; sub-queries of conditions are none."""
    from sqlglot.optimizer.scope import build_scope

    scope = build_scope(query)
    found: dict[tuple[Any, ...], Reading] = {}
    for reading in list(_of(scope) if scope else ())[:MOST]:
        texts = tuple(sorted((name, value.sql()) for name, value in reading.columns.items()))
        found.setdefault((reading.table, texts), reading)  # a table that is joined with keys of itself is one
    return list(found.values())


def _of(scope: Any) -> Iterator[Reading]:
    if isinstance(scope.expression, exp.SetOperation):
        names = tuple(scope.expression.named_selects)
        for branch in scope.union_scopes:
            for reading in _of(branch):
                yield _renamed(reading, dict(zip(reading.names, names, strict=False)), names)
    elif isinstance(scope.expression, exp.Select):
        yield from _of_select(scope)


def _renamed(reading: Reading, by: Mapping[str, str], names: tuple[str, ...]) -> Reading:
    columns = {by[name]: value for name, value in reading.columns.items() if name in by}
    own = frozenset(by[name] for name in reading.own if name in by)
    return Reading(reading.table, columns, own, reading.outer, reading.links, names)


def _of_select(scope: Any) -> Iterator[Reading]:
    select = scope.expression
    names = tuple(select.named_selects)
    equal, outer = _equalities(select), _outer(select)
    inner = {
        alias: [_whole(source)] if isinstance(source, exp.Table) else list(_of(source))[:MOST]
        for alias, (_, source) in scope.selected_sources.items()
    }
    for alias, within in inner.items():
        for reading in within:
            columns: dict[str, exp.Expression] = {}
            own: set[str] = set()
            for name, projection in zip(names, select.selects, strict=True):
                value = projection.unalias()
                if not _plain(value, select):
                    continue
                direct = _over(value, partial(_inner, alias=alias, reading=reading))
                found = direct or _over(value, partial(_joined, alias=alias, reading=reading, equal=equal))
                if found is not None:
                    columns[name] = found
                    if direct is not None and _from_table(value, reading):
                        own.add(name)
            links = (*reading.links, *_links(alias, reading, equal, inner))
            yield Reading(reading.table, columns, frozenset(own), reading.outer or alias in outer, links, names)


def _links(
    alias: str,
    reading: Reading,
    equal: Mapping[tuple[str, str], set[tuple[str, str]]],
    inner: Mapping[str, list[Reading]],
) -> Iterator[Link]:
    """Yield what a join says of a reading's columns in terms of other tables' columns."""
    for (table, name), others in equal.items():
        value = _inner(exp.column(name, table), alias, reading)
        for other_table, other_name in sorted(others) if value is not None else ():
            for other in inner.get(other_table, ()):
                column = _inner(exp.column(other_name, other_table), other_table, other)
                if isinstance(column, exp.Column) and value is not None:
                    yield Link(other.table, column.name, value)


def _whole(table: exp.Table) -> Reading:
    return Reading(plain_name(table), {}, names=("*",))


def _inner(column: exp.Column, alias: str, reading: Reading) -> exp.Expression | None:
    """Return a select's column over the table that `alias` reads."""
    if column.table != alias:
        return None
    if reading.names == ("*",):
        return exp.column(column.name, quoted=True)
    return reading.columns.get(column.name)


def _joined(
    column: exp.Column, alias: str, reading: Reading, equal: Mapping[tuple[str, str], set[tuple[str, str]]]
) -> exp.Expression | None:
    """Return the same, for a column of another table too if the join says that they are equal."""
    seen, pending = set(), [(column.table, column.name)]
    while pending:
        table, name = pending.pop()
        found = _inner(exp.column(name, table), alias, reading)
        if found is not None:
            return found
        seen.add((table, name))
        pending.extend(equal.get((table, name), set()) - seen)
    return None


def _from_table(value: exp.Expression, reading: Reading) -> bool:
    """Whether an expression's columns come from the table itself, and there is one."""
    names = {column.name for column in value.find_all(exp.Column)}
    return bool(names) and (reading.names == ("*",) or names <= reading.own)


def _over(value: exp.Expression, resolve: Callable[[exp.Column], exp.Expression | None]) -> exp.Expression | None:
    """Return the expression with its columns put in by `resolve`; None if one of them cannot be."""
    if not any(value.find_all(exp.Column)):
        return value if _names_branch(value) else None
    missing = False

    def put_in(node: exp.Expression) -> exp.Expression:
        nonlocal missing
        if not isinstance(node, exp.Column):
            return node
        found = resolve(node)
        missing = missing or found is None
        return node if found is None else exp.paren(found.copy()) if not isinstance(found, exp.Column) else found.copy()

    replaced = value.copy().transform(put_in)
    return None if missing else replaced


def _names_branch(value: exp.Expression) -> bool:
    """Whether a constant tells one branch of a union from another: a text or NULL. Times are those of a rendering."""
    inner = value.this if isinstance(value, exp.Cast) and value.is_type("text", "varchar") else value
    return isinstance(inner, exp.Null) or (isinstance(inner, exp.Literal) and inner.is_string)


def _plain(value: exp.Expression, select: exp.Select) -> bool:
    """Whether a projection has the value of the row it is made of."""
    if value.find(exp.AggFunc, exp.Window, exp.Query, exp.Star) is not None:
        return False
    group = select.args.get("group")
    if group is None:
        return True
    return any(value == key or (key.is_int and select.selects[int(key.name) - 1].unalias() == value) for key in group)


def _equalities(select: exp.Select) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Return which columns a join sets equal, both ways."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for join in select.args.get("joins") or ():
        condition = join.args.get("on")
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            same = part.unnest() if part is not None else None
            if isinstance(same, exp.EQ | exp.NullSafeEQ):
                left, right = same.left, same.right
                if isinstance(left, exp.Column) and isinstance(right, exp.Column):
                    ends = (left.table, left.name), (right.table, right.name)
                    found.setdefault(ends[0], set()).add(ends[1])
                    found.setdefault(ends[1], set()).add(ends[0])
    return found


def _outer(select: exp.Select) -> set[str]:
    """Return the aliases of which a row may have none."""
    joins = select.args.get("joins") or ()
    found = {str(join.alias_or_name) for join in joins if join.side in {"LEFT", "FULL"}}
    if any(join.side in {"RIGHT", "FULL"} for join in joins):
        source = select.args.get("from_") or select.args.get("from")
        found.add(str(source.alias_or_name))
    return found
