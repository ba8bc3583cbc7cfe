"""`engine diff ENV`: what an environment's changed models hold that production's do not, row by row of the same key.

All of it is read from what readers see; nothing is written. Columns whose name starts with `_` (lineage) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.models.environments import existing
from engine.models.graph import kept_by
from engine.models.plan import PROD, Document, short
from engine.models.planning import planning_context, published
from engine.query_output import plain
from engine.sql import identifier

if TYPE_CHECKING:
    from destinations.protocol import Warehouse
    from engine.config.project import Project

SAMPLED = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """A model in both places: the names of its views (None where it is not) and the columns of its grain."""

    model: str
    before: str | None
    after: str | None
    grain: Sequence[str]


def data_diff(
    project: Project,
    name: str,
    warehouse: Warehouse,
    environment: str,
    *,
    sampled: int = SAMPLED,
) -> Document:
    """Return {warehouse, environment, models: [...]}, each model as `_compared` describes it.

    Raises UsageError for an unknown environment, TickhouseError when readers cannot see it yet.
    """
    with (
        published(warehouse) as reader,
        planning_context(project, name, warehouse, reader, load=False) as context,
    ):
        there = existing(context, environment)
        if reader is None:
            raise TickhouseError("nothing is published yet", "Run a pipeline first: `engine run --all`.")
        models = [_compared(reader, pair, sampled) for pair in _pairs(context, there)]
        return {"warehouse": name, "environment": environment, "models": models}


def _pairs(context: Any, environment: Any) -> list[Pair]:
    """The models that the environment has otherwise than production, a table of the same version left out."""
    prod = context.state_reader.get_environment(PROD)
    before = {info.name: info for info in prod.promoted_snapshots} if prod else {}
    after = {info.name: info for info in environment.promoted_snapshots}
    held = {info.name for info in environment.snapshots}
    changed = [
        name
        for name, info in after.items()
        if info.is_model
        and (
            name not in before or (before[name].snapshot_id != info.snapshot_id and not _same_table(before[name], info))
        )
    ]
    removed = [name for name, info in before.items() if info.is_model and name not in held]
    infos = [after.get(name) or before[name] for name in [*changed, *removed]]
    models = {snapshot.name: snapshot.model for snapshot in context.state_reader.get_snapshots(infos).values()}
    return sorted(
        (
            Pair(
                short(name),
                _view(before.get(name), prod),
                _view(after.get(name), environment),
                _grain(models[name]),
            )
            for name in [*changed, *removed]
        ),
        key=lambda pair: pair.model,
    )


def _same_table(before: Any, after: Any) -> bool:
    return bool(before.version == after.version and not after.is_view)


def _view(info: Any, environment: Any) -> str | None:
    if info is None:
        return None
    table = info.qualified_view_name.table_for_environment(environment.naming_info)
    return f"{identifier(table.db)}.{identifier(table.name)}"


def _grain(model: Any) -> list[str]:
    """The columns that tell a row from another: the model's grain, or what its rows are kept by.

    Of a satellite these are its key and what tells a version, but for the hash of what it says: an edit may change it.
    """
    from sqlglot import exp

    if model.grains:
        return [column.name for column in model.grains[0].find_all(exp.Column)]
    return [name for name in kept_by(model) if name != "hashdiff"]


def _compared(reader: Any, pair: Pair, sampled: int) -> Document:
    """Return {model, status, rows, columns, ...} of one model.

    status: changed, added, removed. rows: {prod, env}. columns: {added, removed, retyped}. Of a changed model also
    `by` (the grain), only_in_prod, only_in_env, differing, equal (rows), `differs` (column -> rows) and samples; where
    the grain is missing or not unique, whole rows are compared: equal, only_in_prod, only_in_env.
    """
    before, after = _columns(reader, pair.before), _columns(reader, pair.after)
    found: Document = {
        "model": pair.model,
        "status": "added" if pair.before is None else "removed" if pair.after is None else "changed",
        "rows": {"prod": _count(reader, pair.before), "env": _count(reader, pair.after)},
        "columns": {
            "added": [name for name in after if name not in before],
            "removed": [name for name in before if name not in after],
            "retyped": {
                name: [before[name], after[name]] for name in after if name in before and before[name] != after[name]
            },
        },
    }
    if pair.before is None or pair.after is None:
        return found
    shared = [name for name in after if name in before and not name.startswith("_")]
    if pair.grain and set(pair.grain) <= set(shared) and _unique(reader, pair):
        return found | _by_key(reader, pair, shared, sampled)
    return found | _by_row(reader, pair, shared, sampled)


def _columns(reader: Any, view: str | None) -> dict[str, str]:
    if view is None:
        return {}
    import duckdb

    try:
        rows = reader.execute(f"DESCRIBE SELECT * FROM {view}").fetchall()
    except duckdb.CatalogException as error:
        raise TickhouseError(
            f"readers do not see {view.replace(chr(34), '')} yet",
            "The environment is published with the next run that ends well: `engine run --all`, then this again.",
        ) from error
    return {str(row[0]): str(row[1]) for row in rows}


def _count(reader: Any, view: str | None) -> int | None:
    return None if view is None else int(reader.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0])


def _unique(reader: Any, pair: Pair) -> bool:
    key = ", ".join(map(identifier, pair.grain))
    twice = " UNION ALL ".join(
        f"(SELECT 1 FROM {view} GROUP BY {key} HAVING count(*) > 1 LIMIT 1)" for view in (pair.before, pair.after)
    )
    return not reader.execute(twice).fetchall()


def _by_key(reader: Any, pair: Pair, shared: Sequence[str], sampled: int) -> Document:
    """Compare rows of the same key, column by column."""
    values = [name for name in shared if name not in pair.grain]
    on = " AND ".join(f"p.{identifier(name)} IS NOT DISTINCT FROM e.{identifier(name)}" for name in pair.grain)
    differs = {name: f"p.{identifier(name)} IS DISTINCT FROM e.{identifier(name)}" for name in values}
    some = " OR ".join(differs.values()) or "false"
    joined = f"(SELECT true AS _in, * FROM {pair.before}) AS p FULL JOIN (SELECT true AS _in, * FROM {pair.after}) AS e"
    both = "p._in AND e._in"
    counts = [
        "count(*) FILTER (e._in IS NULL)",
        "count(*) FILTER (p._in IS NULL)",
        f"count(*) FILTER ({both} AND ({some}))",
        f"count(*) FILTER ({both} AND NOT ({some}))",
        *(f"count(*) FILTER ({both} AND {condition})" for condition in differs.values()),
    ]
    row = reader.execute(f"SELECT {', '.join(counts)} FROM {joined} ON {on}").fetchall()[0]
    sides = [f"{side}.{identifier(name)}" for name in [*pair.grain, *values] for side in ("p", "e")]
    chosen = f"SELECT {', '.join(sides)} FROM {joined} ON {on} WHERE {{}} ORDER BY ALL LIMIT {int(sampled)}"
    samples = {
        "differing": [
            _difference(found, pair.grain, values) for found in _rows(reader, chosen.format(f"{both} AND ({some})"))
        ],
        "only_in_prod": [_side(found, pair.grain, 0) for found in _rows(reader, chosen.format("e._in IS NULL"))],
        "only_in_env": [_side(found, pair.grain, 1) for found in _rows(reader, chosen.format("p._in IS NULL"))],
    }
    return {
        "by": list(pair.grain),
        "only_in_prod": row[0],
        "only_in_env": row[1],
        "differing": row[2],
        "equal": row[3],
        "differs": {name: count for name, count in zip(differs, row[4:], strict=True) if count},
        "samples": samples,
    }


def _by_row(reader: Any, pair: Pair, shared: Sequence[str], sampled: int) -> Document:
    """Compare whole rows, as often as each is there."""
    names = ", ".join(map(identifier, shared))
    gone = f"SELECT {names} FROM {pair.before} EXCEPT ALL SELECT {names} FROM {pair.after}"
    new = f"SELECT {names} FROM {pair.after} EXCEPT ALL SELECT {names} FROM {pair.before}"
    lost, gained = (reader.execute(f"SELECT count(*) FROM ({one})").fetchall()[0][0] for one in (gone, new))
    rows = _count(reader, pair.before) or 0
    shown = {
        side: [
            dict(zip(shared, found, strict=True)) for found in _rows(reader, f"{one} ORDER BY ALL LIMIT {int(sampled)}")
        ]
        for side, one in (("only_in_prod", gone), ("only_in_env", new))
    }
    return {"by": None, "only_in_prod": lost, "only_in_env": gained, "equal": rows - lost, "samples": shown}


def _rows(reader: Any, sql: str) -> list[list[Any]]:
    """Rows of JSON values; by way of Arrow, so that instants need no zone data."""
    table = reader.execute(sql).to_arrow_table()
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _difference(row: Sequence[Any], grain: Sequence[str], values: Sequence[str]) -> Mapping[str, Any]:
    pairs = list(zip(row[::2], row[1::2], strict=True))
    key = {name: pair[0] for name, pair in zip(grain, pairs, strict=False)}
    changed = {name: list(pair) for name, pair in zip(values, pairs[len(grain) :], strict=True) if pair[0] != pair[1]}
    return {"key": key, "columns": changed}


def _side(row: Sequence[Any], grain: Sequence[str], side: int) -> Mapping[str, Any]:
    return {"key": {name: row[2 * at + side] for at, name in enumerate(grain)}}
