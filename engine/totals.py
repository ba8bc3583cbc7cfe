"""What all runs of a data folder together did: a run's report as increments of counters that only ever grow.

The ledger adds them up in the transaction that ends a run, so that they outlive the runs it forgets. A counter is named
as Prometheus shows it (engine/metrics/catalogue.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Labels = tuple[tuple[str, str], ...]
"""(label, value) pairs, in the order of the labels' names."""
STEP_SECONDS = "tickhouse_step_duration_seconds"
RUN_SECONDS = "tickhouse_run_duration_seconds"
RUNS = "tickhouse_runs_total"


def totals_of(pipeline: str, status: str, report: Mapping[str, Any]) -> dict[tuple[str, Labels], float]:
    """Return what a run adds to each counter."""
    found: dict[tuple[str, Labels], float] = defaultdict(float)
    for name, labels, value in _increments(pipeline, status, report):
        found[name, tuple(sorted(labels.items()))] += value
    return found


def _increments(pipeline: str, status: str, report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    yield RUNS, {"pipeline": pipeline, "status": status}, 1
    if report.get("started_at") and report.get("ended_at"):
        took = datetime.fromisoformat(report["ended_at"]) - datetime.fromisoformat(report["started_at"])
        yield from _duration(RUN_SECONDS, {"pipeline": pipeline}, took.total_seconds())
    for resource in report.get("resources", ()):
        yield from _extracted(pipeline, resource)
    for destination in report.get("destinations", ()):
        where = {"pipeline": pipeline, "destination": destination["name"]}
        yield "tickhouse_loaded_rows_total", where, destination["rows"]
        yield "tickhouse_loaded_bytes_total", where, destination["bytes"]
        yield "tickhouse_loaded_packages_total", where, destination["packages"]
        yield from _step(pipeline, "load", destination["name"], destination)
    for transform in report.get("transforms", ()):
        if transform["status"] != "off":
            where = {"pipeline": pipeline, "warehouse": transform["warehouse"]}
            yield "tickhouse_models_evaluated_total", where, transform["models"]
            yield from _step(pipeline, "transform", transform["warehouse"], transform)


def _extracted(pipeline: str, resource: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    where = {"pipeline": pipeline, "source": resource["source"], "resource": resource["resource"]}
    yield "tickhouse_landed_rows_total", where, resource["rows"]
    yield "tickhouse_landed_bytes_total", where, resource["bytes"]
    yield "tickhouse_landed_packages_total", where, resource["status"] == "landed"
    yield "tickhouse_quarantined_rows_total", where, resource["quarantined"]
    if resource["requests"] or resource["waited_seconds"]:
        asked = {"source": resource["source"]}
        yield "tickhouse_source_requests_total", asked, resource["requests"]
        yield "tickhouse_source_retries_total", asked, resource["retries"]
        yield "tickhouse_source_wait_seconds_total", asked, resource["waited_seconds"]
    yield from _step(pipeline, "extract", f"{resource['source']}.{resource['resource']}", resource)


def _step(
    pipeline: str, step: str, target: str, report: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, str], float]]:
    where = {"pipeline": pipeline, "step": step, "target": target}
    yield from _duration(STEP_SECONDS, where, report["seconds"])
    yield "tickhouse_step_failures_total", where, report["status"] == "failed"


def _duration(name: str, labels: dict[str, str], seconds: float) -> Iterator[tuple[str, dict[str, str], float]]:
    yield f"{name}_sum", labels, max(seconds, 0.0)
    yield f"{name}_count", labels, 1
