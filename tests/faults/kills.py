"""Ways to end a run: at an instant, at a signal's pleasure, or at the n-th call of the system (strace)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.trial import PIPELINE, Ended, Running, Trial

RENAMES = "rename,renameat,renameat2,link,linkat"
WRITES = "pwrite64,write,fsync,fdatasync,ftruncate"
ATTACH_SECONDS = 30.0


def rounds(full: int) -> int:
    """How many rounds a long sweep makes: all of them, or at most FAULTS_ROUNDS."""
    return min(full, int(os.environ.get("FAULTS_ROUNDS") or full))


def kill_after(trial: Trial, seconds: float, *arguments: str) -> Ended:
    """Start a run and SIGKILL it after some seconds; code -9 says that the kill came in time."""
    running = trial.start(*(arguments or ("run", PIPELINE)))
    if not running.ended_within(seconds):
        running.signal(signal.SIGKILL)
    return running.wait()


def kill_when(running: Running, reached: Callable[[], bool], seconds: float = 120.0) -> Ended:
    """SIGKILL a run as soon as a condition holds."""
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline and not running.ended_within(0.001):
        pass
    running.signal(signal.SIGKILL)
    return running.wait()


def kill_at_call(trial: Trial, calls: str, nth: int) -> Ended:
    """SIGKILL a run when one of its threads makes its n-th call of these; code -9 says that it came so far."""
    running = trial.start("run", PIPELINE, stopped=True)
    with _traced(running, f"inject={calls}:signal=SIGKILL:when={nth}"):
        return running.wait()


@contextmanager
def delayed_after_call(running: Running, calls: str, seconds: float) -> Iterator[None]:
    """Each of these calls is carried out at once, but returns only after some seconds. The run must be stopped."""
    with _traced(running, f"inject={calls}:delay_exit={int(seconds * 1_000_000)}"):
        yield


def calls_made(trial: Trial, calls: str, log: Path) -> int:
    """How many of these calls the busiest thread of a run makes; the run is an ordinary one."""
    running = trial.start("run", PIPELINE, stopped=True)
    with _traced(running, f"trace={calls}", "-o", str(log)):
        ended = running.wait()
    assert ended.code == 0, ended.text
    by_thread = Counter(line.split()[0] for line in log.read_text().splitlines() if "(" in line)
    return max(by_thread.values())


@contextmanager
def _traced(running: Running, expression: str, *arguments: str) -> Iterator[None]:
    """Attach strace to a run that waits for SIGCONT, and let it go on."""
    calls = expression.partition("=")[2].partition(":")[0]
    quiet = ("-e", f"trace={calls}", *(arguments or ("-o", "/dev/null")))
    command = ["strace", "-f", "-p", str(running.pid), *quiet, "-e", expression]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, f"strace could not attach: {line}"
        running.signal(signal.SIGCONT)
        try:
            yield
        finally:
            tracer.terminate()
