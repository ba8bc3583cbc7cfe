"""The ingest side of `engine plan`: what pipelines.yaml will do, and what an edit changes against the last run.

A plan is a plain document (JSON values). The last finished run keeps its own in the data folder; the difference
between the two is what an edit changes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.config.project import Project

Document = dict[str, Any]


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


def save(document: Document, path: Path) -> None:
    """Keep the plan that a finished run was made with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")  # pipelines run side by side
    try:
        partial.write_text(json.dumps(document))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def saved(path: Path) -> Document | None:
    """Return the plan of the last finished run, if there is one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


VOLATILE = frozenset({"next_run", "profile"})


def difference(before: Any, after: Any, path: str = "") -> list[str]:
    """One line for every value that was added (+), removed (-) or changed (~)."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in [*before, *(key for key in after if key not in before)]:
            here = f"{path}.{key}" if path else str(key)
            if key in VOLATILE:
                continue
            if key not in after:
                lines.append(f"- {here}")
            elif key not in before:
                lines.append(f"+ {here}")
            else:
                lines += difference(before[key], after[key], here)
        return lines
    if isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(before, str):
        if all(isinstance(item, Mapping) and "source" in item for item in [*before, *after]):
            return difference({i["source"]: i for i in before}, {i["source"]: i for i in after}, path)
        gone = [item for item in before if item not in after]
        new = [item for item in after if item not in before]
        return [f"- {path}: {item}" for item in gone] + [f"+ {path}: {item}" for item in new]
    return [] if before == after else [f"~ {path}: {before} -> {after}"]


def page(document: Document, changes: list[str] | None) -> str:
    """Return the plan as one readable page."""
    lines = [f"profile {document['profile']}", ""]
    if changes is None:
        lines += ["First plan: nothing has run with this profile yet.", ""]
    else:
        lines += ["Changes since the last run:", *(f"  {line}" for line in changes or ["none"]), ""]
    lines.append("Assets")
    for name, assets in document["assets"].items():
        lines.append(f"  {name}: {len(assets['symbols'])}")
        for source, symbols in assets["not_carried"].items():
            lines.append(f"    {source} does not carry {', '.join(symbols[:12])}{' ...' if len(symbols) > 12 else ''}")  # noqa: PLR2004
    lines += ["", "Calls"]
    for row in document["calls"]:
        runs = ", ".join(f"{use['calls_per_run']} a run of {use['pipeline']}" for use in row["uses"])
        mark = {"ok": "", "warn": "WARN ", "refuse": "REFUSED "}[row["verdict"]]
        lines.append(f"  {row['source']}: {mark}{runs}; {row['sentence'] or 'within its limits'}")
    lines += ["", "Tables"]
    lines += [f"  landing.{table}: {len(columns)} declared columns" for table, columns in document["tables"].items()]
    lines += ["", "Models", *(f"  {model}" for model in document["models"]), "", "Pipelines"]
    for name, block in document["pipelines"].items():
        when = (
            f"{block['schedule']} {block['timezone']}, next {block['next_run']}" if block["schedule"] else "on request"
        )
        lines.append(f"  {name}: {when}")
        lines.append(f"    {', '.join(block['extract'])} -> {', '.join(block['load']) or 'the lake only'}")
    lines += ["", *(f"skipped: {name}: {reason}" for name, reason in document["skipped"].items())]
    lines += [f"note: {note}" for note in document["notes"]]
    return "\n".join(lines).rstrip()
