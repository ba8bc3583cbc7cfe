"""What an audit of a keyed table looks for, in one query: keys that are missing, doubled, or known to no hub.

It looks at what has arrived in the run's interval, and at older rows only by `_key`: an audit costs what is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp, parse_one
from sqlmesh import macro

from macros.interval import arrived_in, end_of, start_of
from macros.keys import key_bits

if TYPE_CHECKING:
    from sqlmesh.core.macros import MacroEvaluator


@macro()
def key_problems(
    evaluator: MacroEvaluator,
    table: exp.Expression,
    key: exp.Expression,
    required: exp.Expression,
    optional: exp.Expression,
    hubs: exp.Expression,
) -> exp.Expression:
    """Return (problem, key columns...) for each key that the interval touched and that is not as it must be.

    `key` columns together occur once. They and the `required` ones are never NULL, but for those that are `optional`.
    Each of `hubs` (schema.hub_name) has every row's name_hk, by the 60 bits of it that are the hub's `_key`.
    """
    keys, needed = _column_names(key), _column_names(required)
    parents = [(hub.sql(dialect="duckdb"), f"{_last_part(hub).removeprefix('hub_')}_hk") for hub in _members(hubs)]
    carried = list(dict.fromkeys([*keys, *needed, *(column for _, column in parents)]))
    shown, this = ", ".join(keys), table.sql(dialect="duckdb", identify=True)
    bits = {f"_bits_{column}": key_bits(evaluator, exp.column(column)) for _, column in parents}
    arrived = arrived_in(evaluator)
    # of a key that a hub has got now there is no older row: it would have been an orphan, and told as one
    elder = " AND ".join(
        f"({column} IS NULL OR NOT _bits_{column} IN (SELECT _key FROM {hub} WHERE {arrived}))"
        for hub, column in parents
    )
    twice = (  # keys are compared where their first bits occur twice: one narrow column is read of older rows
        f"SELECT 'duplicate key' AS problem, {shown} FROM {this} WHERE _key IN (SELECT _key FROM ("
        "SELECT _key FROM touched UNION ALL "
        f"SELECT _key FROM {this} WHERE _arrived_at < {start_of(evaluator)} AND _key IN "
        f"(SELECT _key FROM touched WHERE {elder or 'TRUE'}) UNION ALL "
        f"SELECT _key FROM {this} WHERE _arrived_at > {end_of(evaluator)} AND _key IN (SELECT _key FROM touched)"
        f") AS there GROUP BY _key HAVING COUNT(*) > 1) GROUP BY {shown} HAVING COUNT(*) > 1"
    )
    nullable = _column_names(optional)
    missing = [column for column in dict.fromkeys([*keys, *needed]) if column not in nullable]
    named = " ".join(f"WHEN {column} IS NULL THEN 'no {column}'" for column in missing)
    anything = " OR ".join(f"{column} IS NULL" for column in missing)
    empty = f"SELECT CASE {named} END AS problem, {shown} FROM touched WHERE {anything}"
    # a parent mostly comes with its child: only of those that did not, all of the hub is searched
    apart = [
        f"apart_{column} AS (SELECT * FROM touched WHERE NOT {column} IS NULL AND NOT _bits_{column} IN "
        f"(SELECT _key FROM {hub} WHERE {arrived}))"
        for hub, column in parents
    ]
    orphans = [
        f"SELECT 'not in {hub}' AS problem, {shown} FROM apart_{column} WHERE NOT _bits_{column} IN "
        f"(SELECT _key FROM {hub} WHERE _key IN (SELECT _bits_{column} FROM apart_{column}))"
        for hub, column in parents
    ]
    query = parse_one(
        f"""
        WITH touched AS (
          SELECT {", ".join([*carried, "_key"])} FROM {this} WHERE {arrived}
        ){"".join(f", {each}" for each in apart)}
        {" UNION ALL ".join([twice, empty, *orphans])}
        """,
        dialect="duckdb",
    )
    rendered = query.transform(
        lambda node: bits[node.name].copy() if isinstance(node, exp.Column) and node.name in bits else node
    )
    return exp.Subquery(this=rendered, alias=exp.TableAlias(this=exp.to_identifier("problems")))


def _members(value: exp.Expression) -> list[exp.Expression]:
    """Return the members of `(a, b)`, or the one that stands alone."""
    if isinstance(value, exp.Tuple | exp.Array):
        return list(value.expressions)
    return [value.this] if isinstance(value, exp.Paren) else [value]


def _column_names(value: exp.Expression) -> list[str]:
    return [item.sql(dialect="duckdb") for item in _members(value)]


def _last_part(table: exp.Expression) -> str:
    """Return the last part of a dotted name, which reads as a column here."""
    return table.sql(dialect="duckdb").split(".")[-1].strip('"')
