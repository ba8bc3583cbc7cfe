"""What a long-running process does beside its runs: it serves metrics. Whoever runs schedules enters `attended`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from engine.errors import TickhouseError

if TYPE_CHECKING:
    from engine.config.project import Project


@contextmanager
def attended(project: Callable[[], Project], say: Callable[[str], None]) -> Iterator[None]:
    """Serve the metrics of the profile while the block runs, if it has a `metrics:` block.

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
        yield
