"""What a long-running process does beside its runs: it serves metrics, and tells people what is late.

For both it notes since when it runs pipelines by their schedules. Whoever runs schedules enters `attended`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.errors import TickhouseError
from engine.ledger import Ledger
from engine.standing import note_deployed

if TYPE_CHECKING:
    from engine.config.project import Project

log = logging.getLogger(__name__)
JOIN_SECONDS = 1.0
"""A message that is just being sent holds up the end of the process no longer than this."""


@contextmanager
def attended(project: Callable[[], Project], say: Callable[[str], None], only: str | None = None) -> Iterator[None]:
    """While the block runs, serve metrics if the profile has `metrics:`, and look out if the file has `notify:`.

    `project` returns the file as it is followed now; all of its schedules are, or `only` one pipeline's. What cannot
    be served is said, and keeps no run from running.
    """
    project = _noting(project, only)
    with ExitStack() as stack:
        settings = project().profile.metrics
        if settings is not None:
            from engine.metrics import serve

            try:
                server = stack.enter_context(serve(project, host=settings.host, port=settings.port))
                say(f"metrics for Prometheus: http://{settings.host}:{server.port}/metrics")
            except TickhouseError as error:
                say(f"no metrics: {error.line}")
        if project().notify is not None:
            stack.enter_context(_looking_out(project))
        yield


def _noting(project: Callable[[], Project], only: str | None) -> Callable[[], Project]:
    """Return the project as `project` does, and note each edit's schedules as those that are followed from now on."""
    noted: list[Project] = []

    def current() -> Project:
        found = project()
        if not noted or noted[0] is not found:
            try:
                note_deployed(found, Ledger(found.data_dir), only, datetime.now(UTC))
                noted[:] = [found]
            except TickhouseError:  # a ledger that is locked or broken, say: one tries again soon
                log.info("nobody noted the schedules", exc_info=True)
        return found

    return current


@contextmanager
def _looking_out(project: Callable[[], Project]) -> Iterator[None]:
    from engine.notify.lookout import EVERY_SECONDS, Lookout

    ended = threading.Event()
    lookout = Lookout(project)

    def look() -> None:
        while not ended.wait(EVERY_SECONDS):
            try:
                lookout.look()
            except Exception:  # a ledger that is locked or broken, say: one looks again soon
                log.info("nobody looked for late runs", exc_info=True)

    thread = threading.Thread(target=look, name="lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)
