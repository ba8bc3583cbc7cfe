"""`engine plan`: what pipelines.yaml and the models will do, and what an edit changes against the last runs.

A plan is a plain document (JSON values). Every run that landed something keeps its own in the data folder, one for
its pipeline and one of the whole file; the difference to them is what edits have changed.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from engine.errors import BusyError
from engine.models.dbt import has_models
from engine.plan.series import PARTS, series_difference, series_parts
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project

log = logging.getLogger(__name__)
Document = dict[str, Any]
PLACE = re.compile(r" \([^()]*:\d+\)")


def plan_document(project: Project, only: str | None = None) -> Document:
    """Return the plan of the whole file, or of one pipeline: assets, calls, tables, models, schedules."""
    names = [only] if only else list(project.file.pipelines)
    pairs = [(source, resource) for name in names for source, resource in project.resources_of(name)]
    used = {resource.assets for _, resource in pairs if resource.assets}
    return {
        "profile": project.profile_name,
        "assets": {name: _assets(project, name) for name in project.assets if only is None or name in used},
        "calls": [row for row in project.quota.as_json() if only is None or any(row["source"] == s for s, _ in pairs)],
        "tables": {
            resource.table.name: {column.name: column.data_type for column in resource.table.columns}
            for _, resource in pairs
        },
        **series_parts(resource.table for _, resource in pairs),
        "models": _models(project.project_dir / "transforms" / "models"),
        "pipelines": {name: _pipeline(project, name) for name in names},
        "skipped": dict(project.skipped_sources),
        "notes": list(project.notes),
    }


def _assets(project: Project, name: str) -> Document:
    """The symbols of a list, and for each source that follows the list those it does not carry."""
    missing: dict[str, list[str]] = {}
    for source, resources in project.resources.items():
        for resource in resources:
            if resource.assets == name and resource.carries is not None:
                left_out = [asset.symbol for asset in project.assets[name] if not resource.carries(asset)]
                if left_out:
                    missing[f"{source}.{resource.name}" if len(resources) > 1 else source] = left_out
    return {"symbols": [asset.symbol for asset in project.assets[name]], "not_carried": missing}


def _pipeline(project: Project, name: str) -> Document:
    from engine.schedule import parse_schedule

    block = project.file.pipelines[name]
    zone = project.file.timezone
    following = parse_schedule(block.schedule).next_runs(datetime.now(UTC), zone)[0] if block.schedule else None
    return {
        "schedule": block.schedule,
        "timezone": zone,
        "next_run": following.isoformat() if following else None,
        "extract": list(block.extract),
        "load": [destination for destination in block.load if destination in project.destinations],
    }


def _models(folder: Path) -> list[str]:
    return sorted(f"{path.parent.name}.{path.stem}" for path in folder.rglob("*.sql"))


def plan_file(data_dir: Path, pipeline: str | None = None) -> Path:
    """Where the plan of the last run of a pipeline is kept; without a name that of the whole file at the last run."""
    state = data_dir / "state"
    return state / "plans" / f"{quote(pipeline, safe='')}.json" if pipeline else state / "plan.json"


def keep(project: Project, pipeline: str) -> None:
    """Keep what a run of a pipeline was made with; on a disk that is full, what one before it was made with stays."""
    try:
        save(plan_document(project), plan_file(project.data_dir))
        save(plan_document(project, pipeline), plan_file(project.data_dir, pipeline))
    except OSError:  # no reason for a run to fail that has landed and loaded
        log.info("the plan was not kept", exc_info=True)


def changes_since(project: Project, only: str | None = None) -> list[str] | None:
    """What has changed since the last run of one pipeline, or of each; None if it, or every one, has never run.

    An edit is told until every pipeline that it concerns has run with it. Of a pipeline that has never run, the edits
    since the last run of any other are told.
    """
    known = {name: saved(plan_file(project.data_dir, name)) for name in ([only] if only else project.file.pipelines)}
    lines: list[str] = []
    for name, before in known.items():
        if before is not None:
            lines += _changes(before, plan_document(project, name))
    whole = None if only else saved(plan_file(project.data_dir))
    if whole is not None:
        lines += _changes(whole, plan_document(project))
    elif all(before is None for before in known.values()):
        return None
    return list(dict.fromkeys(lines))


def _changes(before: Document, after: Document) -> list[str]:
    return difference(_comparable(before), _comparable(after)) + series_difference(before, after)


def _comparable(document: Document) -> Document:
    """The plan without the lines of the file at which its reasons point: an edit above them changes nothing there.

    Of what sources are asked, the words that a person reads in place of the numbers that they follow from.
    """
    skipped = {name: PLACE.sub("", reason) for name, reason in document["skipped"].items()}
    notes = [PLACE.sub("", note) for note in document["notes"]]
    calls = [_calls(row) for row in document["calls"]]
    parts = {name: part for name, part in document.items() if name not in PARTS}
    return {**parts, "skipped": skipped, "notes": notes, "calls": calls}


def _calls(row: Document) -> Document:
    """One source's calls by pipeline and in all. What its schedules make of them is told with the schedules."""
    found = {name: row.get(name) for name in ("source", "per_minute", "per_month", "verdict")}
    for use in row["uses"]:
        calls, weight = use["calls_per_run"], use["weight_per_run"]
        found[use["pipeline"]] = f"{counted(calls, 'call')} a run{'' if weight == calls else f' of weight {weight:,}'}"
    return {**found, "total": f"{counted(row['calls_per_month'], 'call')} a month"}


def never_ran(project: Project) -> list[str]:
    """The pipelines of the file that have not landed anything yet with this profile."""
    return [name for name in project.file.pipelines if not plan_file(project.data_dir, name).exists()]


def model_plans(project: Project, only: str | None = None, environment: str | None = None) -> list[Document]:
    """The models' side for each warehouse that they run on: see engine.models.plan; `busy` where a run is building.

    SQLMesh is not imported when no pipeline runs models here, nor when no file has changed since the last run.
    """
    from destinations import open_destination
    from engine.models.plan import PROD, model_plan

    plans, target = [], environment or PROD
    for name in model_warehouses(project, only):
        warehouse = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
        try:
            plans.append(model_plan(project, name, warehouse, target))
        except (BusyError, ModuleNotFoundError) as error:
            why = error.line if isinstance(error, BusyError) else f"{error}: install tickhouse[models]"
            plans.append({"warehouse": name, "environment": target, "status": "busy", "reason": why})
    return plans


def model_warehouses(project: Project, only: str | None = None) -> list[str]:
    """Names of the warehouses on which pipelines (or one) of the active profile run models; none without models."""
    from destinations import open_destination
    from engine.compose import compose

    if not has_models(project.project_dir / "transforms"):
        return []
    pipelines = [compose(project, name) for name in ([only] if only else project.file.pipelines)]
    found = []
    for name, settings in project.warehouses.items():
        wanted = any(p.transform and name in p.destinations and (not p.on or name in p.on) for p in pipelines)
        opened = open_destination(name, settings, project.project_dir, project.data_dir)
        if wanted and hasattr(opened, "sqlmesh_connection"):
            found.append(name)
    return found


def save(document: Document, path: Path) -> None:
    """Write a plan, all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")  # pipelines run side by side
    try:
        partial.write_text(json.dumps(document))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def saved(path: Path) -> Document | None:
    """Return a plan that was kept, if there is one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


VOLATILE = frozenset({"next_run", "profile", "models"})
"""Not compared: what time changes, and the models, whose changes SQLMesh tells."""


def difference(before: Any, after: Any, path: str = "") -> list[str]:
    """One line for every value that was added (+), removed (-) or changed (~)."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in [*before, *(key for key in after if key not in before)]:
            here = f"{path}.{key}" if path else str(key)
            if key in VOLATILE:
                continue
            if key not in after:
                lines += _only("-", here, before[key])
            elif key not in before:
                lines += _only("+", here, after[key])
            else:
                lines += difference(before[key], after[key], here)
        return lines
    if isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(before, str):
        if all(isinstance(item, Mapping) and "source" in item for item in [*before, *after]):
            return difference({i["source"]: i for i in before}, {i["source"]: i for i in after}, path)
        gone = [item for item in before if item not in after]
        new = [item for item in after if item not in before]
        return [f"- {path}: {_word(item)}" for item in gone] + [f"+ {path}: {_word(item)}" for item in new]
    return [] if before == after else [f"~ {path}: {_word(before)} -> {_word(after)}{_refused(path, before, after)}"]


def _refused(path: str, before: Any, after: Any) -> str:
    """What a column's new type does, but for bigint and double (engine.conform and destinations alike)."""
    if not path.startswith("tables.") or (before, after) in {("bigint", "double"), ("double", "bigint")}:
        return ""
    return " (once rows have landed, its table stops until the type is back: land the column under another name)"


def _only(sign: str, path: str, value: Any) -> list[str]:
    """What only one of two plans has: every item of a list of words; else the name says it."""
    if isinstance(value, list) and value and not any(isinstance(item, Mapping | list) for item in value):
        return [f"{sign} {path}: {_word(item)}" for item in value]
    return [f"{sign} {path}"]


def _word(value: Any) -> str:
    """A value as a person writes it, never as Python does."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_word(item)}" for name, item in value.items()) or "nothing"
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value)) or "nothing"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
