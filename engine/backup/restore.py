"""`engine restore`: give a lake back what it lacks, whole or in its middle, and the state beside it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.backup import snapshot
from engine.backup.take import lake_in, lake_of
from engine.errors import UsageError
from engine.lake.causes import named
from engine.ledger import LEDGER, Ledger
from engine.locks import AGAIN, hold
from engine.progress import Progress
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project

UNDER_WAY = "this run was under way when the backup was made: how it ended is not in the backup"


@dataclass
class RestoreReport:
    """What was put back: packages that were missing, packages that were damaged, files of the state."""

    made_at: str
    packages: int = 0
    mended: int = 0
    bytes: int = 0
    newer: dict[str, int] = field(default_factory=dict)
    """Packages by table that the lake has behind the backup's end; they stay."""
    state: list[str] = field(default_factory=list)
    state_kept: list[str] = field(default_factory=list)
    project_differs: list[str] = field(default_factory=list)


def restore(project: Project, folder: Path, progress: Progress) -> RestoreReport:
    """Copy every package that the lake lacks, put damaged ones in order, and the state's files where there are none.

    Nothing that is sound is replaced, nothing is removed; no run may go on meanwhile. May be repeated: it goes on where
    it stopped. Raises UsageError (no backup there), BusyError (a run), LakeError (not copies of one lake, or the backup
    itself is damaged), TickhouseError (a snapshot that cannot be read).
    """
    found = snapshot.newest(folder)
    if found is None:
        raise UsageError(f"{folder} holds no finished backup", "Name the folder that `engine backup` wrote to.")
    report = RestoreReport(found[1].made_at)
    locks = project.data_dir / "locks"
    with ExitStack() as stack, named(f"backup {folder}", str(folder)):
        if os.access(folder, os.W_OK):  # nobody writes to one that is mounted for reading
            stack.enter_context(hold(folder / "backup.lock", f"the backup {folder}", remedy=AGAIN))
        for pipeline in project.file.pipelines:
            stack.enter_context(hold(locks / f"pipeline-{pipeline}.lock", f"pipeline {pipeline}", remedy=AGAIN))
        lake, copy = stack.enter_context(lake_of(project)), stack.enter_context(lake_in(folder))
        for table in copy.tables():
            step = f"restore {table}"
            progress.begin(step)
            packages = 0
            for copied in lake.copy_from(copy, table, mend=True):
                packages += 1
                report.mended += copied.mended
                report.packages += not copied.mended
                report.bytes += copied.entry.bytes
                progress.update(step, counted(packages, "package"))
            ours, theirs = lake.head(table), copy.head(table)
            if ours and theirs and ours.seq > theirs.seq:
                report.newer[table] = ours.seq - theirs.seq
            progress.end(step, counted(packages, "package"))
        report.state, report.state_kept = snapshot.put_back(*found, project.data_dir / "state")
        if LEDGER in report.state:
            Ledger(project.data_dir).leave(datetime.fromisoformat(found[1].made_at), UNDER_WAY)
    report.project_differs = snapshot.differing(found[1], project.project_dir)
    return report
