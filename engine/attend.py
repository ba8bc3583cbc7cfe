"""What a long-running process does beside its runs: it serves metrics, and tells people what is late.

Whoever runs schedules enters `attended`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from engine.errors import TickhouseError

if TYPE_CHECKING:
    from engine.config.project import Project

log = logging.getLogger(__name__)
JOIN_SECONDS = 1.0
"""A message that is just being sent holds up the end of the process no longer than this."""


@contextmanager
def attended(project: Callable[[], Project], say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, serve metrics if the profile has `metrics:`, and look out if the file has `notify:`.

    `project` returns the file as it is followed now. What cannot be served is said, and keeps no run from running.
    """
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
