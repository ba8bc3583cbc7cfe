"""A run whose parent has died ends at its next page: what it would report goes nowhere, and the next run goes on."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.run import Runner

LOOK_SECONDS = 1.0


def when_orphaned(runner: Runner) -> None:
    """Stop the run when the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        _write_to_nobody()
        runner.stop.set()
        runner.end_soon()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _write_to_nobody() -> None:
    """Have what is printed from here on go nowhere: the parent read it, and a pipe that nobody reads ends who writes.

    Prefect's console raises SystemExit then, in whatever step has something to say.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
