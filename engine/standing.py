"""How a pipeline stands: its runs in the ledger, and whether one is under way or has died."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.locks import is_held

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.ledger import Ledger, Standing


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a pipeline. `standing` is None if it never ran; `died`: its newest run did not end."""

    standing: Standing | None
    running: bool
    died: bool = False

    @property
    def failed_in_a_row(self) -> int:
        """Runs since the last that went well which did not, one that died just now among them."""
        return (self.standing.failed_in_a_row if self.standing else 0) + self.died


def state_of(project: Project, ledger: Ledger, pipeline: str) -> State:
    """Look at the lock before and after the ledger: a run that begins or ends meanwhile has not died."""
    lock = project.data_dir / "locks" / f"pipeline-{pipeline}.lock"
    running = is_held(lock)
    standing = ledger.standing(pipeline)
    if running or standing is None or standing.status != "running":
        return State(standing, running)
    running = is_held(lock)
    again = ledger.standing(pipeline)
    died = not running and again is not None and again == standing
    return State(again, running, died)
