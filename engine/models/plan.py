"""What an edit of the models changes: SQLMesh's plan, drawn on a copy of its state and without touching the warehouse.

`draw` is also what `engine apply` applies: what is shown is what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.models.errors import clear_model_errors
from engine.models.mistakes import refuse_mistakes
from engine.models.planning import EPOCH, arrivals, planning_context, published
from engine.models.reach import Node, ends
from engine.sql import literal

if TYPE_CHECKING:
    from sqlmesh import Context
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.snapshot import Snapshot

    from destinations.protocol import Warehouse
    from engine.config.project import Project

Document = dict[str, Any]
PROD = "prod"
BOOKKEEPING = frozenset({"_packages", "_cursor", "_model_runs", "_identity", "_checks"})
CATEGORIES = {
    "BREAKING": "breaking",
    "INDIRECT_BREAKING": "breaking",
    "NON_BREAKING": "non-breaking",
    "INDIRECT_NON_BREAKING": "non-breaking",
    "FORWARD_ONLY": "forward-only",
    "METADATA": "metadata",
}


def model_plan(project: Project, name: str, warehouse: Warehouse, environment: str = PROD) -> Document:
    """Return what applying the files to an environment of one warehouse would do (see `describe`), with rows estimated.

    Nothing is written anywhere. Raises ModelError for a broken file, BusyError beside a run that builds models.
    """
    if environment == PROD and _as_planned(project, name):
        return {"warehouse": name, "environment": environment, **NOTHING}
    with published(warehouse) as reader, planning_context(project, name, warehouse, reader) as context:
        refuse_mistakes(context, project)
        try:
            with clear_model_errors(project.project_dir):
                plan = draw(context, environment, datetime.now(UTC), lambda since: arrivals(reader, since))
        except NothingToTryError:
            return {"warehouse": name, "environment": environment, **NOTHING}
        found = {"warehouse": name, "environment": environment, **describe(plan)}
        _estimate(found, plan, reader)
        return found


def _as_planned(project: Project, name: str) -> bool:
    """Whether the files are those that were last planned; then SQLMesh need not be asked."""
    from engine.models.context import state_file
    from engine.models.transform import Marker, fingerprint

    planned = Marker(project, name).read().get("planned")
    return state_file(project, name).exists() and planned == fingerprint(project.project_dir / "transforms")


class NothingToTryError(UsageError):
    """A new environment without a change: the files are what production runs."""


def draw(
    context: Context, environment: str, until: datetime, arrived_since: Callable[[int], Mapping[str, list[int]]]
) -> Plan:
    """Return SQLMesh's plan that brings an environment to the files, each model built as far as is safe.

    `arrived_since(ms)` returns the instants (milliseconds, in order) of arrivals from `ms` on by landing table. Models
    that production runs as they are, and models that are built and wait for nothing, are not built.
    """
    from sqlmesh.utils.errors import NoChangesPlanError

    from engine.models.intervals import note_arrivals

    prod = context.state_reader.get_environment(PROD)
    current = {info.name: info for info in prod.snapshots} if prod else {}
    changed = [s for s in context.snapshots.values() if s.is_model and not _is(current.get(s.name), s)]
    try:
        plan = context.plan_builder(
            environment,
            skip_tests=True,
            run=True,
            ignore_cron=True,
            execution_time=until,
            backfill_models=[s.model.name for s in changed] if changed and environment != PROD else None,
        ).build()
    except NoChangesPlanError:
        raise NothingToTryError(
            f"there is nothing to try in {environment}: the model files are what production runs",
            "Edit a model under transforms/ first, then run this again.",
        ) from None
    start = context.config.model_defaults.start or until
    nodes = [_node(snapshot, current, start) for snapshot in plan.snapshots.values() if snapshot.is_model]
    landed = arrived_since(min((node.built for node in nodes if node.built is not None), default=0))
    note_arrivals(context, {table: instants[-1] for table, instants in landed.items()})
    limits = ends(nodes, landed, int(until.timestamp() * 1000))
    overrides = {name: EPOCH + timedelta(milliseconds=end) for name, end in limits.items()}
    return plan.model_copy(update={"end_override_per_model": overrides})


def _is(info: Any, snapshot: Snapshot) -> bool:
    return info is not None and info.snapshot_id == snapshot.snapshot_id


def _node(snapshot: Snapshot, current: Mapping[str, Any], start: Any) -> Node:
    from sqlglot import exp
    from sqlmesh.utils.date import to_timestamp

    # one that plain SQLMesh built from a later start on lacks what lies before: it is not built
    whole = snapshot.intervals and snapshot.intervals[0][0] <= to_timestamp(snapshot.node.start or start)
    tables = [exp.to_table(name) for name in snapshot.node.depends_on]
    info = current.get(snapshot.name)
    return Node(
        name=snapshot.name,
        parents=[parent.name for parent in snapshot.parents],
        reads=[table.name for table in tables if table.db == "landing" and table.name not in BOOKKEEPING],
        built=snapshot.intervals[0][1] if whole else None,
        moves=not (snapshot.model.kind.is_view or snapshot.model.kind.is_symbolic),
        shared=info is not None and info.version == snapshot.version,
    )


NOTHING: Mapping[str, Any] = {"status": "unchanged", "added": [], "changed": [], "removed": [], "build": []}


def describe(plan: Plan) -> Document:
    """Return a plan as JSON values. It names models only: where nothing but tests came or went, the lists are empty.

    added and removed: names. changed: {model, change: breaking | non-breaking | forward-only | metadata, because: the
    edited models above it, none if its own file changed}. build: {model, from, to, view}, instants ISO 8601.
    """
    diff = plan.context_diff
    above: dict[Any, list[str]] = {}
    for cause, downstream in plan.indirectly_modified.items():
        for found in downstream:
            above.setdefault(found, []).append(short(cause.name))
    changed = []
    for name, (new, _) in diff.modified_snapshots.items():
        if not new.is_model:
            continue
        category = CATEGORIES.get(new.change_category.name, "") if new.change_category else "breaking"
        because = sorted(above.get(new.snapshot_id, ())) if new.snapshot_id not in plan.directly_modified else []
        changed.append({"model": short(name), "change": category, "because": because})
    build = []
    for missing in plan.missing_intervals:
        snapshot = plan.snapshots[missing.snapshot_id]
        low, high = missing.intervals[0][0], missing.intervals[-1][1]
        build.append(
            {"model": short(snapshot.name), "from": _iso(low), "to": _iso(high), "view": snapshot.model.kind.is_view}
        )
    added = sorted(short(found.name) for found in diff.added if diff.snapshots[found].is_model)
    removed = sorted(short(found.name) for found, info in diff.removed_snapshots.items() if info.is_model)
    status = "changed" if diff.added or diff.removed_snapshots or changed or build else "unchanged"
    return {
        "status": "first" if diff.is_new_environment and diff.environment == PROD else status,
        "added": added,
        "changed": sorted(changed, key=lambda row: (bool(row["because"]), row["model"])),
        "removed": removed,
        "build": build,
    }


def short(fqn: str) -> str:
    """`marts.dim_customer` of '"lake"."marts"."dim_customer"'."""
    return ".".join(fqn.replace('"', "").split(".")[-2:])


def _iso(milliseconds: int) -> str:
    return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


def _estimate(found: Document, plan: Plan, reader: Any) -> None:
    """Add `rows` and `rows_from`: those of the model's table now, or at most those of the landed tables it reads."""
    import duckdb

    landed = _landed(plan)
    for row in found["build"]:
        row["rows"], row["rows_from"] = None, None
        if reader is None or row["view"]:
            continue
        schema, table = row["model"].split(".")
        with suppress(duckdb.Error):  # a new model has no table yet
            row["rows"] = reader.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchall()[0][0]
            row["rows_from"] = "its table now"
            continue
        names = ", ".join(literal(name) for name in sorted(landed[row["model"]])) or "NULL"
        query = f"SELECT coalesce(sum(rows), 0)::BIGINT FROM landing._packages WHERE table_name IN ({names})"
        row["rows"], row["rows_from"] = reader.execute(query).fetchall()[0][0], "the landed rows it reads, at most"


def _landed(plan: Plan) -> dict[str, frozenset[str]]:
    """The landing tables above each model."""
    from graphlib import TopologicalSorter

    nodes = {s.name: _node(s, {}, plan.execution_time) for s in plan.snapshots.values() if s.is_model}
    landed: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter({name: node.parents for name, node in nodes.items()}).static_order():
        if name in nodes:
            own = nodes[name]
            landed[name] = frozenset(own.reads).union(*(landed.get(parent, frozenset()) for parent in own.parents))
    return {short(name): tables for name, tables in landed.items()}
