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
        runner.stop.set()
        runner.end_soon()

    threading.Thread(target=watch, name="parent", daemon=True).start()
