"""The questions of the probes: heads of the lake, freshness and checks of a destination, ends of a topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.compose import every_table
from engine.errors import NotPublishedError

if TYPE_CHECKING:
    from engine.config.project import Project
    from sources.protocol import Resource


@dataclass(frozen=True, slots=True)
class Held:
    """What a destination has: (newest arrival, rows, cursor) by table, its checks, its size where it can tell."""

    tables: Mapping[str, tuple[datetime, int, int]]
    checks: Sequence[Mapping[str, Any]]
    size: int | None


@dataclass(frozen=True, slots=True)
class Landed:
    """What the lake has: (number, time) of each table's newest package, the time of each topic's."""

    tables: Mapping[str, tuple[int, datetime]]
    topics: Mapping[tuple[str, str], datetime]


def in_lake(project: Project, topics: Mapping[tuple[str, str], Resource]) -> Landed:
    """Ask the lake; of topics by source and resource. Raises LakeError."""
    lake = _lake(project)
    heads = {table.name: lake.head(table.name) for table in every_table(project)}
    newest = {}
    for (source, name), resource in topics.items():  # its table may have packages of other sources too
        head = heads.get(resource.table.name)
        seq = head.last_by_source.get(f"{source}/{name}") if head else None
        if seq:
            (entry,) = lake.entries(resource.table.name, seq - 1, 1)
            newest[source, name] = entry.committed_at
    return Landed({name: (head.seq, head.committed_at) for name, head in heads.items() if head}, newest)


def held(project: Project, name: str) -> Held:
    """Ask a destination. Raises TickhouseError. Nothing is opened that a run may have to wait for."""
    from destinations import open_destination
    from engine.models.checks import last_checks
    from engine.status import freshness

    settings = project.destinations[name]
    opened = open_destination(name, settings, project.project_dir, project.data_dir)
    size = None
    try:
        size = opened.size_bytes() if hasattr(opened, "size_bytes") else None
        tables = {row[0]: (row[1], int(row[2]), int(row[3])) for row in freshness(project, name)}
    except NotPublishedError:
        return Held({}, (), size)
    # a DuckDB file that somebody reads cannot be opened by its writer: of that only the published copy is read
    checks = last_checks(opened, unpublished=settings.type != "duckdb") if settings.runs_models else ()
    return Held(tables, checks, size)


def ends(project: Project, source: str, resource: Resource) -> Mapping[int, tuple[int, int]]:
    """Ask the brokers: by partition the offset to land next, and the end. Raises SourceError, LakeError."""
    assert resource.behind is not None  # noqa: S101 - the caller asks topics only
    state, _ = _lake(project).state(source, resource.name, resource.table.name)
    return resource.behind(source, state)


def _lake(project: Project) -> Any:
    from engine.lake.lake import open_lake

    return open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache")
