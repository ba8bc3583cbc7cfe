"""What the ledger and the file tell: runs, rows, requests, schedules, quotas. Nothing here asks a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from engine.metrics.catalogue import LOADED, METRICS, RESOURCE, SOURCE
from engine.metrics.samples import Sample, seconds
from engine.standing import next_due, state_of
from engine.totals import RUN_SECONDS, RUNS, STEP_SECONDS

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.ledger import Ledger, Standing

STATUSES = ("ok", "partial", "failed", "stopped", "died")
DEAD_LETTERS = "tickhouse_dead_letters_total"
QUARANTINED = "tickhouse_quarantined_rows_total"
OF_RESOURCES = [metric.name for metric in METRICS if metric.labels == RESOURCE and metric.kind == "counter"]
OF_LOADS = [metric.name for metric in METRICS if metric.labels == LOADED and metric.kind == "counter"]
OF_SOURCES = [metric.name for metric in METRICS if metric.labels == SOURCE and metric.kind == "counter"]


def from_ledger(project: Project, ledger: Ledger, now: datetime, since: datetime) -> Iterator[Sample]:
    """Yield what runs did. A pipeline that never ran, and that nobody is known to run, is due after `since`."""
    yield from _totals(project, ledger)
    failed_loads: dict[str, tuple[str, bool]] = {}
    for name in project.file.pipelines:
        here = {"pipeline": name}
        state = state_of(project, ledger, name)
        standing = state.standing
        yield Sample("tickhouse_run_in_progress", float(state.running), here)
        if standing is not None:
            yield Sample("tickhouse_failed_runs_in_a_row", state.failed_in_a_row, here)
            yield from _standing(standing, here)
            failed_loads |= _newer(failed_loads, standing)
        next_run = next_due(project, ledger, name, standing, since)
        if next_run is not None:
            yield Sample("tickhouse_schedule_due_timestamp_seconds", seconds(next_run.at), here)
            yield Sample("tickhouse_schedule_interval_seconds", next_run.interval.total_seconds(), here)
    for destination in project.destinations:
        if destination in failed_loads:
            failed = failed_loads[destination][1]
            yield Sample("tickhouse_destination_load_failed", float(failed), {"destination": destination})
    yield from _quotas(project, ledger, now)


def free_space(project: Project) -> Iterator[Sample]:
    """Yield the space that is left on the disk of the data folder."""
    folder = next(one for one in (project.data_dir, *project.data_dir.parents) if one.exists())
    yield Sample("tickhouse_data_free_bytes", shutil.disk_usage(folder).free)


def _totals(project: Project, ledger: Ledger) -> Iterator[Sample]:
    """Counters; those of what the file has begin at 0, so that the first increase is seen as one."""
    for pipeline in project.file.pipelines:
        for status in STATUSES:
            yield Sample(RUNS, 0, {"pipeline": pipeline, "status": status})
        yield from _steps(project, pipeline)
        for source, resource in project.resources_of(pipeline):
            where = {"pipeline": pipeline, "source": source, "resource": resource.name}
            names = [name for name in OF_RESOURCES if name != DEAD_LETTERS or _is_topic(project, source)]
            yield from (Sample(name, 0, where) for name in names)
            if resource.calls is not None:
                yield from (Sample(name, 0, {"source": source}) for name in OF_SOURCES)
    for (name, pairs), value in ledger.totals().items():
        labels = dict(pairs)
        yield Sample(name, value, labels)
        if name == QUARANTINED and _is_topic(project, labels["source"]):
            yield Sample(DEAD_LETTERS, value, labels)


def _steps(project: Project, pipeline: str) -> Iterator[Sample]:
    """The durations, failures and loads of a pipeline's steps, all 0."""
    block = project.file.pipelines[pipeline]
    steps = [("extract", f"{source}.{resource.name}") for source, resource in project.resources_of(pipeline)]
    for name in [name for name in block.load if name in project.destinations]:
        steps.append(("load", name))
        yield from (Sample(metric, 0, {"pipeline": pipeline, "destination": name}) for metric in OF_LOADS)
        if block.transform and project.destinations[name].runs_models:
            steps.append(("transform", name))
            yield Sample("tickhouse_models_evaluated_total", 0, {"pipeline": pipeline, "warehouse": name})
    yield from (Sample(f"{RUN_SECONDS}_{part}", 0, {"pipeline": pipeline}) for part in ("sum", "count"))
    for step, target in steps:
        where = {"pipeline": pipeline, "step": step, "target": target}
        for name in (f"{STEP_SECONDS}_sum", f"{STEP_SECONDS}_count", "tickhouse_step_failures_total"):
            yield Sample(name, 0, where)


def _is_topic(project: Project, source: str) -> bool:
    return getattr(project.sources.get(source), "type", "") == "kafka"


def _standing(standing: Standing, here: dict[str, str]) -> Iterator[Sample]:
    yield Sample("tickhouse_last_run_start_timestamp_seconds", seconds(standing.started_at), here)
    if standing.ended is not None and standing.ended.ended_at:
        began, ended = seconds(standing.ended.started_at), seconds(standing.ended.ended_at)
        yield Sample("tickhouse_last_run_timestamp_seconds", ended, here)
        yield Sample("tickhouse_last_run_duration_seconds", max(ended - began, 0.0), here)
    if standing.ok_at:
        yield Sample("tickhouse_last_success_timestamp_seconds", seconds(standing.ok_at), here)


def _newer(known: dict[str, tuple[str, bool]], standing: Standing) -> dict[str, tuple[str, bool]]:
    """Of each destination of the pipeline's newest run: when that ended, and whether the load failed."""
    if standing.ended is None:
        return {}
    ended_at = standing.ended.ended_at or ""
    loads = {d["name"]: bool(d["errors"]) for d in standing.ended.report.get("destinations", ())}
    return {name: (ended_at, failed) for name, failed in loads.items() if known.get(name, ("",))[0] < ended_at}


def _quotas(project: Project, ledger: Ledger, now: datetime) -> Iterator[Sample]:
    used = ledger.requests_since(now.date().replace(day=1))
    for quota in project.quota.sources:
        here = {"source": quota.source}
        sent = used.get(quota.source, 0)
        yield Sample("tickhouse_source_quota_used_requests", sent, here)
        yield Sample("tickhouse_source_quota_planned_requests", quota.calls_per_month, here)
        if quota.per_month is not None:
            yield Sample("tickhouse_source_quota_requests", quota.per_month, here)
            yield Sample("tickhouse_source_quota_left_requests", max(quota.per_month - sent, 0), here)
