"""Scratch folders: where a writer builds a package, and how the leftovers of a dead writer are told and removed.

A writer owns, in one staging folder, `<id>/` (its files), `<id>.lock` (held with flock for as long as it lives) and
perhaps `<id>.entry`. Before the package moves to its final path the lock file is filled with the intent: which path,
which table, and the log's head at that moment. A lock that can be taken therefore belongs to a dead writer, and its
intent says what to look for: if the log has no entry of that package after that head, nobody will ever commit it.

The folder may lie on a network file system as long as flock reaches across hosts there (NFS: Linux 2.6.12 and later).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER_MODE = 0o750
FILE_MODE = 0o640
DAY = 86_400.0


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, durably, writable by the owner alone."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another writer was quicker
            new.mkdir(mode=FOLDER_MODE)
        sync_folder(new.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, durably."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a writer was about to commit: the package's path, its table, and the table's head before."""

    path: str
    table: str
    load_id: str
    after: int


class Scratch:
    """One writer's scratch folder. Its lock is held until `release`."""

    def __init__(self, staging: Path) -> None:
        """Create the folder and take the lock. Raises OSError."""
        make_folder(staging)
        while True:
            self._base = staging / secrets.token_hex(8)
            self._lock = self._base.with_suffix(".lock")
            self._handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # a sweeper may have found the file before it was locked: then it is gone, take another
                if self._lock.stat().st_ino == os.fstat(self._handle).st_ino:
                    break
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(self._handle)
        self.folder = self._base
        try:
            self.folder.mkdir(mode=FOLDER_MODE)
        except OSError:
            self.discard()
            raise

    @property
    def entry_file(self) -> Path:
        """Where the log entry is written before it is linked into the log."""
        return self._base.with_suffix(".entry")

    def intend(self, intent: Intent) -> None:
        """Write down what is about to be committed, before anything leaves the scratch folder. Raises OSError."""
        os.pwrite(self._handle, json.dumps(asdict(intent)).encode(), 0)
        os.fsync(self._handle)

    def discard(self) -> None:
        """Remove what is left in the scratch folder and let the lock go."""
        self.entry_file.unlink(missing_ok=True)
        shutil.rmtree(self._base, ignore_errors=True)
        self._lock.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let the lock go and leave the rest to the next sweep, which will find out from the log what happened."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


@contextlib.contextmanager
def _taken(lock: Path) -> Iterator[bytes | None]:
    """Take a lock file if its owner is dead and yield its contents; None if it lives or has just gone."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            owned = lock.stat().st_ino == os.fstat(handle).st_ino
        except (BlockingIOError, FileNotFoundError):
            owned = False
        yield os.pread(handle, 65_536, 0) if owned else None
    finally:
        os.close(handle)


def sweep(staging: Path, settle: Callable[[Intent], None], grace: float) -> None:
    """Remove the leftovers of dead writers from a staging folder.

    `settle` gets the intent of a writer that died while committing and removes the package unless the log has it.
    `grace` is how long (seconds) a dead writer's intent is left alone: an S3 server may still be working on its last
    request. Files without a lock are removed after a day. Raises OSError.
    """
    if not staging.is_dir():
        return
    names = sorted(entry.name for entry in os.scandir(staging))
    locks = {name.removesuffix(".lock") for name in names if name.endswith(".lock")}
    for base in locks:
        lock = staging / f"{base}.lock"
        with _taken(lock) as contents:
            if contents is None or (contents and _age(lock) < grace):
                continue
            intent = _intent(contents)
            if intent:
                settle(intent)
            shutil.rmtree(staging / base, ignore_errors=True)
            (staging / f"{base}.entry").unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    for name in names:
        path = staging / name
        if name.split(".")[0] not in locks and _age(path) > DAY:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _intent(contents: bytes) -> Intent | None:
    """Read an intent; None if it is missing or torn: then nothing had left the scratch folder."""
    try:
        return Intent(**json.loads(contents))
    except (ValueError, TypeError):
        return None


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
