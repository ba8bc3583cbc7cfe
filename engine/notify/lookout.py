"""From a long-running process: pipelines whose run is late or has never come, or died without a word.

And a pipelines file that cannot be read any more: its runs fail before they know whom to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.ledger import Ledger
from engine.notify.runs import death, tell
from engine.notify.texts import EDIT, SCHEDULE
from engine.standing import State, next_due, state_of
from engine.words import length

if TYPE_CHECKING:
    from engine.config.project import Project

EVERY_SECONDS = 30.0
"""How often one looks. It costs a glance at the ledger."""


class Lookout:
    """Looks at every pipeline with a schedule that has ever run, or is served: who starts it does not matter."""

    def __init__(self, project: Callable[[], Project], unread: Callable[[], str] | None = None) -> None:
        """Follow the project that `project()` returns at the time.

        `unread()` says why its file cannot be read as it is now ('' if it can); None: nobody knows.
        """
        self._project = project
        self._unread = unread

    def look(self, now: datetime | None = None) -> list[str]:
        """Tell what has changed by `now`; return what went wrong with telling."""
        project = self._project()
        if project.notify is None:
            return []
        now = now or datetime.now(UTC)
        ledger = Ledger(project.data_dir)
        wrong = self._look_at_the_file(project, now)
        for pipeline, block in project.file.pipelines.items():
            state = state_of(project, ledger, pipeline)
            if not block.schedule:
                wrong += tell(project, pipeline, {}, set[str]().__contains__, now)  # what a run could not tell
                continue
            broken = {}
            if state.died and state.standing:
                broken = death(pipeline, datetime.fromisoformat(state.standing.started_at))
            late = _late(project, ledger, pipeline, state, now)
            if late:
                broken[f"{SCHEDULE}{pipeline}"] = late
            seen = set() if ledger.paused_since(pipeline) else {f"{SCHEDULE}{pipeline}"}
            wrong += tell(project, pipeline, broken, seen.__contains__, now)
        return wrong

    def _look_at_the_file(self, project: Project, now: datetime) -> list[str]:
        if self._unread is None:
            return []
        key, why = f"{EDIT}{project.path.name}", self._unread()
        broken = {key: f"it cannot be read, and every run fails until it is corrected: {why}"} if why else {}
        return tell(project, project.path.name, broken, {key}.__contains__, now)


def _late(project: Project, ledger: Ledger, pipeline: str, state: State, now: datetime) -> str:
    """Why it is late, and what to do; '' if it is not."""
    expected = next_due(project, ledger, pipeline, state.standing)
    if expected is None or now < expected.late_at:
        return ""
    when = f"a run was due at {expected.at:%Y-%m-%d %H:%M} UTC, {length(now - expected.at)} ago"
    if state.running:
        under_way = "a backfill is"
        if state.standing is not None and state.standing.status == "running":
            began = datetime.fromisoformat(state.standing.started_at)
            under_way = f"the one that began at {began:%Y-%m-%d %H:%M} UTC is still"
        return (
            f"{when}, and {under_way} under way — Look what it does; "
            "the next one begins when it ends, and takes all that has come meanwhile."
        )
    return (
        f"{when}, and none has {'ever ' if state.standing is None else ''}begun — See that what starts the schedules "
        f"runs. By hand: engine run {pipeline} -p {project.profile_name} (it takes all that has come meanwhile)."
    )
