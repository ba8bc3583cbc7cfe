"""Whether a server on this machine still answers, asked again and again beside everything else.

One that is stopped or stuck keeps its port and takes connections: nothing but a question in vain shows it.
"""

from __future__ import annotations

import threading
import time
from http.client import HTTPConnection, HTTPException

from engine.schedules.settings import HOST

ASK_SECONDS = 10.0
ANSWER_SECONDS = 15.0
"""A machine may be slow; one answer in time is enough."""
HUNG_SECONDS = 60.0
"""Four questions in vain at least."""
BEGIN_SECONDS = 180.0
"""The same for one that has not answered yet: it brings its database up to date first."""


class Answers:
    """Counts for how long the server on a port has been silent."""

    def __init__(self, port: int) -> None:
        """Ask nothing yet."""
        self.silent = 0.0
        """Seconds of questions in vain since the last answer."""
        self._port = port
        self._ever = False

    def begin_anew(self) -> None:
        """Have patience with a server that has just been started."""
        self.silent, self._ever = 0.0, False

    def note(self) -> None:
        """It has just answered."""
        self.silent, self._ever = 0.0, True

    def hung(self) -> bool:
        """Whether it has been silent for too long."""
        return self.silent >= (HUNG_SECONDS if self._ever else BEGIN_SECONDS)

    def ask_until(self, ending: threading.Event) -> None:
        """Ask until told to end. A machine that slept counts as one question in vain, whatever the clock says."""
        last, took = time.monotonic(), 0.0
        while not ending.wait(max(0.0, ASK_SECONDS - took)):
            began = time.monotonic()
            answered = health(self._port, ANSWER_SECONDS) != 0
            now = time.monotonic()
            if answered:
                self.note()
            else:
                self.silent += min(now - last, ANSWER_SECONDS)
            last, took = now, now - began


def health(port: int, seconds: float) -> int:
    """Return the status with which Prefect's server says how it is; 0: no answer in that time."""
    connection = HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
