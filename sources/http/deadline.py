"""A deadline for a whole answer, headers and body: a read timeout alone lets a server send a byte a second for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Deadline:
    """Within `with`, connections of this thread are cut when the time is over; `expired` then says why."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self.cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the clock."""
        _local.deadline = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock; the connections stay usable if they were not cut."""
        _local.deadline = None
        self._timer.cancel()
        with self._lock:
            self._sockets.clear()

    def watch(self, lifeline: socket.socket) -> None:
        """Cut this connection when the time is over (or at once, if it is)."""
        with self._lock:
            self._sockets.append(lifeline)
            late = self.expired
        if late:
            _shut(lifeline)

    def cut(self) -> None:
        """End the answer now."""
        with self._lock:
            self.expired = True
            sockets = list(self._sockets)
            for each in sockets:
                _shut(each)


def _shut(lifeline: socket.socket) -> None:
    with contextlib.suppress(OSError):
        lifeline.shutdown(socket.SHUT_RDWR)


_local = threading.local()


def watch(lifeline: socket.socket) -> None:
    """Put a connection under this thread's deadline, if it has one."""
    deadline: Deadline | None = getattr(_local, "deadline", None)
    if deadline is not None:
        deadline.watch(lifeline)
