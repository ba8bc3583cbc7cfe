"""A server on loopback that answers from a script, and the context of a source that talks to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sources.protocol import SourceContext

Answer = tuple[int, dict[str, str], bytes]
Step = Answer | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What the server answers, one step a request; the last one for ever."""

    steps: list[Step] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Script]:
    script = Script()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                step = script.steps[min(len(script.seen), len(script.steps) - 1)]
                script.seen.append((self.path, dict(self.headers)))
            if callable(step):
                self.close_connection = True
                step(self)
                return
            status, headers, body = step
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    httpd = Quiet(("127.0.0.1", 0), Handler)
    script.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield script
    httpd.shutdown()
    httpd.server_close()


@dataclass
class Told:
    """What a source reported."""

    waits: list[tuple[float, str]] = field(default_factory=list)
    notices: list[tuple[str | None, str]] = field(default_factory=list)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context(told: Told, tmp_path: Path) -> Callable[..., SourceContext]:
    def build(**changes: Any) -> SourceContext:
        given: dict[str, Any] = {
            "source": "probe",
            "assets": {},
            "now": datetime(2026, 5, 1, tzinfo=UTC),
            "project_dir": tmp_path,
            "data_dir": tmp_path,
            "notice": lambda message, *, item=None: told.notices.append((item, message)),
            "wait": lambda seconds, why: told.waits.append((seconds, why)),
        }
        return SourceContext(**{**given, **changes})

    return build
