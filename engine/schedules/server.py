"""Prefect's server on this machine: started, watched, started again when it dies or hangs, ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import TickhouseError
from engine.schedules.answers import Answers, health
from engine.schedules.settings import HOST

START_SECONDS = 90.0
STOP_SECONDS = 8.0
KILLED_SECONDS = 2.0
"""What the kernel takes to end a process that was killed; one that waits for a disk may take longer."""
LOOK_SECONDS = 0.5
QUICK_SECONDS, OK = 2.0, 200
AGAIN_SECONDS, LONGEST_SECONDS = 2.0, 30.0
"""Between two starts of a server that does not stay; twice as long each time."""
STAYS_SECONDS = 60.0
"""One that has run for so long does stay."""
LOG_BYTES = 10_000_000
MODULE = "engine.schedules.server_process"


class LocalServer:
    """One server process; a thread starts it again when it ends by itself or no longer answers."""

    def __init__(self, folder: Path, port: int, say: Callable[[str], None]) -> None:
        """Start nothing yet."""
        self.address = f"http://{HOST}:{port}"
        self._port = port
        self._log = folder / "server.log"
        self._say = say
        self._ending = threading.Event()
        self._starting = threading.Lock()
        """No server is started once `_ending` is set: whoever sets it finds the last one under this lock."""
        self._process: subprocess.Popen[bytes] | None = None
        self._health = Answers(port)

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it answers. Raises TickhouseError when it does not."""
        if is_taken(self._port):
            raise TickhouseError(
                f"port {self._port} of {HOST} is taken, by another `engine up` or another server",
                "End that one, or choose another port: engine up --port NUMBER. To use a Prefect server that runs "
                "already, set PREFECT_API_URL.",
            )
        self._spawn()
        self._wait()
        self._health.note()
        for work, name in ((self._watch, "prefect server"), (self._ask, "prefect server's health")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def end(self, seconds: float = STOP_SECONDS) -> None:
        """End it, and leave no process behind; it is killed when it has not ended by itself after `seconds`."""
        process = self._last()
        if process is None:
            return
        if process.stdin:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _kill(process)

    def kill(self) -> None:
        """End it at once, also one that is stopped."""
        process = self._last()
        if process is not None:
            process.kill()

    def _last(self) -> subprocess.Popen[bytes] | None:
        """Start none from now on; the one there is."""
        self._ending.set()
        with self._starting:
            return self._process

    def _spawn(self) -> None:
        bound(self._log)
        with self._starting, self._log.open("ab") as log:
            if self._ending.is_set():
                return
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the engine, which ends it last
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while health(self._port, QUICK_SECONDS) != OK:
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline or self._ending.is_set():
                self.end()
                raise TickhouseError(
                    f"Prefect's server {'ended at once' if ended else 'does not answer'}", f"Its log: {self._log}"
                )
            time.sleep(LOOK_SECONDS)

    def _ask(self) -> None:
        """Ask it how it is: beside the watch, which no answer that is late holds up."""
        self._health.ask_until(self._ending)

    def _watch(self) -> None:
        """Start it again when it is gone: later and later while it does not stay, and each reason is said once."""
        pause, said, began = AGAIN_SECONDS, "", time.monotonic()
        while not self._ending.wait(LOOK_SECONDS):
            bound(self._log)
            why = self._gone()
            if not why:
                if time.monotonic() - began > STAYS_SECONDS and not self._health.silent:
                    pause, said = AGAIN_SECONDS, ""
                continue
            if is_taken(self._port):
                why = f"port {self._port} of {HOST} is taken: Prefect's server is started again once it is free"
            else:
                began = time.monotonic()
                self._health.begin_anew()
                try:
                    self._spawn()
                except OSError as error:  # a full disk, say
                    why = f"Prefect's server cannot be started, which is tried again: {error}"
            if self._ending.is_set():
                return
            if why != said:
                self._say(why)
            said = why
            self._ending.wait(pause)
            pause = min(2 * pause, LONGEST_SECONDS)

    def _gone(self) -> str:
        """Why another one has to be started; '' while it is there. One that hangs is killed: it may be stopped."""
        if self._process is None:
            return ""
        if self._process.poll() is not None:
            return f"Prefect's server ended by itself; it is started again (its log: {self._log})"
        if not self._health.hung() or self._ending.is_set():
            return ""
        _kill(self._process)
        return f"Prefect's server does not answer; it is started again (its log: {self._log})"


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILLED_SECONDS)


@contextmanager
def local_server(folder: Path, port: int, say: Callable[[str], None]) -> Iterator[LocalServer]:
    """Have a server while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    server = LocalServer(folder, port, say)
    try:
        server.start()
        yield server
    finally:
        server.end()


def bound(log: Path) -> None:
    """Begin a log anew that has become large, and keep the one before it beside it; who appends to it goes on."""
    with suppress(OSError):  # no log yet, or a disk that is full: it is bounded the next time
        if log.stat().st_size > LOG_BYTES:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def is_taken(port: int) -> bool:
    """Whether something listens on the port of this machine."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return True
    return False
