"""Files of the lake under a name in the warehouse's folder: no second copy of the data where that can be avoided."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.lake.package import Package
from engine.table import QUARANTINE

FICLONE = 0x40049409
"""Linux: share a file's blocks until one of the two is changed (Btrfs, XFS)."""
Source = tuple[Path, str]
"""A package's file and its SHA-256."""
PARTS_OF_A_NAME = 3
"""load_id.token.file: neither a load id nor a token has a dot."""


def link(source: Path, target: Path) -> None:
    """Make `source` appear as `target`: a clone where the file system has it, a hard link, or else a synced copy.

    Either way, removing `target` leaves `source` alone. The caller syncs the folder (`sync_directory`).
    """
    target.unlink(missing_ok=True)
    if _clone(source, target):
        return
    try:
        os.link(source, target)
    except OSError:
        unfinished = target.with_name(f".{target.name}.copying")
        shutil.copyfile(source, unfinished)
        sync_file(unfinished)
        unfinished.replace(target)


def put_back(folder: Path, packages: Iterable[Package]) -> int:
    """Link files of `folder` (schema landing: table/load_id.token.file) to their packages anew where they differ.

    A file of the lake that was damaged in place took its other name, here, with it; the restored file may be another.
    The packages are sound. Returns the number of files put back.
    """
    wanted: dict[str, dict[tuple[str, str], Source]] = {}
    for package in packages:
        for file, path in zip(package.manifest.files, package.local_files, strict=True):
            table = QUARANTINE if file.quarantine else package.entry.table
            wanted.setdefault(table, {})[package.entry.load_id, file.name] = Path(path), file.sha256
    mended = 0
    for table, sources in wanted.items():
        for target, (source, sha256) in _linked(folder / table, sources):
            if not _same(target, source, sha256):
                restored = target.with_name(f".{target.name}.restored")
                link(source, restored)
                restored.replace(target)
                sync_directory(target.parent)
                mended += 1
    return mended


def _linked(folder: Path, sources: Mapping[tuple[str, str], Source]) -> list[tuple[Path, Source]]:
    """Pair a table's links with their sources: one look through the folder, however many there are."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    parts = ((name, name.split(".", 2)) for name in names)
    keys = ((name, (part[0], part[2])) for name, part in parts if len(part) == PARTS_OF_A_NAME)
    return [(folder / name, sources[key]) for name, key in keys if key in sources]


def _same(target: Path, source: Path, sha256: str) -> bool:
    if target.samefile(source):
        return True
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def sync_file(path: Path) -> None:
    """Write a file's content through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


sync_directory = sync_file
"""Write a folder's names through to the disk."""


def replace_text(path: Path, text: str) -> None:
    """Replace a small file all at once: readers see the old text or the new one, also after a power cut.

    For the one writer that holds the destination's lock: what a killed one left unfinished is written over.
    """
    unfinished = path.with_name(f".{path.name}.new")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)


def _clone(source: Path, target: Path) -> bool:
    with source.open("rb") as original, target.open("xb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), FICLONE, original.fileno())
            os.fsync(clone.fileno())
        except OSError:
            target.unlink()
            return False
    return True
