"""A stand-in schema registry on a loopback port: the registry's own server is in no package registry.

    with SchemaRegistry() as registry:
        registry.url                # "schema.registry.url" of a client
        with registry.failing():    # every answer is 503
        with registry.refusing():   # nobody listens

It speaks the part of Confluent's REST interface that a client needs, in memory: a schema has one id under every
subject, versions count up within a subject. It checks no compatibility and does not parse a schema.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(Exception):
    """An answer that is no success: the registry's own five-digit code, whose first three are the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def status(self) -> int:
        return self.code if self.code < 1000 else self.code // 100


class Schemas:
    """The schemas of all subjects."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}

    def register(self, subject: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the id of a schema, a new version of the subject if it is new there."""
        if not isinstance(asked.get("schema"), str) or not asked["schema"]:
            raise RegistryError(42201, "Empty schema")
        schema = {key: asked[key] for key in ("schema", "schemaType", "references") if asked.get(key)}
        if schema.get("schemaType") == "AVRO":
            del schema["schemaType"]  # the default is never said
        with self._lock:
            if schema not in self._schemas:
                self._schemas.append(schema)
            number = self._schemas.index(schema) + 1
            versions = self._subjects.setdefault(subject, [])
            if number not in versions:
                versions.append(number)
        return {"id": number}

    def by_id(self, number: str) -> dict[str, Any]:
        with self._lock:
            if number.isdigit() and 0 < int(number) <= len(self._schemas):
                return self._schemas[int(number) - 1]
        raise RegistryError(40403, f"Schema {number} not found")

    def version(self, subject: str, wanted: str | None) -> dict[str, Any]:
        """Return a version of a subject, the latest where none is wanted."""
        with self._lock:
            versions = self._subjects.get(subject)
            if not versions:
                raise RegistryError(40401, f"Subject '{subject}' not found.")
            at = len(versions) if wanted is None else int(wanted) if wanted.isdigit() else 0
            if not 0 < at <= len(versions):
                raise RegistryError(40402, f"Version {wanted} not found.")
            number = versions[at - 1]
            return {"subject": subject, "version": at, "id": number, **self._schemas[number - 1]}

    def answer(self, method: str, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Route a request by its parts; subjects may hold anything that is quoted in the path."""
        match (method, [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]):
            case "POST", ["subjects", subject, "versions"]:
                return self.register(subject, asked)
            case "GET", ["schemas", "ids", number]:
                return self.by_id(number)
            case "GET", ["subjects", subject, "versions", "latest"]:
                return self.version(subject, None)
            case "GET", ["subjects", subject, "versions", number]:
                return self.version(subject, number)
        raise RegistryError(404, "HTTP 404 Not Found")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    registry: ClassVar[SchemaRegistry]

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.registry.asked.append(f"{method} {self.path}")
        status, answer = int(HTTPStatus.OK), {}
        try:
            if not self.registry.healthy:
                raise RegistryError(503, "Service Unavailable")
            answer = self.registry.schemas.answer(method, self.path, json.loads(body) if body else {})
        except ValueError:
            status, answer = 400, {"error_code": 400, "message": "Malformed JSON"}
        except RegistryError as error:
            status, answer = error.status, {"error_code": error.code, "message": error.message}
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("Connection", "close")  # a client that kept one would still be answered while refusing
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: `asked` keeps what came."""


class SchemaRegistry:
    """The server. `asked` lists every request that reached it, oldest first."""

    def __init__(self) -> None:
        self.schemas = Schemas()
        self.asked: list[str] = []
        self.healthy = True
        self._port = (
            socket.socket()
        )  # bound for as long as the registry lives, so that refusing gives the port to nobody
        self._port.bind(("127.0.0.1", 0))
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server: ThreadingHTTPServer | None = None
        self.url = f"http://127.0.0.1:{self._port.getsockname()[1]}"

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Answer everything with 503 while the block runs."""
        self.healthy = False
        try:
            yield
        finally:
            self.healthy = True

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Listen to nobody while the block runs; what was registered is kept."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def _start(self) -> None:
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(self._port.getsockname(), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._port.close()
