"""Java servers as processes of a test: a port that stays theirs, a log, and an end with the test at the latest."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 20.0
ENDED = "Z"
"""The state of a process that has ended and that nobody has asked about yet: it holds nothing any more."""
MEMORY = ("-Xms64m", "-Xmx512m")
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto")
"""An optimising compiler, a parallel collector and counters in /tmp are for brokers that live longer."""

DIES_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG; execvp keeps it
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
_starter = ThreadPoolExecutor(1, "kafka-starter")
"""Linux sends that signal when the thread that started the child ends: this one ends with the process."""


class Port:
    """A free port of 127.0.0.1 that stays ours, also between two lives of the server on it.

    The socket is bound but does not listen: whoever connects is refused, the kernel gives the port to nobody else, and
    a server that reuses addresses, as Java's do, can listen on it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.number), timeout=1):
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Java:
    """The processes of one kind: a main class over a folder of jars, logging to a file."""

    jars: Path
    folder: Path

    def command(self, main: str, *arguments: str) -> list[str]:
        return ["java", *MEMORY, *QUICK_START, "-cp", f"{self.jars}/*", main, *arguments]

    def start(self, name: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a server whose log goes to `<folder>/<name>.log`."""
        wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
        with (self.folder / f"{name}.log").open("ab") as log:
            return _starter.submit(
                subprocess.Popen,
                [*wrapped, *self.command(main, *arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the tests; their fixtures stop the broker
            ).result()

    def tail(self, name: str) -> str:
        log = self.folder / f"{name}.log"
        return f"{log}:\n{log.read_text(errors='replace')[-4000:]}" if log.exists() else f"{log} is not there"


def children(parent: int) -> list[int]:
    """Processes that a process started, and that have not ended."""
    return [pid for pid, (state, started_by) in _processes() if started_by == parent and state != ENDED]


def gone(pids: Collection[int], seconds: float = STOP_SECONDS) -> bool:
    """Wait until all of these processes have ended; whether they have."""
    deadline = time.monotonic() + seconds
    while any(pid in pids and state != ENDED for pid, (state, _) in _processes()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _processes() -> Iterator[tuple[int, tuple[str, int]]]:
    """State and parent of every process, by its id."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            yield int(entry.parent.name), (state, int(parent))


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal and wait; SIGKILL where that takes longer than STOP_SECONDS."""
    process.send_signal(how)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
