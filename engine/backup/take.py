"""`engine backup`: bring a backup up to date. It grows by what is new; runs may go on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.backup import snapshot
from engine.config.models import FilesystemLake
from engine.errors import LakeError, UsageError
from engine.lake.causes import named
from engine.locks import AGAIN, hold
from engine.progress import Progress
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.lake.lake import Lake

LAKE = "lake"


@dataclass
class BackupReport:
    """What was copied: `packages` and `bytes` new in the backup, `lake` packages of each table that it holds now."""

    folder: str
    packages: int = 0
    bytes: int = 0
    lake: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def back_up(project: Project, folder: Path, progress: Progress) -> BackupReport:
    """Copy what the lake has and the backup lacks, then write a snapshot of the files beside it.

    One damaged table does not keep the others from being copied. Raises UsageError (a folder that cannot be meant),
    BusyError (another backup), LakeError (the lake cannot be listed).
    """
    _sensible(project, folder)
    report = BackupReport(str(folder))
    with named(f"backup {folder}", str(folder.parent)):
        folder.mkdir(parents=True, exist_ok=True)
        locked = hold(folder / "backup.lock", f"the backup {folder}", remedy=AGAIN)
        with locked, lake_of(project) as lake, lake_in(folder) as copy:
            _copy(lake, copy, report, progress)
            files = {
                **snapshot.state_files(project.data_dir / "state"),
                **snapshot.project_files(project.path, project.project_dir / "transforms"),
            }
            report.notes += snapshot.write(folder, datetime.now(UTC), project.profile_name, report.lake, files)
    return report


def _copy(lake: Lake, copy: Lake, report: BackupReport, progress: Progress) -> None:
    """Copy table by table; what is wrong with one is noted."""
    for table in lake.tables():
        step = f"back up {table}"
        progress.begin(step)
        packages = size = 0
        sound = True
        try:
            for copied in copy.copy_from(lake, table):
                packages += 1
                size += copied.entry.bytes
                progress.update(step, counted(packages, "package"))
        except LakeError as error:
            report.errors.append(error.line)
            sound = False
        with suppress(LakeError):  # said already
            head = copy.head(table)
            report.lake |= {table: head.seq} if head else {}
        report.packages += packages
        report.bytes += size
        progress.end(step, f"{counted(packages, 'package')}, {size / 1000:,.0f} kB", ok=sound)


@contextmanager
def lake_of(project: Project) -> Iterator[Lake]:
    """Open the profile's lake."""
    from engine.lake.lake import open_lake

    with open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache") as lake:
        yield lake


@contextmanager
def lake_in(folder: Path) -> Iterator[Lake]:
    """Open the lake that a backup is."""
    from engine.lake.lake import open_lake

    settings = FilesystemLake(type="filesystem", path=LAKE)
    with open_lake(settings, folder, folder / "cache") as lake:
        yield lake


def _sensible(project: Project, folder: Path) -> None:
    """Refuse a backup inside of what it is a backup of, and the other way round."""
    there = folder.resolve()
    places = [project.data_dir.resolve()]
    if isinstance(project.profile.lake, FilesystemLake):
        places.append((project.project_dir / project.profile.lake.path).resolve())
    for place in places:
        if there.is_relative_to(place) or place.is_relative_to(there):
            raise UsageError(
                f"{folder} and {place.name}, which is to be kept, lie in one another",
                "Name a folder of its own, on another disk.",
            )
