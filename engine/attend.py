"""What a long-running process does beside its runs: it serves metrics, and tells people what is late.

For both it notes since when it runs pipelines by their schedules. Whoever runs schedules enters `attended`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.errors import TickhouseError
from engine.ledger import Ledger
from engine.standing import note_deployed

if TYPE_CHECKING:
    from engine.config.models import MetricsServer as Where
    from engine.config.project import Project
    from engine.metrics import MetricsServer

log = logging.getLogger(__name__)
JOIN_SECONDS = 1.0
"""A message that is just being sent holds up the end of the process no longer than this."""


@contextmanager
def attended(
    project: Callable[[], Project],
    say: Callable[[str], None],
    only: str | None = None,
    unread: Callable[[], str] | None = None,
) -> Iterator[None]:
    """While the block runs, serve metrics if the profile has `metrics:`, and look out if the file has `notify:`.

    `project` returns the file as it is followed now; all of its schedules are, or `only` one pipeline's. `unread` says
    why the file cannot be read as it is now, if its runs fail for that. What cannot be served is said, and keeps no run
    from running; an edit counts within half a minute.
    """
    from engine.notify.lookout import EVERY_SECONDS, Lookout

    project = _noting(project, only)
    served, told, lookout = _Served(project, say), _Told(project, say), Lookout(project, unread)
    served.follow()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            try:
                served.follow()
                told.follow(lookout.look())
            except Exception:  # a ledger that is locked or broken, say: one looks again soon
                log.info("nobody looked for late runs", exc_info=True)

    thread = threading.Thread(target=watch, name="lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)
        served.close()


class _Served:
    """The metrics, where the profile wants them now."""

    def __init__(self, project: Callable[[], Project], say: Callable[[str], None]) -> None:
        self._project = project
        self._say = say
        self._settings: Where | None = None
        self._server: MetricsServer | None = None
        self._said = ""

    def follow(self) -> None:
        settings = self._project().profile.metrics
        if settings == self._settings and (settings is None or self._server is not None):
            return
        if self._server is not None:
            self._say("the metrics are no longer served where they were")
        self.close()
        self._settings = settings
        if settings is None:
            return
        from engine.metrics import serve

        try:
            self._server = serve(self._project, host=settings.host, port=settings.port)
        except TickhouseError as error:  # another process has the port, say: one tries again soon
            said = f"no metrics: {error.line}"
        else:
            said = f"metrics for Prometheus: http://{settings.host}:{self._server.port}/metrics"
        if said != self._said:
            self._say(said)
        self._said = said

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


class _Told:
    """Whether people can be told: said when that changes, whichever process of the data folder has found it."""

    def __init__(self, project: Callable[[], Project], say: Callable[[str], None]) -> None:
        self._project = project
        self._say = say
        self._said = ""

    def follow(self, wrong: list[str]) -> None:
        """Say what is wrong with the webhook, or, where nothing is, with this telling."""
        from engine.notify.heard import unheard

        found = unheard(self._project()) or "; ".join(dict.fromkeys(wrong))
        if found != self._said:
            self._say(f"messages: {found or 'none fails any more'}")
        self._said = found


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
