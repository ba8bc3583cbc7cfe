"""Prefect's server on this machine: started, watched, started again when it dies, ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import TickhouseError
from engine.schedules.settings import HOST

START_SECONDS = 90.0
STOP_SECONDS = 8.0
LOOK_SECONDS = 0.5
AGAIN_SECONDS, LONGEST_SECONDS = 2.0, 30.0
"""Between two starts of a server that does not stay; twice as long each time."""
STAYS_SECONDS = 60.0
"""One that has run for so long does stay."""
LOG_BYTES = 10_000_000
MODULE = "engine.schedules.server_process"


class LocalServer:
    """One server process; a thread starts it again when it ends by itself."""

    def __init__(self, folder: Path, port: int, say: Callable[[str], None]) -> None:
        """Start nothing yet."""
        self.address = f"http://{HOST}:{port}"
        self._port = port
        self._log = folder / "server.log"
        self._say = say
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

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
        threading.Thread(target=self._watch, name="prefect server", daemon=True).start()

    def end(self) -> None:
        """End it, and leave no process behind."""
        self._ending.set()
        process = self._process
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _spawn(self) -> None:
        bound(self._log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the engine, which ends it last
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline or self._ending.is_set():
                self.end()
                raise TickhouseError(
                    f"Prefect's server {'ended at once' if ended else 'does not answer'}", f"Its log: {self._log}"
                )
            time.sleep(LOOK_SECONDS)

    def _watch(self) -> None:
        """Start it again when it has ended: later and later while it does not stay, and each reason is said once."""
        pause, said, began = AGAIN_SECONDS, "", time.monotonic()
        while not self._ending.wait(LOOK_SECONDS):
            bound(self._log)
            stays = time.monotonic() - began > STAYS_SECONDS
            if self._process is None or self._process.poll() is None:
                if stays:
                    pause, said = AGAIN_SECONDS, ""
                continue
            why = f"Prefect's server ended by itself; it is started again (its log: {self._log})"
            if is_taken(self._port):
                why = f"port {self._port} of {HOST} is taken: Prefect's server is started again once it is free"
            else:
                began = time.monotonic()
                try:
                    self._spawn()
                except OSError as error:  # a full disk, say
                    why = f"Prefect's server cannot be started, which is tried again: {error}"
            if why != said:
                self._say(why)
            said = why
            self._ending.wait(pause)
            pause = min(2 * pause, LONGEST_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api/health", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
        except OSError:
            return False


@contextmanager
def local_server(folder: Path, port: int, say: Callable[[str], None]) -> Iterator[LocalServer]:
    """Have a server while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    server = LocalServer(folder, port, say)
    server.start()
    try:
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
