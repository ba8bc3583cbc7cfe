"""Locks between processes: flock on a file, so that a dead holder's lock is gone with it, whatever its pid became."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import BusyError

POLL_SECONDS = 0.2
QUEUE = "Let it finish, or run again with --wait SECONDS to queue behind it."
AGAIN = "Let it finish, then run again."
"""What to do where a command has no --wait."""
GLANCE_SECONDS = 0.5
"""Nobody is refused sooner: `is_held` takes the lock for an instant."""


@contextmanager
def hold(
    path: Path,
    what: str,
    *,
    wait_seconds: float = 0.0,
    waiting: Callable[[str], None] | None = None,
    remedy: str = QUEUE,
) -> Iterator[None]:
    """Hold the lock `path` while the block runs; wait for it at most `wait_seconds`.

    `waiting` is called once, with a sentence, when there is something to wait for. The file keeps who holds
    it (pid, since), for the sentence of the one that waits or is refused, where the disk takes that; the lock itself is
    the kernel's. Raises BusyError naming the holder, with the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(handle, what, wait_seconds, waiting, remedy)
        os.ftruncate(handle, 0)
        with suppress(OSError):  # a full disk, which is to be told of under a lock as well
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat()}).encode(), 0)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    if not path.exists():
        return False
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _acquire(handle: int, what: str, wait_seconds: float, waiting: Callable[[str], None] | None, remedy: str) -> None:
    started = time.monotonic()
    deadline = started + max(wait_seconds, GLANCE_SECONDS)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"{what} is busy: {_holder(handle)} holds it",
                    remedy,
                ) from None
            if waiting is not None and time.monotonic() - started >= GLANCE_SECONDS:
                waiting(f"waiting up to {wait_seconds:.0f} s: {_holder(handle)} holds {what}")
                waiting = None
            time.sleep(POLL_SECONDS)
        else:
            return


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {int(holder['pid'])} (since {str(holder['since'])[:19]} UTC)"
    except (ValueError, KeyError, TypeError):
        return "another process"
