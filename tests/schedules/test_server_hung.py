"""A Prefect server that hangs is killed and started again, and holds up no end; chaos: a real one that is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.schedules import answers, server
from engine.schedules.answers import Answers
from engine.schedules.server import LocalServer
from tests.faults.fake_api import FakeApi, Reply
from tests.kafka.processes import gone
from tests.schedules.prefect_api import PrefectApi
from tests.schedules.prefect_api import until as until_seen
from tests.schedules.served_project import ServedProject, free_port
from tests.schedules.test_server_again import until

SERVER = """
import socket, sys, threading
port, answer = int(sys.argv[1]), sys.argv[2].encode()
serving = socket.create_server(("127.0.0.1", port))
def serve():
    while True:
        asking, _ = serving.accept()
        asking.recv(1000)
        if answer:
            asking.sendall(answer)
            asking.close()
        else:
            held.append(asking)
held = []
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""
WELL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
BUSY = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Watched:
    """A LocalServer whose processes are stand-ins: each gives `answer`, or none."""

    def __init__(self, folder: Path, answer: str) -> None:
        self.port = free_port()
        self.said: list[str] = []
        self.answer = answer
        self.processes: list[subprocess.Popen[bytes]] = []
        self.server = LocalServer(folder, self.port, self.said.append)
        self.server._spawn = self._spawn  # type: ignore[method-assign]

    def _spawn(self) -> None:
        command = [sys.executable, "-c", SERVER, str(self.port), self.answer]
        self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        self.server._process = self.processes[-1]

    def start(self) -> None:
        self._spawn()
        for work in (self.server._watch, self.server._ask):
            threading.Thread(target=work, daemon=True).start()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Watched]]:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(server, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(answers, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.25)
    monkeypatch.setattr(answers, "HUNG_SECONDS", 1.0)
    monkeypatch.setattr(answers, "BEGIN_SECONDS", 2.0)
    made: list[Watched] = []

    def make(answer: str) -> Watched:
        made.append(Watched(tmp_path, answer))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.server.kill()
        for process in one.processes:
            process.wait(10)


def test_a_server_that_is_stopped_is_said_killed_and_started_again(watched: Callable[[str], Watched]) -> None:
    one = watched(WELL)
    until(lambda: one.server._health._ever)
    first = one.processes[0]
    first.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    until(lambda: len(one.said) == 1)
    assert time.monotonic() - stopped >= 0.5, "not at the first question in vain"
    assert one.said[0].startswith("Prefect's server does not answer; it is started again (its log: ")
    assert first.poll() == -signal.SIGKILL
    until(lambda: one.server._health._ever)
    assert (len(one.processes), one.processes[1].poll()) == (2, None)


def test_one_that_never_answers_has_longer_and_is_said_once(watched: Callable[[str], Watched]) -> None:
    one = watched("")
    time.sleep(1.3)
    assert one.said == []
    until(lambda: len(one.processes) == 3)
    assert len(one.said) == 1


def test_one_that_is_busy_does_answer(watched: Callable[[str], Watched]) -> None:
    one = watched(BUSY)
    until(lambda: one.server._health._ever)
    time.sleep(1.5)
    assert (one.said, len(one.processes), one.server._health.silent) == ([], 1, 0.0)


def test_a_late_answer_does_not_hold_up_the_watch(watched: Callable[[str], Watched], tmp_path: Path) -> None:
    server.LOG_BYTES, before = 10, server.LOG_BYTES
    try:
        answers.ANSWER_SECONDS = 5.0  # put back by the fixture
        watched("")
        time.sleep(0.2)
        (tmp_path / "server.log").write_bytes(b"x" * 11)
        asked = time.monotonic()
        until(lambda: (tmp_path / "server.log").read_bytes() == b"")
        assert time.monotonic() - asked < 2
    finally:
        server.LOG_BYTES = before


def test_a_machine_that_slept_is_one_question_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an answer makes all of it good."""
    now, replies = [0.0], [0, 0, 0, 0, 0, 200, 0]
    asking = Answers(1)
    seen: list[tuple[float, bool]] = []

    class Ending(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            now[0] += 3600 * 8 if len(seen) == 2 else timeout or 0.0
            seen.append((asking.silent, asking.hung()))
            return not replies

    def health(_port: int, seconds: float) -> int:
        reply = replies.pop(0)
        now[0] += 0 if reply else seconds
        return reply

    monkeypatch.setattr(answers, "health", health)
    monkeypatch.setattr(answers.time, "monotonic", lambda: now[0])
    asking._ever = True
    asking.ask_until(Ending())
    assert [silent for silent, _ in seen] == [0, 15, 30, 45, 60, 75, 0, 15]
    assert [hung for _, hung in seen] == [False] * 4 + [True] * 2 + [False] * 2


def test_no_server_is_started_once_the_end_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a watch that is just about to, and the one that is being started in that moment is ended."""
    monkeypatch.setattr(server, "MODULE", "this")
    real, begun, go = subprocess.Popen, threading.Event(), threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def slowly(*words: object, **more: object) -> subprocess.Popen[bytes]:
        begun.set()
        assert go.wait(10)
        started.append(real([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(server.subprocess, "Popen", slowly)
    one = LocalServer(tmp_path, free_port(), print)
    spawning, ending = threading.Thread(target=one._spawn), threading.Thread(target=one.end)
    spawning.start()
    assert begun.wait(10)
    ending.start()
    time.sleep(0.05)
    go.set()
    spawning.join(10)
    ending.join(10)
    assert [process.poll() for process in started] == [0]
    one._spawn()
    assert len(started) == 1


@pytest.mark.parametrize("answer", ["", "SSH-2.0-OpenSSH\r\n"])
def test_what_is_no_answer(answer: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as serving:

        def serve() -> None:
            asking, _ = serving.accept()
            asking.sendall(answer.encode())
            asking.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert answers.health(serving.getsockname()[1], 1) == 0
        thread.join()
        port = serving.getsockname()[1]
    assert answers.health(port, 1) == 0, "nobody listens"


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [5, 0])
def test_a_stopped_server_is_started_again_and_one_signal_ends_all(tmp_path: Path, seconds: int) -> None:
    """With a run under way; `seconds` after the stop, or once the server is there again."""
    asked: list[object] = []

    def never(request: object) -> Reply:
        asked.append(request)
        return Reply([{"id": 1, "name": "x"}], wire="trickle", pace=20)

    with FakeApi(tmp_path / "ledger.jsonl", never) as api:
        project = ServedProject(tmp_path / "project", api.url)
        project.source("slow")
        project.pipeline("long", "slow", retries=0)
        project.write()
        port = free_port()
        prefect = PrefectApi(f"http://127.0.0.1:{port}")
        with project.up("--port", str(port)) as up:
            up.ready(120)
            prefect.start("long")
            until_seen(lambda: len(asked), bool, 60)
            first = set(up.runs())
            (hung,) = [pid for pid in first if b"server_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(hung, signal.SIGSTOP)
            try:
                time.sleep(seconds)
                if not seconds:
                    until_seen(up.said, lambda text: "does not answer; it is started again" in text, 90)
                    until_seen(prefect.answers, bool, 60)
                    assert gone([hung], 1)
                started = first | set(up.runs())
                up.process.send_signal(signal.SIGINT)
                assert up.process.wait(45) == 0
                assert gone(started, 1)
            finally:
                for pid in first:
                    if Path(f"/proc/{pid}").exists():
                        os.kill(pid, signal.SIGKILL)
