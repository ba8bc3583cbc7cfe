"""Whether people hear: how the last message to the webhook went, and whether its host answers.

One small file in <data>/state, written by whichever process sent the message. An address is not in it: it is a secret.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from engine.notify.memory import write
from engine.notify.webhook import ANSWER_SECONDS, CONNECT_SECONDS

if TYPE_CHECKING:
    from engine.config.project import Project

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Last:
    """The last message to the address of today. `why` it did not arrive, '' if it did; so it is since `since` (UTC)."""

    at: datetime
    why: str
    since: datetime


def note_sent(project: Project, why: str, now: datetime) -> None:
    """Keep how a message went; on a disk that is full one goes without."""
    before = last(project)
    since = before.since if before is not None and before.why == why else now
    kept = {"address": _address(project), "at": now.isoformat(), "why": why, "since": since.isoformat()}
    try:
        write(_path(project), json.dumps(kept).encode())
    except OSError:
        log.info("nobody noted how the last message went", exc_info=True)


def last(project: Project) -> Last | None:
    """Return how the last message went; None: none was sent to this address."""
    try:
        kept = json.loads(_path(project).read_text(encoding="utf-8"))
        if kept["address"] != _address(project):
            return None
        return Last(datetime.fromisoformat(kept["at"]), str(kept["why"]), datetime.fromisoformat(kept["since"]))
    except (OSError, ValueError, KeyError, TypeError):  # somebody's edit: the next message writes it anew
        return None


def unheard(project: Project) -> str:
    """Say in one line what went wrong with the last message, and since when it does; '' where nothing is known to."""
    found = last(project) if project.notify is not None else None
    if found is None or not found.why:
        return ""
    return f"the last one is not known to have arrived ({found.why}; so since {found.since:%Y-%m-%d %H:%M} UTC)"


def unreachable(url: str) -> str:
    """Ask the webhook's host for its first page, which tells nobody anything; return why it does not answer, or ''."""
    import requests

    parts = urlsplit(url)
    try:
        requests.head(
            urlunsplit((parts.scheme, parts.netloc, "/", "", "")),
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return f"{parts.hostname} cannot be reached ({type(error).__name__})"
    return ""


def _address(project: Project) -> str:
    """Tells one address from another, and does not show it."""
    assert project.notify is not None  # noqa: S101 - nobody else is told anything
    return hashlib.sha256(project.notify.webhook.encode()).hexdigest()[:12]


def _path(project: Project) -> Path:
    return project.data_dir / "state" / "last-message.json"
