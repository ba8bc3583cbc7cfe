"""What only the lake, a destination or a broker can tell: each is asked in a thread of its own, now and then.

Whoever looks gets the last answer at once; one that hangs is told as down and holds up nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
REFRESH_SECONDS = 60.0
"""An answer is asked for again when it is older."""
SELDOM_SECONDS = 3600.0
"""The same for one that is billed."""
OVERDUE_SECONDS = 15.0
"""Who has not answered by then is down."""


class Probe(Generic[Answer]):
    """One thing that is asked. `up` is None until it has answered, or failed to, for the first time."""

    def __init__(self, name: str, ask: Callable[[], Answer], refresh_seconds: float = REFRESH_SECONDS) -> None:
        """`ask` raises where there is no answer."""
        self.name = name
        self.answer: Answer | None = None
        self.answered_at: float | None = None
        self._ask = ask
        self._refresh = refresh_seconds
        self._failed = False
        self._expired = False
        self._asked_at: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def up(self) -> bool | None:
        """Whether it answered when it was asked last."""
        if self._hangs():
            return False
        return None if not self._failed and self.answered_at is None else not self._failed

    def refresh(self) -> None:
        """Ask again in the background, if the last answer is old and nobody is asking."""
        idle = self._thread is None or not self._thread.is_alive()
        old = min(self._refresh, REFRESH_SECONDS) if self._failed else self._refresh
        if idle and (self._expired or self._asked_at is None or time.monotonic() - self._asked_at >= old):
            self._asked_at, self._expired = time.monotonic(), False
            self._thread = threading.Thread(target=self._once, name=f"probe {self.name}", daemon=True)
            self._thread.start()

    def expire(self) -> None:
        """Take the answer for an old one: what it told has changed."""
        self._expired = True

    def wait(self, seconds: float) -> None:
        """Wait for an answer that is under way."""
        if self._thread is not None:
            self._thread.join(max(seconds, 0.0))

    def _once(self) -> None:
        try:
            self.answer = self._ask()
            self.answered_at, self._failed = time.monotonic(), False
        except Exception:
            log.debug("%s did not answer", self.name, exc_info=True)
            self._failed = True

    def _hangs(self) -> bool:
        alive = self._thread is not None and self._thread.is_alive()
        return alive and self._asked_at is not None and time.monotonic() - self._asked_at > OVERDUE_SECONDS


def settle(probes: list[Probe[Any]], seconds: float) -> None:
    """Ask all that are due, and wait for their answers together, so long at most."""
    until = time.monotonic() + seconds
    for probe in probes:
        probe.refresh()
    for probe in probes:
        probe.wait(until - time.monotonic())
