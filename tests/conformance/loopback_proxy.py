"""A TCP proxy on loopback between a destination and its server, which a test tells when the network is to fail.

    with Proxy(server_port) as proxy:
        proxy.refuse()            # nothing listens any more: the kernel refuses
        proxy.reset_after(5000)   # so many bytes of the client's later: reset, and so is whoever connects from then on
        proxy.swallow()           # a black hole: every byte is taken, none is answered
        proxy.lose_answer()       # the client's words still arrive; the answer, and all that comes after it, is reset
        proxy.open()              # the network is well again
        proxy.fired               # how often the fault was felt: connections reset, or chunks swallowed

One lost answer is meant, not any: `lose_answer(b"...")` lets answers pass until one has these bytes in it.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

from tests.kafka.processes import Port

CHUNK = 65_536
TAIL = 64
"""Bytes of the last chunk that are looked through again: what is looked for may lie across two."""
PLAIN = (b"Accept-Encoding", b"Accept-Nothing-")
"""Requests lose this header, at the same length: answers are looked through as they stand."""


class Proxy:
    """Connections of one server's port, and the fault that they meet."""

    def __init__(self, server: int) -> None:
        """Take a port; connections are taken from `__enter__` on. `server` may change: one started anew has another."""
        self.server = server
        self._port = Port()
        self.port = self._port.number
        self.fired = 0
        self._listening: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._mode, self._left, self._sought = "open", 0, b""
        self._swallowed: list[tuple[socket.socket, socket.socket]] | None = None

    def __enter__(self) -> Self:
        """Take connections."""
        self.open()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Take no more, and end those that are open."""
        self.refuse()
        self._port.close()

    def open(self) -> None:
        """Let everything pass; what was swallowed is reset, as both sides would do in time."""
        if self._mode == "swallow":
            self._reset_all()
        self._mode = "open"
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
            threading.Thread(target=self._serve, args=(self._listening,), daemon=True).start()

    def refuse(self) -> None:
        """Listen no more; what is open is reset."""
        self._mode = "refuse"
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        self._reset_all()

    def reset_after(self, count: int) -> None:
        """Reset when the client has sent so many bytes more."""
        self._left, self._mode = count, "reset_after"

    def swallow(self, *, newcomers: bool = True) -> None:
        """Answer nothing, pass nothing on, close nothing; without `newcomers`, on what is connected already only."""
        self._swallowed, self._mode = None if newcomers else list(self._pairs), "swallow"

    def lose_answer(self, sought: bytes = b"") -> None:
        """Let the client's words pass and lose the next answer, or the next one with these bytes in it."""
        self._sought, self._mode = sought, "lose_answer"

    def _serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                if self._mode == "down":
                    self.fired += 1
                    _reset(client)
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.server))
                except OSError:
                    _reset(client)
                    continue
                with self._lock:
                    self._pairs.append((client, server))
                for pair, answers in (((client, server), False), ((server, client), True)):
                    threading.Thread(target=self._pump, args=pair, kwargs={"answers": answers}, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, answers: bool) -> None:
        tail = b""
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self._is_swallowed(source, target):
                    self.fired += 1
                    continue
                if self._fails(tail + data, len(data), answers=answers):
                    self.fired += 1
                    self._mode = "down"
                    self._reset_all()
                    return
                tail = data[-TAIL:]
                target.sendall(data if answers else data.replace(*PLAIN))
        with suppress(OSError):
            if not self._is_swallowed(source, target):
                target.shutdown(socket.SHUT_WR)

    def _is_swallowed(self, *pair: socket.socket) -> bool:
        if self._mode != "swallow":
            return False
        return self._swallowed is None or pair in self._swallowed or pair[::-1] in self._swallowed

    def _fails(self, data: bytes, fresh: int, *, answers: bool) -> bool:
        if self._mode == "down":
            return True
        if self._mode == "reset_after" and not answers:
            self._left -= fresh
            return self._left < 0
        return self._mode == "lose_answer" and answers and self._sought in data

    def _reset_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            _reset(client)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset, whatever was still to be read."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # a thread that reads it wakes up; a reset needs the last reference gone
        connection.close()
