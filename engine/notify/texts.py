"""The words of a message: what broke and why, since when, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from engine.redact import Redactor, visible
from engine.words import length

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.notify.memory import Broken, Change

SCHEDULE = "schedule of "
"""How the key of a late pipeline begins."""
EDIT = "edit of "
"""How the key of a file that cannot be read begins."""
SHOWN = 8
"""Things that one message names."""
LONGEST = 600
"""Characters of one reason."""


def message(project: Project, pipeline: str, change: Change, now: datetime) -> str:
    """Return the whole text, secrets hidden; '' if there is nothing to tell."""
    late = [thing for thing in change.broke if thing.key.startswith(SCHEDULE)]
    parts = [
        *_part(f"LATE: {pipeline}", late, now),
        *_part(f"FAILED: {pipeline}", [thing for thing in change.broke if thing not in late], now),
        *_part(f"STILL SO: {pipeline}", change.still, now, since=True),
        *_part(f"WORKS AGAIN: {pipeline}", change.works, now, works=True),
    ]
    if not parts:
        return ""
    profile = project.profile_name
    hint = f"Look: engine status -p {profile}; engine doctor -p {profile}" if change.broke or change.still else ""
    where = f"(Tickhouse, profile {profile}, {now:%Y-%m-%d %H:%M} UTC)"
    text = "\n".join([*parts, *([hint] if hint else []), where])
    return _escaped(Redactor([*project.secrets, project.notify.webhook if project.notify else ""])(text))


def _part(
    title: str, things: Sequence[Broken], now: datetime, *, since: bool = False, works: bool = False
) -> list[str]:
    if not things:
        return []
    lines = []
    for thing in things[:SHOWN]:
        lasted = length(now - thing.since)
        what = thing.key.rpartition(" of ")[0] or thing.key
        if works:
            lines.append(f"• {what}, after {lasted}: {_works(thing.key)}")
        else:
            why = visible(" ".join(thing.why.split()))[:LONGEST]
            lines.append(f"• {what}, for {lasted} now: {why}" if since else f"• {what}: {why}")
    if len(things) > SHOWN:
        lines.append(f"• and {len(things) - SHOWN} more")
    return [title, *lines]


def _works(key: str) -> str:
    if key.startswith(EDIT):
        return "it can be read again, and every run goes by it"
    return "a run has begun" if key.startswith(SCHEDULE) else "this run has caught up, nothing is left to do"


def _escaped(text: str) -> str:
    """Write what Slack would take for a link or a mention as the characters that they are."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
