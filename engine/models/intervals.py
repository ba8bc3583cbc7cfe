"""Which part of time a model has still to build. SQLMesh cuts time into five-minute intervals; two things are ours.

An interval that was cut short goes on where it ended: after a large load, building it anew would be the whole load
again. And a model for which nothing has arrived has nothing to build, however much time has passed. Both hold for
models that take rows by arrival: what arrived before the fence of a run (`begin_models`) was seen by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmesh import Context

KEYED = frozenset({"insert_new", "replace_groups", "keep_newest", "replace_arrived"})
"""Materializations (transforms/materializations) whose models take rows by arrival; others are left as they are."""

Interval = tuple[int, int]
"""Milliseconds since 1970: [start, end)."""

_newest: dict[str, int] = {}
"""When something last arrived that a model reads, directly or not, by the model's name; set by `note_arrivals`."""


def note_arrivals(context: Context, arrivals: Mapping[str, int]) -> None:
    """Remember for each model when the landed tables it reads last had a package (milliseconds since 1970)."""
    _newest.clear()
    for name in context.models:
        landed = {node.rsplit(".", 1)[-1].strip('"') for node in context.dag.upstream(name) if '."landing".' in node}
        if "_quarantine" in landed:  # any package may have set rows aside
            landed = set(arrivals)
        if landed:
            _newest[name] = max((arrivals[table] for table in landed if table in arrivals), default=0)


def take_only_what_arrived() -> None:
    """Let SQLMesh ask for no more than that. Done once a process."""
    from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot

    whole = Snapshot.missing_intervals
    if hasattr(whole, "__wrapped__"):
        return

    @wraps(whole)
    def missing_intervals(self: Snapshot, *args: Any, **kwargs: Any) -> list[Interval]:
        missing: list[Interval] = whole(self, *args, **kwargs)
        kind = self.model.kind if self.is_model else None
        if kind is None or not kind.is_custom or kind.materialization not in KEYED:
            return missing
        index = kwargs.get("deployability_index") or next((a for a in args if isinstance(a, DeployabilityIndex)), None)
        built = self.intervals if index is None or index.is_representative(self) else self.dev_intervals
        return unbuilt(missing, built, _newest.get(self.name))

    Snapshot.missing_intervals = missing_intervals


def tables_are_made(context: Context, until: datetime) -> None:
    """Say that a plan has just made every view, and every table empty; the run behind it does the filling.

    A view, and a table of which nothing has ever arrived, are built up to `until` by that.
    """
    from sqlmesh.core.snapshot.definition import SnapshotIntervals

    built = []
    for snapshot in context.snapshots.values():
        if not (snapshot.is_model and snapshot.version):
            continue
        kind = snapshot.model.kind
        if kind.is_view or (kind.is_custom and kind.materialization in KEYED and _newest.get(snapshot.name) == 0):
            start = snapshot.node.start or context.config.model_defaults.start or until
            interval = snapshot.inclusive_exclusive(start, until, strict=False, expand=False)
            built.append(
                SnapshotIntervals(
                    name=snapshot.name,
                    identifier=snapshot.identifier,
                    version=snapshot.version,
                    dev_version=snapshot.dev_version,
                    intervals=[interval],
                )
            )
    context.state_sync.add_snapshots_intervals(built)


def unbuilt(missing: Sequence[Interval], built: Sequence[Interval], newest: int | None) -> list[Interval]:
    """Return the missing intervals without their built beginnings; none if nothing has arrived since the last end."""
    if built and newest is not None and newest < built[-1][1] and all(start >= built[0][0] for start, _ in missing):
        missing = [interval for interval in missing if interval[0] < built[-1][0]]
    return [(max([start, *(high for low, high in built if low <= start < high < end)]), end) for start, end in missing]
