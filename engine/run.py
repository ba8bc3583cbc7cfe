"""Run a pipeline: extract every resource, land it, let every destination catch up, run the models, publish.

One failing source or destination never stops another: the run ends with what succeeded, and the report has one line
for each failure. Every step is committed on its own, so a run that dies is finished by the next one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from engine.arrow_alone import use_arrow_alone
from engine.backfill import windows as windows_of
from engine.compose import Composed, compose, every_table
from engine.deliver import Delivery
from engine.errors import TickhouseError, UsageError
from engine.extract import Extraction, extract
from engine.ledger import Ledger
from engine.locks import hold
from engine.models.dbt import has_models
from engine.notify.runs import tell_dead, telling, told_of
from engine.plan.plan import keep
from engine.progress import Progress
from engine.redact import Redactor
from engine.report import STOPPED, DestinationReport, ResourceReport, RunReport, TransformReport
from engine.steps import Outcome, Steps, Threads
from engine.under_way import UnderWay
from sources.assets import SOURCE as ASSETS
from sources.protocol import Begun, Resource, SourceContext, Window

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.lake.lake import Lake
    from engine.lake.package import Entry

SHARED = ("dlt", "pyarrow.compute", "engine.conform")
"""Imported before sources start side by side, and pandas with them: what imports each other can be given by halves to
two threads which import it at a time, and dlt takes a look at half a pandas."""
DRIVERS = {"duckdb": "duckdb", "ducklake": "duckdb", "postgres": "psycopg", "timescaledb": "psycopg"}
"""What a load imports, by the destination's type: beside the sources, which wait or work without the interpreter. Not
what sources import as well (Trino's has their HTTP), nor what brings pandas (Snowflake's)."""
WITHOUT_PANDAS = ("files", "rest", "kafka")
"""Types of sources that have no use for pandas."""
SOURCES_AT_ONCE = 6
"""Sources extracted side by side; the resources of one source follow each other."""
MOCKED_MESSAGES = 3_000
"""Of a broker within the run, people included."""
SCRUBBED = 20
"""Packages whose files every run checks against their checksums: the newest first, then all others in turn."""


NOTE_SECONDS = 2.0
STOPPED_LINE = f"{STOPPED}: what was landed stays, the next run goes on from there"


class Runner:
    """Runs pipelines of one project. `stop` ends a run at the next page; what is committed stays."""

    def __init__(
        self,
        project: Project,
        progress: Progress,
        *,
        wait_seconds: float | None = None,
        steps: Steps = Threads(),  # noqa: B008 - it keeps nothing
    ) -> None:
        """Wait at most `wait_seconds` for another run of the same pipeline, and for another writer of a destination.

        None: a run of the same pipeline is refused at once, a destination is waited for as long as is usual. `steps`
        carries out sources and destinations: in threads, unless a scheduler does.
        """
        self.project = project
        self.progress = progress
        self.stop = threading.Event()
        self._wait_seconds = wait_seconds
        self._steps = steps
        self._sound: Sequence[Entry] = ()
        self._data_dir = project.data_dir
        self._note_stopped: Callable[[], None] = _nothing_to_note

    def follow(self, project: Project) -> None:
        """Run an edited file's pipelines from here on. Raises UsageError where its data lies in another folder."""
        if project.data_dir != self._data_dir:
            raise UsageError("its data lies in another folder", "Start it anew to work there.")
        self.project = project

    def run(self, pipeline: str) -> RunReport:
        """Run one pipeline. Raises BusyError, UsageError or LakeError before anything is extracted."""
        return self._run_composed(compose(self.project, pipeline), self._extract_all)

    def backfill(self, pipeline: str, start: datetime, end: datetime) -> RunReport:
        """Extract a past range in windows; a repeated call goes on behind the last window that was landed."""

        def windows(composed: Composed, lake: Lake, under_way: UnderWay) -> list[ResourceReport]:
            return self._extract_windows(composed, lake, under_way, start, end)

        return self._run_composed(compose(self.project, pipeline), windows, f"{start.isoformat()}/{end.isoformat()}")

    def replay(self, destination: str | None) -> RunReport:
        """Empty the landing tables of one destination (or of every one), fill them from the lake, build the models."""
        wanted = self.project.destinations if destination is None else {destination: self._named(destination)}
        tables = every_table(self.project)
        composed = Composed("replay", [], wanted, [], transform=True, on=[], skipped=[], only=tables, rebuild=True)

        def nothing(_composed: Composed, _lake: Lake, _under_way: UnderWay) -> list[ResourceReport]:
            return []

        return self._run_composed(composed, nothing)

    def end_soon(self, grace_seconds: float = 20.0) -> None:
        """After a stop was asked for: leave within the grace, whatever still waits. Every commit is all or nothing."""

        def leave() -> None:
            with suppress(OSError):  # a pipe to a process that is gone
                sys.stderr.write("stopped; what was landed stays, the next run goes on from there\n")
            noting = threading.Thread(target=self._note_stopped, name="note the end", daemon=True)
            noting.start()
            noting.join(NOTE_SECONDS)  # a disk that hangs holds up no end
            os._exit(1)

        timer = threading.Timer(grace_seconds, leave)
        timer.daemon = True
        timer.start()

    def _named(self, destination: str) -> Any:
        if destination in self.project.skipped_destinations:
            why = self.project.skipped_destinations[destination]
            raise UsageError(f"destination {destination} is left out: {why}", "Set it in the environment or in .env.")
        if destination not in self.project.destinations:
            known = ", ".join(self.project.destinations)
            raise UsageError(
                f"profile {self.project.profile_name} has no destination {destination!r}", f"It has {known}."
            )
        return self.project.destinations[destination]

    def _run_composed(
        self,
        composed: Composed,
        extraction: Callable[[Composed, Lake, UnderWay], list[ResourceReport]],
        backfill: str | None = None,
    ) -> RunReport:
        pipeline = composed.pipeline
        asked = datetime.now(UTC)
        run_id = f"{asked:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.progress.of_run(run_id, pipeline)
        ledger = Ledger(self._data_dir)
        asked_at = asked.isoformat(timespec="seconds")
        report = RunReport(run_id, pipeline, self.project.profile_name, asked_at, backfill=backfill)
        report.notes += composed.skipped
        lock = self._data_dir / "locks" / f"pipeline-{pipeline}.lock"
        what = f"pipeline {pipeline}"

        def waiting(text: str) -> None:
            self.progress.say(what, text)

        held = hold(lock, what, wait_seconds=self._wait_seconds or 0.0, waiting=waiting)
        with held, telling(self.project, report), ExitStack() as stack:
            started = datetime.now(UTC)  # it may have waited for another run until now
            report.started_at = started.isoformat(timespec="seconds")
            lake = self._lake()
            self._replay_url = self._market(stack, composed)
            report.notes += self._topics(composed)
            died = ledger.start(run_id, pipeline, started, backfill=backfill is not None)
            report.notes += tell_dead(self.project, pipeline, died)
            redactor = Redactor(self.project.secrets)
            under_way = UnderWay(ledger, report, redactor)
            stack.enter_context(under_way.noted())
            stack.enter_context(self._ends_when_told(under_way))
            scrub = lake.scrub(SCRUBBED)
            report.errors += [str(problem) for problem in scrub.problems]
            self._sound = scrub.sound
            report.simulated = self._replay_url is not None
            report.resources = extraction(composed, lake, under_way)
            if self.stop.is_set():
                report.errors.append(STOPPED_LINE)
            else:
                self._load_and_transform(composed, lake, report, under_way)
            if report.status != "failed" and not composed.rebuild:
                keep(self.project, pipeline)
            report.ended_at = datetime.now(UTC).isoformat(timespec="seconds")
            status = "stopped" if report.stopped else report.status
            ledger.finish(run_id, datetime.now(UTC), status, redactor.tree(report.as_json()))
        return report

    @contextmanager
    def _ends_when_told(self, under_way: UnderWay) -> Iterator[None]:
        """Have a run that leaves in mid-step noted, as stopped if it was told to end: it has not died."""

        def note(status: str = "stopped", line: str = STOPPED_LINE) -> None:
            with suppress(TickhouseError, OSError):
                under_way.end(status, line)

        self._note_stopped = note
        try:
            yield
        except Exception as error:
            note("failed", told_of(error))
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or hasattr(error, "signal"):  # as a scheduler raises SIGTERM
                note()
            raise
        finally:
            self._note_stopped = _nothing_to_note

    def _lake(self) -> Lake:
        from engine.lake.lake import open_lake

        return open_lake(self.project.profile.lake, self.project.project_dir, self._data_dir / "cache")

    def _market(self, stack: ExitStack, composed: Composed) -> str | None:
        """Start the market replay where the profile wants it and a source asks it, unless one is named; its URL."""
        profile = self.project.profile
        if profile.market != "replay" or all(resource.calls is None for _, resource in composed.resources):
            return None
        if profile.market_url:
            return profile.market_url
        from sources.market_replay.child import replay_process

        return stack.enter_context(replay_process())

    def _topics(self, composed: Composed) -> list[str]:
        """Fill the topics of a broker that lives within this run, where the profile has no other; say so."""
        from sources.kafka.mock import MOCK

        mocked = {
            name for name, _ in composed.resources if getattr(self.project.sources.get(name), "brokers", "") == MOCK
        }
        if not mocked:
            return []
        from engine.produce import Bounds, produce

        notes = []
        for name in mocked:
            bounds = Bounds(rate=0, messages=MOCKED_MESSAGES, people=True)  # the topics begin empty in every run
            done = produce(self.project, bounds, target=name, stop=self.stop)
            notes.append(
                f"source {name}: no Kafka is asked: librdkafka's mock broker within this run stands in, with "
                f"{done.messages:,} SIMULATED messages"
            )
        return notes

    def _context(self, window: Window | None = None, backfill: str | None = None) -> SourceContext:
        return SourceContext(
            source="",
            assets=self.project.assets,
            now=datetime.now(UTC),
            project_dir=self.project.project_dir,
            data_dir=self._data_dir,
            notice=_no_notice,
            window=window,
            backfill=backfill,
            replay_url=self._replay_url,
            deployment=hashlib.sha256(f"{self.project.profile.lake}|{self._data_dir}".encode()).hexdigest()[:12],
        )

    def _extract_all(self, composed: Composed, lake: Lake, under_way: UnderWay) -> list[ResourceReport]:
        warm = threading.Event()
        if not (composed.transform and has_models(self.project.project_dir / "transforms")):
            warm.set()
        by_source: dict[str, list[Resource]] = {}
        for source, resource in composed.resources:
            by_source.setdefault(source, []).append(resource)
        done: dict[tuple[str, int], ResourceReport] = {}

        def one_source(source: str) -> Outcome[list[ResourceReport]]:
            """Extract what this run has not landed yet: after a failure it may be called again."""
            context = self._context()
            for at, resource in enumerate(by_source[source]):
                with_begun = replace(context, begun=None if at else begun.get(source))
                extraction = Extraction(lake, under_way, with_begun, self.progress, self.stop)
                earlier = done.get((source, at))
                if earlier is None or (earlier.status == "failed" and earlier.retry):
                    report = done[source, at] = extract(extraction, source, resource).after(earlier)
                    if report.status == "landed" and not warm.is_set():
                        warm.set()
                        from engine.models.transform import warm_up

                        warm_up()
            return self._of_source([done[source, at] for at in range(len(by_source[source]))])

        if self._needs_pandas(composed):
            import_module("pandas")
        else:
            use_arrow_alone()
        with self._begun({source: resources[0] for source, resources in by_source.items()}, lake) as begun:
            for module in SHARED:
                import_module(module)
            drivers = {DRIVERS[each.type] for each in composed.destinations.values() if each.type in DRIVERS}
            threading.Thread(target=_import_each, args=(drivers,), name="drivers", daemon=True).start()
            reports = self._steps.side_by_side("extract", list(by_source), one_source, at_once=SOURCES_AT_ONCE)
        return [report for of_source in reports for report in of_source]

    @contextmanager
    def _begun(self, first: Mapping[str, Resource], lake: Lake) -> Iterator[Mapping[str, Begun]]:
        """Have the first resources of sources begin what needs no heavy import, as many as are extracted at once.

        What none of them has taken at the end is given up.
        """
        begun: dict[str, Begun] = {}
        with ExitStack() as stack:
            stack.callback(begun.clear)  # a failed import that a library keeps would keep them, by its traceback
            for source, resource in islice(first.items(), SOURCES_AT_ONCE):
                if resource.ahead is None:
                    continue
                with suppress(Exception):  # said when it is extracted
                    state, _ = lake.state(source, resource.name, resource.table.name)
                    if one := resource.ahead(self._context(), state):
                        begun[source] = one
                        stack.callback(one.close)
            yield begun

    def _needs_pandas(self, composed: Composed) -> bool:
        """Whether pandas is, or may be, imported while sources are extracted: the models are warmed up meanwhile."""
        types = {getattr(self.project.sources.get(source), "type", "") for source, _ in composed.resources}
        return composed.transform or not types - {""} <= set(WITHOUT_PANDAS)

    def _of_source(self, reports: list[ResourceReport]) -> Outcome[list[ResourceReport]]:
        failed = [report for report in reports if report.status == "failed"]
        again = any(report.retry for report in failed) and not self.stop.is_set()
        return Outcome(reports, "; ".join(dict.fromkeys(report.error or "failed" for report in failed)), retry=again)

    def _extract_windows(
        self, composed: Composed, lake: Lake, under_way: UnderWay, start: datetime, end: datetime
    ) -> list[ResourceReport]:
        name = f"{start.isoformat()}/{end.isoformat()}"
        reports = []
        for source, resource in composed.resources:
            if source == ASSETS:
                extraction = Extraction(lake, under_way, self._context(), self.progress, self.stop)
                reports.append(extract(extraction, source, resource))
                continue
            windows: Sequence[Window] = ()
            if resource.backfill:
                state, _ = lake.state(source, resource.name, resource.table.name)
                windows = windows_of(state, resource, self.project.assets, name, start, end)
            if not windows:
                why = "this range is landed already" if resource.backfill else "has no past to ask for"
                reports.append(ResourceReport(source, resource.name, resource.table.name))
                reports[-1].notices.append(f"{source}.{resource.name}: {why}")
            for window in windows:
                context = self._context(window, name)
                report = extract(Extraction(lake, under_way, context, self.progress, self.stop), source, resource)
                reports.append(report)
                if report.status == "failed":
                    break
        return reports

    def _load_and_transform(self, composed: Composed, lake: Lake, report: RunReport, under_way: UnderWay) -> None:
        if not composed.destinations:
            return
        delivery = Delivery(
            self.project,
            self.progress,
            lake,
            self._sound,
            composed,
            run_id=report.run_id,
            wait_seconds=self._wait_seconds,
        )
        before: dict[str, DestinationReport] = {}

        def one_destination(name: str) -> Outcome[tuple[DestinationReport, TransformReport | None]]:
            """Deliver what has not been: after a failure it may be called again."""

            def whole(attempt: DestinationReport) -> DestinationReport:
                return attempt.after(before[name]) if name in before else attempt

            attempt, transformed = delivery.to(name, lambda attempt: under_way.loaded(whole(attempt), None))
            before[name] = loaded = whole(attempt)
            under_way.loaded(loaded, transformed)
            failures = list(loaded.errors)
            again = bool(failures) and loaded.retry
            if transformed is not None and transformed.status == "failed":
                failures.append(transformed.error or "failed")
                again = again or transformed.retry
            return Outcome((loaded, transformed), "; ".join(failures), retry=again and not self.stop.is_set())

        names = list(composed.destinations)
        for loaded, transformed in self._steps.side_by_side("load", names, one_destination, at_once=len(names)):
            report.destinations.append(loaded)
            if transformed is not None:
                report.transforms.append(transformed)


def _import_each(modules: Iterable[str]) -> None:
    with suppress(Exception):  # the load says what is missing
        for module in modules:
            import_module(module)


def _nothing_to_note() -> None:
    """No run is under way."""


def _no_notice(message: str, *, item: str | None = None) -> None:
    """Placeholder: every extraction puts its own in."""
