"""How a pipeline stands: its runs in the ledger, whether one is under way or has died, and when the next is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from engine.lateness import Due, due
from engine.locks import is_held

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.ledger import Ledger, RunRecord, Standing


class Noted(Protocol):
    """What the ledger says of a run."""

    @property
    def status(self) -> str:
        """As a RunRecord has it."""


N = TypeVar("N", bound=Noted)


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a pipeline. `standing` is None if it never ran; `died`: its newest run did not end.

    `running` is true of a backfill as well.
    """

    standing: Standing | None
    running: bool
    died: bool = False

    @property
    def failed_in_a_row(self) -> int:
        """Runs since the last that went well which did not, one that died just now among them."""
        return (self.standing.failed_in_a_row if self.standing else 0) + self.died


def state_of(project: Project, ledger: Ledger, pipeline: str) -> State:
    """Return how a pipeline stands by the runs that bring what is new."""
    return State(*_looked_at(project, pipeline, lambda: ledger.standing(pipeline)))


def last_run(project: Project, ledger: Ledger, pipeline: str) -> tuple[RunRecord | None, str | None]:
    """Return a pipeline's newest run, a backfill too, and its status: one that did not end is running or died."""
    last, running, died = _looked_at(project, pipeline, lambda: next(iter(ledger.last(pipeline, 1)), None))
    status = last.status if last else None
    return last, "running" if running else "died" if died else status


def _looked_at(project: Project, pipeline: str, look: Callable[[], N | None]) -> tuple[N | None, bool, bool]:
    """Return what the ledger notes, whether a run is under way, and whether the noted one has died.

    The lock is looked at before and after the ledger: a run that begins or ends meanwhile has not died.
    """
    lock = project.data_dir / "locks" / f"pipeline-{pipeline}.lock"
    running = is_held(lock)
    noted = look()
    if running or noted is None or noted.status != "running":
        return noted, running, False
    running = is_held(lock)
    again = look()
    return again, running, not running and again == noted


def next_due(
    project: Project, ledger: Ledger, pipeline: str, standing: Standing | None, since: datetime | None = None
) -> Due | None:
    """Return when a run is due behind the newest one, as `due_behind` has it."""
    began = datetime.fromisoformat(standing.started_at) if standing else None
    return due_behind(project, ledger, pipeline, began, since)


def due_behind(
    project: Project, ledger: Ledger, pipeline: str, run: datetime | None, since: datetime | None = None
) -> Due | None:
    """Return when a run is due behind one at `run`, or behind the day the schedule was deployed if that is later.

    None: it has no schedule, or nobody waits for it: it is paused, or it never ran, and no process has begun to run it
    by its schedule (without one, `since` counts).
    """
    schedule = project.file.pipelines[pipeline].schedule
    if not schedule or ledger.paused_since(pipeline):
        return None
    deployed = ledger.deployed_since(pipeline, _named(project, schedule))
    after = [at for at in (run, deployed) if at is not None]
    if not after and since is not None:
        after.append(since)
    return due(schedule, project.file.timezone, max(after)) if after else None


def note_deployed(project: Project, ledger: Ledger, only: str | None, now: datetime) -> None:
    """Note from when on a process that stays runs pipelines by their schedules: all of the file, or `only` one."""
    blocks = project.file.pipelines.items()
    found = {name: _named(project, block.schedule) for name, block in blocks if block.schedule}
    if only is None:
        ledger.deploy(found, now, others_end=True)
    elif only in found:
        ledger.deploy({only: found[only]}, now, others_end=False)
        ledger.pause({only: False}, now)  # a pause is `engine up`'s


def _named(project: Project, schedule: str) -> str:
    return f"{schedule} {project.file.timezone}"
