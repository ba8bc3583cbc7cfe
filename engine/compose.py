"""Compose: pipelines.yaml's words become the things a run works with - resources to extract, destinations to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.table import Column, Table
from sources.assets import SOURCE, TABLE, asset_resource
from sources.protocol import Resource

if TYPE_CHECKING:
    from engine.config.project import Project


@dataclass(frozen=True, slots=True)
class Composed:
    """One pipeline of the active profile, ready to run.

    `resources` are (source name, resource) in the order of the file; `skipped` says in one line each what the
    profile leaves out (an optional source without its key, a destination that only other profiles have).
    """

    pipeline: str
    resources: Sequence[tuple[str, Resource]]
    destinations: Mapping[str, Any]
    select: Sequence[str]
    transform: bool
    on: Sequence[str]
    skipped: Sequence[str]
    only: Sequence[Table] = ()
    rebuild: bool = False

    @property
    def tables(self) -> list[Table]:
        """The landed tables of this pipeline, each once (`only` names them where nothing is extracted)."""
        if self.only:
            return list(self.only)
        return list({resource.table.name: resource.table for _, resource in self.resources}.values())


def compose(project: Project, pipeline: str) -> Composed:
    """Resolve one pipeline by name. Raises UsageError with a near name when there is none."""
    from difflib import get_close_matches

    block = project.file.pipelines.get(pipeline)
    if block is None:
        near = get_close_matches(pipeline, project.file.pipelines, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Pipelines: {', '.join(project.file.pipelines)}."
        raise UsageError(f"there is no pipeline called {pipeline!r}", hint)
    resources: list[tuple[str, Resource]] = [(SOURCE, asset_resource(project.assets))]
    skipped: list[str] = []
    for reference in block.extract:
        name, _, wanted = reference.partition(".")
        if name in project.skipped_sources:
            skipped.append(f"source {name} is skipped: {project.skipped_sources[name]}")
            continue
        offered = project.resources[name]
        resources += [(name, resource) for resource in offered if not wanted or resource.name == wanted]
    destinations = {name: project.destinations[name] for name in block.load if name in project.destinations}
    skipped += [
        f"destination {name} is left out: {project.skipped_destinations[name]}"
        if name in project.skipped_destinations
        else f"destination {name} is skipped: profile {project.profile_name} has none of that name"
        for name in block.load
        if name not in project.destinations
    ]
    transform = block.transform
    settings = None if isinstance(transform, bool) else transform
    if settings and settings.on and not destinations.keys() & set(settings.on):
        skipped.append(f"its models run nowhere: of {', '.join(settings.on)} none is here")
    select = [] if settings is None else ([settings.select] if isinstance(settings.select, str) else settings.select)
    return Composed(
        pipeline=pipeline,
        resources=resources,
        destinations=destinations,
        select=[s for s in select if s],
        transform=transform is not False,
        on=settings.on if settings else [],
        skipped=skipped,
    )


def every_table(project: Project) -> list[Table]:
    """All landed tables that the configured sources can fill, each once: what models may read."""
    tables: dict[str, Table] = {}
    tables[TABLE] = asset_resource(project.assets).table
    for offered in project.resources.values():
        for resource in offered:
            tables.setdefault(resource.table.name, resource.table)
    return list(tables.values())


def pipelines_by_table(project: Project, destination: str) -> dict[str, list[str]]:
    """Return the pipelines that load each table into a destination, by table; of others it lacks nothing."""
    found: dict[str, list[str]] = {}
    for pipeline in project.file.pipelines:
        composed = compose(project, pipeline)
        if destination in composed.destinations:
            for table in composed.tables:
                found.setdefault(table.name, []).append(pipeline)
    return found


def typed_alike(offered: Mapping[str, Sequence[Resource]]) -> dict[str, list[Resource]]:
    """Let every source of a table know the types that another one declares for it, whichever lands first.

    Only where undeclared columns may come at all: a resource whose contract refuses them keeps to its own.
    """
    declared: dict[str, dict[str, Column]] = {}
    for resources in offered.values():
        for resource in resources:
            for column in resource.table.columns:
                plain = Column(column.name, column.data_type, description=column.description)
                declared.setdefault(resource.table.name, {}).setdefault(column.name, plain)
    return {
        source: [_with_columns(resource, declared.get(resource.table.name, {})) for resource in resources]
        for source, resources in offered.items()
    }


def _with_columns(resource: Resource, declared: Mapping[str, Column]) -> Resource:
    table = resource.table
    own = {column.name for column in table.columns}
    others = tuple(column for name, column in declared.items() if name not in own and not name.startswith("_"))
    if not others or table.contract.columns != "evolve":
        return resource
    return replace(resource, table=replace(table, columns=(*table.columns, *others)))
