"""What SIGINT and SIGTERM do: the first ends a command in order, the second at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


def on_end(finish: Callable[[], None]) -> None:
    """Call `finish` at the first signal; raise KeyboardInterrupt at the next."""
    asked = False

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        finish()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
