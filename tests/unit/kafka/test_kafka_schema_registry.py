"""The client of the schema registry: what it asks, to whom it shows the password, and what is no registry."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.errors import SourceError
from sources.kafka.schema_registry import MAX_BODY, Registry, Schema, UnusableSchemaError
from sources.kafka.settings import KafkaSource
from sources.protocol import SourceContext

LONG = json.dumps("long")
Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers each path as it is told, and remembers what was asked with which authorisation."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[Any], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"server_of": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)

    def json(self, path: str, answer: Any, status: int = 200) -> None:
        self.answers[path] = (status, {"Content-Type": "application/json"}, json.dumps(answer).encode())


class Handler(BaseHTTPRequestHandler):
    server_of: ClassVar[Server]

    def do_GET(self) -> None:
        self.server_of.asked.append((self.path, self.headers.get("Authorization")))
        answer = self.server_of.answers[self.path]
        if callable(answer):
            answer(self)
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    running.thread.start()
    yield running
    running.http.shutdown()
    running.http.server_close()


def registry(url: str, seconds: float = 5.0, **settings: str) -> Registry:
    source = KafkaSource.model_validate(
        {
            "type": "kafka",
            "brokers": "127.0.0.1:1",
            "timeout_seconds": seconds,
            "schema_registry": {"url": url, **settings},
            "resources": {"orders": {"format": "avro"}},
        }
    )
    return Registry(source, SourceContext("stream", {}, datetime.now(UTC), Path(), Path(), lambda *_, **__: None))


def test_an_id_is_asked_for_once_and_what_it_refers_to_as_well(server: Server) -> None:
    reference = {"name": "shop.B", "subject": "b/c", "version": 3}
    server.json(
        "/schemas/ids/7", {"schema": '"A"', "references": [{"name": "X", "subject": "x", "version": 1}, reference]}
    )
    server.json("/subjects/x/versions/1", {"schema": '"X"', "references": [reference]})
    server.json("/subjects/b%2Fc/versions/3", {"schema": '"B"'})
    asked = registry(f"{server.url}/")
    assert asked.schema(7) == asked.schema(7) == Schema('"A"', ('"B"', '"X"'))
    assert len(server.asked) == 3


def test_schemas_that_refer_to_each_other_end(server: Server) -> None:
    server.json("/schemas/ids/1", {"schema": LONG, "references": [{"name": "X", "subject": "x", "version": 1}]})
    server.json(
        "/subjects/x/versions/1", {"schema": '"X"', "references": [{"name": "X", "subject": "x", "version": 1}]}
    )
    assert registry(server.url).schema(1) == Schema(LONG, ('"X"',))


def test_an_id_that_is_not_there_is_the_messages_fault_and_asked_for_once(server: Server) -> None:
    server.json("/schemas/ids/9", {"error_code": 40403, "message": "Schema not found"}, 404)
    server.json("/schemas/ids/8", {"schema": "syntax = 3", "schemaType": "PROTOBUF"})
    asked = registry(server.url)
    for _ in range(2):
        with pytest.raises(UnusableSchemaError, match="schema 9 is not in the registry"):
            asked.schema(9)
        with pytest.raises(UnusableSchemaError, match="schema 8 is of type PROTOBUF"):
            asked.schema(8)
    assert len(server.asked) == 2


def test_a_password_is_sent_to_its_host_alone(server: Server) -> None:
    other = Server()
    other.thread.start()
    other.json("/schemas/ids/1", {"schema": LONG})
    try:
        server.json("/schemas/ids/2", {"schema": LONG})
        server.answers["/schemas/ids/1"] = (302, {"Location": f"{other.url}/schemas/ids/1"}, b"")
        asked = registry(server.url, username="reader", password="geheim")  # noqa: S106 - made up
        asked.schema(2)
        assert server.asked == [("/schemas/ids/2", "Basic cmVhZGVyOmdlaGVpbQ==")]
        with pytest.raises(SourceError, match="sends on to http") as caught:
            asked.schema(1)
        assert "geheim" not in str(caught.value)
        assert other.asked == []
    finally:
        other.http.shutdown()
        other.http.server_close()


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_us_says_what_to_check(server: Server, status: int) -> None:
    server.json("/schemas/ids/1", {"error_code": status, "message": "no"}, status)
    with pytest.raises(SourceError, match=rf"127.0.0.1:\d+ does not let us in \({status}\)") as caught:
        registry(server.url).schema(1)
    assert caught.value.terminal
    assert "schema_registry.username" in caught.value.remedy


def endless(handler: Any) -> None:
    """Two hundred megabytes, to whoever takes them."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b" " * 1_000_000)
    except OSError:
        handler.server_of.asked.append(("cut", None))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"), "an HTML page where JSON was expected"),
        ((404, {"Content-Type": "text/html"}, b"<html>Not here</html>"), "an HTML page where JSON was expected"),
        ((404, {}, b'{"detail": "Not Found"}'), "answered 404 as no registry does"),
        ((200, {}, b"[1]"), "answered with no schema"),
        ((200, {}, b'{"schema": 5}'), "answered with no schema"),
        ((400, {}, b"{}"), "answered 400"),
        ((503, {}, b"{}"), "answered 503"),
        (endless, f"sent more than {MAX_BODY >> 20} MiB"),
    ],
)
def test_a_registry_that_is_none_is_an_error_of_the_topic(server: Server, answer: Any, reason: str) -> None:
    server.answers["/schemas/ids/1"] = answer
    with pytest.raises(SourceError, match=r"^stream: schema registry: ") as caught:
        registry(server.url).schema(1)
    assert reason in str(caught.value)
    assert "Nothing is lost" in caught.value.remedy


def test_a_registry_that_says_nothing_is_waited_for_as_long_as_is_allowed(server: Server) -> None:
    server.answers["/schemas/ids/1"] = lambda _: time.sleep(0.5)
    with pytest.raises(SourceError, match=r"within 0\.1 s"):
        registry(server.url, 0.1).schema(1)


def test_a_registry_that_is_down_and_up_again() -> None:
    from tests.kafka.registry import SchemaRegistry

    with SchemaRegistry() as running:
        running.schemas.register("orders-value", {"schema": LONG})
        asked = registry(running.url)
        with running.refusing(), pytest.raises(SourceError, match="refuses the connection"):
            asked.schema(1)
        with running.failing(), pytest.raises(SourceError, match="answered 503"):
            asked.schema(1)
        assert asked.schema(1) == Schema(LONG)
