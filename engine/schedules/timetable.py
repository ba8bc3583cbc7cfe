"""When each pipeline runs next, in the file's zone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.schedule import parse_schedule

if TYPE_CHECKING:
    from engine.config.project import Project

ON_REQUEST = "on request"


def timetable(project: Project, paused: Collection[str] = ()) -> dict[str, str]:
    """Return `0 20 * * *, next at 2026-11-23 20:00 +07` or `on request` by the pipeline's name.

    Those of `paused` have no next time.
    """
    now = datetime.now(UTC)
    lines = {}
    for name, block in project.file.pipelines.items():
        if name in paused:
            lines[name] = f"{block.schedule or ON_REQUEST} (paused on Prefect's page, and stays so)"
        elif block.schedule:
            due = parse_schedule(block.schedule).next_runs(now, project.file.timezone)[0]
            lines[name] = f"{block.schedule}, next at {due:%Y-%m-%d %H:%M %Z}"
        else:
            lines[name] = ON_REQUEST
    return lines
