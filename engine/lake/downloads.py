"""Local copies of S3 files, named by their checksum and bounded in size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from engine.lake.scratch import FOLDER_MODE

BOUND = 4 << 30
KEPT_FOR = 3_600.0
"""Seconds for which a file that was handed out is not evicted, whatever the bound says."""


def checksum_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Downloads:
    """A cache folder; several processes may share it. Raises OSError."""

    def __init__(self, folder: Path, bound: int = BOUND) -> None:
        """Nothing is created before the first download."""
        self._folder, self._bound = folder, bound
        self._verified: dict[str, tuple[int, int, int]] = {}

    def get(self, checksum: str, suffix: str, size: int, download: Callable[[Path], None]) -> Path:
        """Return the local copy, downloading it if there is none that is whole. The bytes are not checked further."""
        path = self._folder / f"{checksum}{suffix}"
        if not self._whole(path, checksum):
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._evict(size)
            temporary = self._folder / f".{secrets.token_hex(8)}"
            try:
                download(temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            self._whole(path, checksum)
        os.utime(path)
        return path

    def _whole(self, path: Path, checksum: str) -> bool:
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        identity = (found.st_ino, found.st_size, found.st_dev)
        if self._verified.get(checksum) != identity:
            if checksum_of(path) != checksum:
                path.unlink(missing_ok=True)
                return False
            self._verified[checksum] = identity
        return True

    def _evict(self, coming: int) -> None:
        """Make room: the longest unused first, none that was handed out within the last hour."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
        total = coming + sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self._bound or time.time() - used < KEPT_FOR:
                return
            path.unlink(missing_ok=True)
            total -= size
