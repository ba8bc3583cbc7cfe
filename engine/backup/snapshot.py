"""Snapshots: the files beside the lake, copied while runs may write to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import TickhouseError
from engine.lake.scratch import sync_folder

VERSION = 1
"""Of snapshot.json. A reader refuses a higher one."""
NAME = "snapshot.json"
KEPT = 7
"""Snapshots kept in a backup, the newest."""
STATE, PROJECT = "state", "project"
NOT_KEPT = ("sqlmesh-cache", "rebuilding-")
"""What is of this machine or of this moment only; so is `.machine`: two with one name would hold one lease."""
IDENTITY = "project-id"
"""Whose deployments on a Prefect server are (engine/schedules/owner.py): a copy with it would take the original's."""
TRIES, PAUSE_SECONDS, QUIET_SECONDS = 100, 0.2, 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot holds: packages of the lake by table at that moment, and files with their checksums."""

    made_at: str
    profile: str
    lake: Mapping[str, int]
    files: Mapping[str, str]
    tickhouse: str = ""
    version: int = VERSION


def newest(folder: Path) -> tuple[Path, Snapshot] | None:
    """Return the newest complete snapshot of a backup, None if it has none. Raises TickhouseError on a newer format."""
    found = _complete(folder)
    if not found:
        return None
    return found[-1], _read(found[-1])


def write(
    folder: Path, made_at: datetime, profile: str, lake: Mapping[str, int], sources: Mapping[str, Path]
) -> list[str]:
    """Copy files (by their name in the snapshot) into a new snapshot; return notes on those that could not be."""
    from importlib.metadata import version

    snapshots = folder / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    for left in snapshots.glob(".making-*"):  # of a backup that died; only one is made at a time
        shutil.rmtree(left)
    name = f"{made_at:%Y%m%dT%H%M%S%fZ}"
    making = snapshots / f".making-{name}"
    notes, files = [], {}
    for target, path in sources.items():
        to = making / target
        to.parent.mkdir(parents=True, exist_ok=True)
        if why := _copy(path, to):
            notes.append(f"{target} is not in this backup: {why}")
        elif to.exists():
            files[target] = _checksum(to)
    snapshot = Snapshot(made_at.isoformat(), profile, dict(lake), files, version("tickhouse"))
    (making / NAME).write_text(json.dumps(asdict(snapshot), indent=1, sort_keys=True) + "\n")
    _sync(making)
    making.rename(snapshots / name)
    sync_folder(snapshots)
    for old in _complete(folder)[:-KEPT]:
        shutil.rmtree(old)
    return notes


def put_back(found: Path, snapshot: Snapshot, state: Path) -> tuple[list[str], list[str]]:
    """Copy state files that are missing; return the names put back, and those kept because there is one already.

    What does not belong into a snapshot is not taken from one of an earlier version either.
    """
    back, kept = [], []
    for name, checksum in snapshot.files.items():
        kind, _, relative = name.partition("/")
        if kind != STATE or not _belongs(Path(relative)):
            continue
        source, target = found / name, state / relative
        if not target.resolve().is_relative_to(state.resolve()):
            raise TickhouseError(f"{found.name} names a file outside of the state: {name}", "Use another backup.")
        if target.exists():
            kept.append(relative)
            continue
        if not source.is_file() or _checksum(source) != checksum:
            raise TickhouseError(
                f"{found.name}: {name} is missing or was changed since it was written",
                f"Remove the folder snapshots/{found.name} to take the snapshot before it, then run again.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.restoring")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
        back.append(relative)
    return back, kept


def state_files(state: Path) -> dict[str, Path]:
    """Name the files of a data folder's state that belong into a snapshot."""
    return {f"{STATE}/{path.relative_to(state)}": path for path in _files(state) if _belongs(path.relative_to(state))}


def project_files(file: Path, *others: Path) -> dict[str, Path]:
    """Name pipelines.yaml and every file of other folders beside it."""
    found = {f"{PROJECT}/{file.name}": file}
    for folder in others:
        found |= {f"{PROJECT}/{path.relative_to(file.parent)}": path for path in _files(folder)}
    return found


def differing(snapshot: Snapshot, project_dir: Path) -> list[str]:
    """Name the project's files that are not as they were when the snapshot was made."""
    names = [name.removeprefix(f"{PROJECT}/") for name in snapshot.files if name.startswith(f"{PROJECT}/")]
    return [
        name
        for name in names
        if not (project_dir / name).is_file() or _checksum(project_dir / name) != snapshot.files[f"{PROJECT}/{name}"]
    ]


def _complete(folder: Path) -> list[Path]:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return []
    return sorted(path for path in snapshots.iterdir() if not path.name.startswith(".") and (path / NAME).is_file())


def _read(found: Path) -> Snapshot:
    try:
        record: dict[str, Any] = json.loads((found / NAME).read_text())
        if record.get("version", VERSION) > VERSION:
            raise TickhouseError(
                f"the snapshot {found.name} was written by a newer Tickhouse (version {record['version']} of its "
                f"format, this one reads {VERSION})",
                "Update Tickhouse on this machine.",
            )
        return Snapshot(**record)
    except (ValueError, TypeError, OSError) as error:
        raise TickhouseError(
            f"the snapshot {found.name} cannot be read: {error}", "Remove its folder to take the one before it."
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _belongs(relative: Path) -> bool:
    return not (
        relative.parts[0].startswith(NOT_KEPT)
        or relative.as_posix() == IDENTITY
        or relative.suffix in {".lock", ".wal", ".machine"}  # a .wal is copied with its database
        or relative.name.endswith(("-wal", "-shm", "-journal"))
        or relative.name.startswith(".")
    )


def _copy(path: Path, to: Path) -> str:
    """Copy one file as it is at one instant; return why that cannot be done, or nothing."""
    try:
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
                source.backup(target)
        elif path.suffix == ".duckdb":
            return _copy_duckdb(path, to)
        else:
            shutil.copyfile(path, to)
    except FileNotFoundError:
        return ""  # gone since it was listed
    except (OSError, sqlite3.Error) as error:
        to.unlink(missing_ok=True)
        return str(error)
    return ""


def _copy_duckdb(path: Path, to: Path) -> str:
    """Copy a database and its log between two writes of whoever has it open; see that the copy opens."""
    import duckdb

    log, log_to = path.with_name(f"{path.name}.wal"), to.with_name(f"{to.name}.wal")
    for _ in range(TRIES):
        before = _stamps(path, log)
        if time.time() - max(stamp[0] for stamp in before) / 1e9 > QUIET_SECONDS:
            shutil.copyfile(path, to)
            if log.exists():
                shutil.copyfile(log, log_to)
            if _stamps(path, log) == before:
                break
        time.sleep(PAUSE_SECONDS)
    else:
        _remove(to, log_to)
        return "a run was writing to it all the while; the next backup takes it"
    try:
        with duckdb.connect(str(to)):  # takes what the log has into the file
            pass
    except duckdb.Error as error:
        _remove(to, log_to)
        return f"it cannot be opened: {str(error).splitlines()[0]}"
    return ""


def _stamps(*paths: Path) -> list[tuple[int, int, int]]:
    found = [path.stat() for path in paths if path.exists()]
    return [(each.st_mtime_ns, each.st_size, each.st_ino) for each in found]


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        else:
            sync_folder(path)
    sync_folder(folder)
