"""The collector that prometheus_client asks at each scrape: cheap, and never longer than a moment.

The ledger is read at once; lake, destinations and brokers are asked in the background (probes), so that a scrape shows
their last answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from engine.compose import pipelines_by_table
from engine.ledger import Ledger
from engine.metrics.probes import REFRESH_SECONDS, SELDOM_SECONDS, Probe, settle
from engine.metrics.runs import free_space, from_ledger
from engine.metrics.samples import Sample, families, seconds
from engine.metrics.stores import Held, Landed, ends, held, in_lake

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.ledger import RunRecord

CACHED_SECONDS = 3.0
"""Scrapes that follow each other within so long get the same figures."""
FIRST_WAIT_SECONDS = 2.0
"""How long a scrape waits for what was never answered yet."""
NEWEST_RUNS = 20
"""Newest runs in which one looks for what was left of a topic whose brokers are not asked, and for loads."""
LAKE = "lake"


class Metrics(Collector):
    """Metrics of the project that `project()` returns now (an edited file is followed)."""

    def __init__(
        self,
        project: Callable[[], Project],
        *,
        wait_seconds: float = FIRST_WAIT_SECONDS,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """Ask nothing yet. Wait `wait_seconds` for first answers; ask again after `refresh_seconds`.

        One whose answers are billed is asked once an hour, and after a run that has loaded it.
        """
        self._project = project
        self._wait, self._refresh = wait_seconds, refresh_seconds
        self._lock = threading.Lock()
        self._since = datetime.now(UTC)
        self._of: Project | None = None
        self._lake: Probe[Landed] | None = None
        self._destinations: dict[str, Probe[Held]] = {}
        self._loaded: dict[str, str] = {}
        self._wanted: dict[str, Collection[str]] = {}
        self._topics: dict[tuple[str, str], Probe[Any]] = {}
        self._found: list[Metric] = []
        self._found_at: float | None = None

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not ask."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return every metric that has a value."""
        with self._lock:
            if self._found_at is None or time.monotonic() - self._found_at >= CACHED_SECONDS:
                self._found = list(families(self._samples()))
                self._found_at = time.monotonic()
            return self._found

    def _samples(self) -> Iterator[Sample]:
        project, now = self._project(), datetime.now(UTC)
        if project is not self._of:
            self._follow(project)
        ledger = Ledger(project.data_dir)
        newest = ledger.last(limit=NEWEST_RUNS)
        self._expire(newest)
        probes = [probe for probe in (self._lake, *self._destinations.values(), *self._topics.values()) if probe]
        for probe in probes:
            probe.refresh()
        settle([probe for probe in probes if probe.up is None], self._wait)
        yield Sample("tickhouse_info", 1, {"profile": project.profile_name, "version": version("tickhouse")})
        yield from from_ledger(project, ledger, now, self._since)
        yield from free_space(project)
        yield from self._lake_samples()
        for name, probe in self._destinations.items():
            yield from self._destination_samples(name, probe, now)
        yield from _left_samples(newest)
        for (source, resource), probe in self._topics.items():
            yield from _topic_samples(probe, {"source": source, "resource": resource})
        for probe in probes:
            if probe.answered_at is not None:
                age = time.monotonic() - probe.answered_at
                yield Sample("tickhouse_metrics_age_seconds", age, {"asked": probe.name})

    def _follow(self, project: Project) -> None:
        """Ask what this project has; answers about what it has no more go."""
        self._of = project
        self._destinations = {
            name: Probe(
                f"destination {name}",
                partial(held, project, name),
                SELDOM_SECONDS if settings.answers_cost else self._refresh,
            )
            for name, settings in project.destinations.items()
        }
        self._wanted = {name: pipelines_by_table(project, name).keys() for name in project.destinations}
        topics = {
            (source, resource.name): resource
            for pipeline in project.file.pipelines
            for source, resource in project.resources_of(pipeline)
            if resource.behind is not None
        }
        self._lake = Probe(LAKE, partial(in_lake, project, topics), self._refresh)
        self._topics = {
            (source, name): Probe(f"topic {source}.{name}", partial(ends, project, source, resource), self._refresh)
            for (source, name), resource in topics.items()
        }

    def _expire(self, newest: list[RunRecord]) -> None:
        """Ask a destination anew, however seldom it is asked, after a run that has loaded it: then it is awake."""
        for name, probe in self._destinations.items():
            loaded = next((run.run_id for run in newest if _loads(run, name)), "")
            if loaded and loaded != self._loaded.get(name):
                self._loaded[name] = loaded
                probe.expire()

    def _lake_samples(self) -> Iterator[Sample]:
        if self._lake is None or self._lake.up is None:
            return
        yield Sample("tickhouse_lake_up", float(self._lake.up))
        if self._lake.answer is None:
            return
        for table, (_, landed_at) in self._lake.answer.tables.items():
            yield Sample("tickhouse_table_last_landed_timestamp_seconds", seconds(landed_at), {"table": table})
        for (source, resource), landed_at in self._lake.answer.topics.items():
            here = {"source": source, "resource": resource}
            yield Sample("tickhouse_topic_last_landed_timestamp_seconds", seconds(landed_at), here)

    def _destination_samples(self, name: str, probe: Probe[Held], now: datetime) -> Iterator[Sample]:
        if probe.up is not None:
            yield Sample("tickhouse_destination_up", float(probe.up), {"destination": name})
        if probe.answer is None:
            return
        if probe.answer.size is not None:
            yield Sample("tickhouse_destination_size_bytes", probe.answer.size, {"destination": name})
        for table, (arrived_at, rows, _) in probe.answer.tables.items():
            here = {"destination": name, "table": table}
            yield Sample("tickhouse_table_rows", rows, here)
            yield Sample("tickhouse_table_last_load_timestamp_seconds", seconds(arrived_at), here)
            yield Sample("tickhouse_table_age_seconds", max(now.timestamp() - seconds(arrived_at), 0.0), here)
        heads = self._lake.answer.tables if self._lake is not None and self._lake.answer else {}
        for table, (head, _) in heads.items():
            if table not in self._wanted[name]:
                continue
            _, _, cursor = probe.answer.tables.get(table, (None, 0, 0))
            here = {"destination": name, "table": table}
            yield Sample("tickhouse_table_packages_behind", max(head - cursor, 0), here)
        for check in probe.answer.checks:
            failed = check["failed_rows"] if check["status"] == "failed" else 0
            blocking = "true" if check["blocking"] else "false"
            here = {"warehouse": name, "model": check["model"], "check": check["check"], "blocking": blocking}
            yield Sample("tickhouse_check_failed_rows", failed, here)


def _loads(run: RunRecord, destination: str) -> bool:
    return any(one["name"] == destination for one in run.report.get("destinations", ()))


def _left_samples(runs: list[RunRecord]) -> Iterator[Sample]:
    """What the newest run that read a topic left of it, oldest first: the last value counts."""
    for run in reversed(runs):
        for report in run.report.get("resources", ()):
            for partition, left in report["lag"].items():
                here = {"source": report["source"], "resource": report["resource"], "partition": partition}
                yield Sample("tickhouse_topic_lag_messages", left, here)


def _topic_samples(probe: Probe[Any], here: dict[str, str]) -> Iterator[Sample]:
    if probe.up is not None:
        yield Sample("tickhouse_topic_up", float(probe.up), here)
    for partition, (landed, end) in (probe.answer or {}).items():
        where = {**here, "partition": str(partition)}
        yield Sample("tickhouse_topic_lag_messages", max(end - landed, 0), where)
        yield Sample("tickhouse_topic_landed_offset", landed, where)
        yield Sample("tickhouse_topic_end_offset", end, where)
