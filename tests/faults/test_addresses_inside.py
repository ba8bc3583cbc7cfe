"""What an API names or answers with does not make the engine ask a service of the machine or its network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fake_api import FakeApi, Reply
from tests.faults.rest_project import RESOURCE, RestProject
from tests.faults.small_project import clear

pytestmark = pytest.mark.faults


class Listener:
    """A loopback port that counts who connects."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.socket.close()


INSIDE = [
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]:PORT",
    "http://127.1:PORT",
    "http://0:PORT",
    "http://0.0.0.0:PORT",
    "http://2130706433:PORT",
    "http://0x7f000001:PORT",
    "http://0177.0.0.1:PORT",
    "http://[::ffff:127.0.0.1]:PORT",
    "http://localhost:PORT",
    "http://user@127.0.0.1:PORT",
    "http://example.com@127.0.0.1:PORT",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/x",
    "http://10.0.0.1",
    "http://rebound.example:PORT",
]


@pytest.mark.parametrize("url", INSIDE)
def test_addresses_inside_are_not_asked(
    tmp_path: Path, listener: Listener, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q09: no connection at all, one clear error. A name is resolved once, and what it resolves to is checked."""
    dialled: list[Any] = []
    resolved: list[str] = []
    real_resolve, real_connect = socket.getaddrinfo, socket.socket.connect

    def resolve(host: Any, port: Any, *words: Any, **more: Any) -> Any:
        resolved.append(str(host))
        if host == "rebound.example":  # public first, loopback ever after
            address = "8.8.8.8" if resolved.count("rebound.example") > 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
        return real_resolve(host, port, *words, **more)

    def connect(self: socket.socket, address: Any) -> None:
        dialled.append(address)
        real_connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("sources.http.limits._buckets", {})
    made = RestProject(
        tmp_path / "project",
        url.replace("PORT", str(listener.port)),
        RESOURCE,
        client={"allow_private": False, "tries": 1, "budget": 3},
    )
    ended = made.run()
    assert ended.code in {1, 2}, ended.text
    assert clear(ended.text, "base_url") == []
    assert dialled == []
    assert listener.calls == 0


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:PORT/x", "http://localhost:PORT/x", "file:///etc/passwd", "//[::1]:PORT/"]
)
def test_a_redirect_inside_is_not_followed(tmp_path: Path, api: FakeApi, listener: Listener, where: str) -> None:
    """Q09: an API that sends its clients to a loopback service."""
    target = where.replace("PORT", str(listener.port))
    api.script = lambda _: Reply(status=302, headers={"Location": target})
    made = RestProject(tmp_path / "project", api.url, RESOURCE)
    ended = made.run()
    assert api.asked
    assert ended.code == 1
    assert clear(ended.text, "shop", "redirect") == []
    assert listener.calls == 0
