"""Deliver: one destination catches up from the lake; a warehouse then runs the models and lets readers see them.

All of it happens under the destination's writer lock, and every part is committed on its own: a delivery that dies is
finished by the next one, of whatever pipeline.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.compose import Composed, every_table, pipelines_by_table
from engine.config.models import FilesystemLake
from engine.errors import EXIT_USAGE, DestinationError, LakeError, TickhouseError
from engine.lake.at_once import at_once
from engine.models.errors import ModelError
from engine.progress import Progress
from engine.rebuilding import Rebuilding
from engine.report import DestinationReport, TransformReport
from engine.words import counted, model_name

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.lake.lake import Lake
    from engine.lake.package import Entry
    from engine.table import Table

log = logging.getLogger(__name__)
MAINTENANCE_SECONDS = 86_400


class Delivery:
    """Delivers one run's tables. `sound` are packages that this run has checked against their checksums."""

    def __init__(
        self,
        project: Project,
        progress: Progress,
        lake: Lake,
        sound: Sequence[Entry],
        composed: Composed,
        *,
        run_id: str = "",
        wait_seconds: float | None = None,
    ) -> None:
        """Share the lake and the progress between the destinations, which are served side by side.

        The results of checks are kept under `run_id`. Wait at most `wait_seconds` for another writer of a destination
        (None: as long as that is usual).
        """
        self._wait_seconds = wait_seconds
        self._run_id = run_id
        self.project = project
        self.progress = progress
        self._lake = lake
        self._sound = sound
        self._composed = composed
        self._data_dir = project.data_dir

    def to(
        self, name: str, caught_up: Callable[[DestinationReport], None] = lambda _: None
    ) -> tuple[DestinationReport, TransformReport | None]:
        """Let one destination catch up and, if it is a warehouse, run the models while holding its writer lock.

        `caught_up` is called between the two: models take a while, and what is loaded stays if they are killed.
        """
        from destinations import LOCK_WAIT_SECONDS, open_destination
        from engine.load import catch_up, prepare, refuse_another_lake

        report = DestinationReport(name)
        composed, settings = self._composed, self.project.destinations[name]
        step = f"load {name}"
        opened = partial(
            open_destination,
            name,
            settings,
            self.project.project_dir,
            self._data_dir,
            wait_seconds=LOCK_WAIT_SECONDS if self._wait_seconds is None else self._wait_seconds,
            waiting=lambda text: self.progress.say(step, text),
        )
        started = time.monotonic()
        self.progress.begin(step)
        transformed: TransformReport | None = None
        try:
            if composed.rebuild:
                self._make_openable(opened())
            with opened() as destination:
                rebuilding = Rebuilding(self._data_dir, name, settings)
                wanted = composed.tables
                if composed.rebuild or rebuilding.under_way:
                    wanted = self._filled_again(destination, rebuilding)
                if composed.rebuild or (rebuilding.under_way and not rebuilding.emptied):
                    report.notes += self._empty(destination, rebuilding, wanted)
                if rebuilding.under_way:  # by this run, or by a replay that was interrupted and that this one finishes
                    everything = every_table(self.project)
                    composed = replace(composed, only=everything, select=[], transform=True, on=[], rebuild=True)
                else:
                    refuse_another_lake(destination, self._lake)
                prepared = prepare(destination, self._lake, every_table(self.project))
                report.notes += prepared.notes
                self._put_back(destination)
                loaded = catch_up(
                    destination,
                    self._lake,
                    list({table.name: table for table in [*prepared.lost, *wanted]}.values()),
                    lambda text: self.progress.update(step, text),
                    prepared.refused,
                )
                report.packages, report.rows, report.bytes = loaded.packages, loaded.rows, loaded.bytes
                report.quarantined = loaded.quarantined
                report.errors += loaded.errors
                report.status = "loaded" if loaded.packages else "failed" if loaded.errors else "unchanged"
                report.seconds = round(time.monotonic() - started, 3)
                figures = {"rows": report.rows, "bytes": report.bytes, "seconds": report.seconds}
                self.progress.end(step, _loaded_sentence(report), ok=not report.errors, **figures)
                caught_up(report)
                if loaded.busy or (composed.rebuild and report.errors):  # half of the rows: readers keep what they have
                    return report, None
                transformed = self._transform(name, destination, composed)
                report.notes += getattr(destination, "notes", ())
                if composed.rebuild and (transformed is None or transformed.status != "failed"):
                    rebuilding.end()
                self._maintain(name, destination)
        except Exception as error:  # the other destinations and the ledger go on
            known = _known(name, error)
            report.status, report.retry = "failed", known.exit_code != EXIT_USAGE
            report.errors.append(known.line)
            report.seconds = round(time.monotonic() - started, 3)
            self.progress.end(step, report.errors[-1], ok=False, seconds=report.seconds)
        return report, transformed

    def _empty(self, destination: Any, rebuilding: Rebuilding, wanted: Sequence[Table]) -> list[str]:
        """Forget what a destination has, which can all be loaded again; return what to say of it."""
        before, begun = destination.cursors(), rebuilding.under_way
        self._check_rebuild(destination.name, before, wanted)
        names = [table.name for table in wanted]
        rebuilding.note(emptied=False, tables=names)
        told = self._not_filled_again(destination)
        try:
            destination.reset([table.name for table in every_table(self.project)])
        except DestinationError:
            # refused (a view stands on a table), and nothing is gone: runs go on as before, and do not try it again
            if not begun and destination.cursors() == before:
                rebuilding.end()
            raise
        rebuilding.note(emptied=True, tables=names)
        return told

    def _filled_again(self, destination: Any, rebuilding: Rebuilding) -> list[Table]:
        """Return what a replay fills: what pipelines load there, and what it has, or had when the replay began."""
        names = {*pipelines_by_table(self.project, destination.name), *rebuilding.tables}
        names |= {*destination.cursors(), *destination.arrivals()}
        return [table for table in every_table(self.project) if table.name in names]

    def _not_filled_again(self, destination: Any) -> list[str]:
        """One line for each table that a replay empties for good, for no resource has it any more."""
        known = {table.name for table in every_table(self.project)}
        return [
            f"landing.{table} is not filled again: no resource of {self.project.path.name} has it any more (the lake "
            "keeps its packages)"
            for table in destination.cursors()
            if table not in known
        ]

    def _make_openable(self, destination: Any) -> None:
        """Put a warehouse aside that is too damaged to be opened, if the lake is there to fill a new one."""
        from destinations.failures import DamagedError

        try:
            with destination:
                return
        except DamagedError as error:
            if not hasattr(destination, "set_aside") or not any(
                self._lake.head(table.name) for table in self._composed.tables
            ):
                raise
            self._check_rebuild(destination.name, {}, every_table(self.project))
            destination.set_aside()
            log.warning("%s: it is kept under another name and made anew", error.reason)

    def _check_rebuild(self, name: str, cursors: Mapping[str, int], wanted: Sequence[Table]) -> None:
        """Before anything is emptied: the lake must have, whole, every package that the destination has and more.

        And each must go into the table that is declared now.
        """
        from destinations.landing_rules import refuse_other_types

        declared = {table.name: table for table in wanted}
        tables = list(declared)
        for table in sorted({*cursors, *tables}):
            head = self._lake.head(table)
            found, held = head.seq if head else 0, cursors.get(table, 0)
            if found < held:
                raise DestinationError(
                    name,
                    f"nothing was emptied: it holds {counted(held, 'package')} of {table}, "
                    f"{self._lake.where} only {found}",
                    "Check `lake:` in pipelines.yaml, or restore the lake from a backup. If the rest is lost for good, "
                    "move this destination's files away, then run again.",
                )
        for table in tables:
            try:
                for package in at_once(self._lake.open, self._lake.entries(table)):
                    refuse_other_types(name, declared[table], package)
            except LakeError as error:
                raise DestinationError(name, f"nothing was emptied: {error.reason}", error.remedy) from error

    def _maintain(self, name: str, destination: Any) -> None:
        """Once a day: merge small files, let go of what no reader can need any more."""
        mark = self._data_dir / "state" / f"maintained-{name}"
        if hasattr(destination, "maintenance") and time.time() - _modified(mark) > MAINTENANCE_SECONDS:
            if _modified(mark):
                destination.maintenance()
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def _put_back(self, destination: Any) -> None:
        """A warehouse that shares files with a local lake takes those that were damaged and restored again."""
        if hasattr(destination, "put_back") and isinstance(self.project.profile.lake, FilesystemLake):
            cursors = destination.cursors()
            sound = []
            for entry in self._sound:
                with suppress(LakeError):  # gone since it was checked: catching up says so, if it matters there
                    if entry.seq <= cursors.get(entry.table, 0):
                        sound.append(self._lake.open(entry))
            destination.put_back(sound)

    def _transform(self, name: str, destination: Any, composed: Composed) -> TransformReport | None:
        """Run the models downstream of what this pipeline loads, then let readers see the result."""
        from engine.models.transform import transform

        if not hasattr(destination, "sqlmesh_connection"):  # no warehouse: what is loaded is finished
            destination.publish()
            return None
        report = TransformReport(name)
        if not composed.transform or (composed.on and name not in composed.on):
            report.status = "off"
            destination.publish()
            return report
        step = f"transform {name}"
        started = time.monotonic()
        self.progress.begin(step)
        try:
            outcome = transform(
                self.project,
                name,
                destination,
                composed,
                say=lambda text: self.progress.update(step, model_name(text)),
                warn=report.warnings.append,
                run_id=self._run_id,
            )
            report.status, report.models = ("built", outcome) if outcome else ("unchanged", 0)
            destination.publish()
        except Exception as unknown:  # what is loaded is loaded, whatever a model raises
            error = _known(name, unknown)
            reason = error.short if isinstance(error, ModelError) else error.reason
            # the summary names the warehouse by itself
            report.status, report.error = "failed", reason.removeprefix(f"{name}: ")
            report.remedy = error.remedy
            report.retry = error.exit_code != EXIT_USAGE
        report.seconds = round(time.monotonic() - started, 3)
        figures = {"models": report.models, "seconds": report.seconds}
        self.progress.end(step, _built_sentence(report), ok=report.status != "failed", **figures)
        return report


def _known(name: str, error: Exception) -> TickhouseError:
    """Return the error as a person meets it: its class and first line, if it is none of ours."""
    if isinstance(error, TickhouseError):
        return error
    log.debug("delivery to %s failed", name, exc_info=error)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return DestinationError(
        name, f"{type(error).__name__}: {first[:600]}".rstrip(": "), "Run again with --debug for the whole story."
    )


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _loaded_sentence(report: DestinationReport) -> str:
    if report.errors:
        return report.errors[0]
    if not report.packages:
        return f"up to date ({report.seconds:.1f} s)"
    return f"{counted(report.rows, 'row')} in {counted(report.packages, 'package')}, {report.seconds:.1f} s"


def _built_sentence(report: TransformReport) -> str:
    if report.status == "failed":
        return " ".join((report.error or "").split())
    if report.status == "unchanged":
        return "nothing to build"
    return "; ".join([f"{counted(report.models, 'model')}, {report.seconds:.1f} s", *report.warnings])
