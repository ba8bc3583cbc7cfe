"""Prefect's server that ended by itself is started again, whatever stands in the way, and each reason is said once."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.schedules import server
from engine.schedules.server import LocalServer


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_each_reason_is_said_once_and_none_ends_the_watch(
    port: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(server, "AGAIN_SECONDS", 0.005)
    monkeypatch.setattr(server, "LONGEST_SECONDS", 0.01)
    said: list[str] = []
    watched = LocalServer(tmp_path, port.getsockname()[1], said.append)
    starts: list[str] = []
    lives = "pass"

    def spawn() -> None:
        starts.append(lives)
        if lives == "full disk":
            raise OSError(28, "No space left on device")
        watched._process = subprocess.Popen([sys.executable, "-c", lives], stdin=subprocess.PIPE)

    monkeypatch.setattr(watched, "_spawn", spawn)
    spawn()
    watching = threading.Thread(target=watched._watch)
    watching.start()
    until(lambda: len(said) == 1)
    time.sleep(0.1)
    assert starts == ["pass"]
    assert said[0].endswith("is taken: Prefect's server is started again once it is free")
    lives = "full disk"
    port.close()
    until(lambda: starts.count("full disk") > 3)
    assert "No space left on device" in said[1]
    lives = "import sys; sys.stdin.read()"
    until(lambda: lives in starts)
    until(lambda: len(said) == 3)
    assert said[2].startswith("Prefect's server ended by itself; it is started again")
    watched.end()
    watching.join(10)
    assert not watching.is_alive()
    assert len(said) == 3
