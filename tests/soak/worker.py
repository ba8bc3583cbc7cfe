"""`engine up` under a supervisor that starts it again when it ends, as systemd or Docker would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.kafka.processes import DIES_WITH_PARENT, _starter, children
from tests.schedules.prefect_api import until
from tests.schedules.served_project import ENGINE

AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.25
READY_SECONDS = 120.0
END_SECONDS = 60.0
SERVER = "engine.schedules.server_process"


@dataclass
class Down:
    """A time without the worker, by time.time(): from its end until it gives metrics again (None: not yet)."""

    began: float
    ended: float | None = None


class Worker:
    """One `engine up`, supervised while the block runs; `away` keeps it ended."""

    def __init__(self, folder: Path, env: Mapping[str, str], prefect_port: int, metrics_port: int) -> None:
        self.folder, self._env = folder, env
        self._ports = prefect_port, metrics_port
        self._log = folder / "up.log"
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.codes: list[int] = []
        self.downs: list[Down] = [Down(time.time())]
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._wanted.set()
        self._thread.start()
        self.ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.terminate()
                self._process.wait(END_SECONDS)
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it gives metrics."""
        until(lambda: self.downs[-1].ended is not None, bool, seconds)

    def kill(self) -> None:
        """SIGKILL; the supervisor starts it again."""
        assert self._process is not None
        before = self.starts
        self._process.kill()
        until(lambda: self.starts > before or not self._wanted.is_set(), bool, READY_SECONDS)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Kill it, and have nobody start it again while the block runs."""
        self._wanted.clear()
        try:
            if self._process is not None:
                self._process.kill()
            until(lambda: self.downs[-1].ended is None, bool, END_SECONDS)
            yield
        finally:
            self._wanted.set()

    def end(self) -> int:
        """End it as `docker stop` does; its exit code."""
        self._wanted.clear()
        process = self._process
        assert process is not None
        process.terminate()
        return process.wait(END_SECONDS)

    def server_pid(self) -> int | None:
        """The process of Prefect's server, a child of this `engine up`."""
        found = [pid for pid in self._children() if SERVER in _command(pid)]
        return found[0] if found else None

    def run_pid(self, pipeline: str) -> int | None:
        """The process of the run of a pipeline that is under way: who holds its lock, if it is a child of this one."""
        lock = self.folder / ".data" / "locks" / f"pipeline-{pipeline}.lock"
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = int(json.loads(lock.read_text())["pid"])
            return pid if pid in self._children() else None
        return None

    def _children(self) -> list[int]:
        process = self._process
        return children(process.pid) if process is not None else []

    def _supervise(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            if self._process is not None and self._process.poll() is not None:
                self.codes.append(self._process.returncode)
                self._process = None
                if self.downs[-1].ended is not None:
                    self.downs.append(Down(time.time()))
                self._closing.wait(AGAIN_SECONDS)
            if self._process is None:
                if self._wanted.is_set():
                    self._start()
            elif self.downs[-1].ended is None and self._gives_metrics():
                self.downs[-1].ended = time.time()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
            self._process = _starter.submit(
                subprocess.Popen,
                [*wrapped, ENGINE, "up", "--port", str(self._ports[0])],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ).result()
        self.starts += 1

    def _gives_metrics(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._ports[1]}/metrics", timeout=5),
        ):
            return True
        return False


def killed(pid: int) -> bool:
    """SIGKILL a process; whether it was there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
