"""A small API whose answers a test scripts. Every row stands in the ledger, on disk, before a byte of it is served."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qsl, urlsplit

Wire = Literal["whole", "reset", "reset_middle", "trickle", "trickle_head", "short"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its number (from 1), path, query and headers (names in lower case)."""

    number: int
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `rows` go to the ledger; `body` is what is sent (by default the rows as a JSON list).

    `wire` is how it travels: reset at once, reset after half the body, a byte every `pace` seconds (the body only, or
    the head as well), or a body shorter than its announced length.
    """

    rows: Sequence[Any] = ()
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wire: Wire = "whole"
    pace: float = 0.2

    def bytes(self) -> bytes:
        """The body as it is sent: bytes as they are, text as UTF-8, anything else as JSON."""
        body = list(self.rows) if self.body is None else self.body
        if isinstance(body, bytes):
            return body
        if isinstance(body, str):
            return body.encode()
        return json.dumps(body).encode()


Script = Callable[[Asked], Reply]


class FakeApi:
    """`with FakeApi(file, script) as api:` serves at `api.url`; `api.script` may be replaced at any time."""

    def __init__(self, ledger: Path, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.faults_fired = 0
        self.label = ""
        """Written beside every row from now on: which run it is, say."""
        self._ledger = ledger.open("a", encoding="utf-8")
        self._path = ledger
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-api", daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._ledger.close()

    def ledger(self, label: str | None = None) -> list[Any]:
        """The rows served so far (under one label), in order, read back from the disk."""
        lines = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        return [line["row"] for line in lines if label is None or line["label"] == label]

    def reply(self, asked: Asked) -> Reply:
        """Ask the script; its rows are on disk when this returns."""
        with self._lock:
            self.asked.append(asked)
            reply = self.script(asked)
            for row in reply.rows:
                self._ledger.write(json.dumps({"label": self.label, "request": asked.number, "row": row}) + "\n")
            if reply.rows:
                self._ledger.flush()
                os.fsync(self._ledger.fileno())
            if reply.status >= 400 or reply.wire != "whole":
                self.faults_fired += 1
            return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: FakeApi

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of an answer is what several cases are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Say nothing on standard error."""

    def do_GET(self) -> None:
        api = cast("_Server", self.server).api
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = api.reply(Asked(len(api.asked) + 1, split.path, query, headers))
        if reply.wire == "reset":
            self._reset()
            return
        body = reply.bytes()
        head = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        start = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if reply.wire == "whole":
            self.wfile.write(start + body)
        elif reply.wire == "trickle_head":
            self._drip(start + body, reply.pace)
        else:
            self.wfile.write(start)
            self._hobble(reply, body)

    def _hobble(self, reply: Reply, body: bytes) -> None:
        if reply.wire == "trickle":
            self._drip(body, reply.pace)
            return
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if reply.wire == "short":
            self.close_connection = True
            return
        time.sleep(0.05)  # what was sent has to leave before the reset discards it
        self._reset()

    def _drip(self, data: bytes, pace: float) -> None:
        for at in range(len(data)):
            self.wfile.write(data[at : at + 1])
            self.wfile.flush()
            time.sleep(pace)

    def _reset(self) -> None:
        self.rfile.close()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
