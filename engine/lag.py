"""How far behind its topics the lake is, by partition, and whether that is getting worse.

Asked of the brokers now; what earlier runs left unread comes from the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.standing import due_behind

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.lake.lake import Lake
    from engine.ledger import Ledger, RunRecord

LOOKED_BACK = 3
"""Runs in which a lag must not have shrunk to be told."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition: the offset to land next, where its log ends, and how many offsets are between."""

    source: str
    resource: str
    partition: int
    landed: int
    end: int
    warning: str = ""

    @property
    def lag(self) -> int:
        """Offsets that are not landed yet."""
        return max(0, self.end - self.landed)

    def as_json(self) -> dict[str, Any]:
        """As `engine status --json` prints it."""
        return {**asdict(self), "lag": self.lag}


def lags(project: Project, lake: Lake, ledger: Ledger, now: datetime) -> tuple[list[PartitionLag], list[str]]:
    """Return the lag of every partition of every topic that some pipeline reads, and what could not be asked."""
    found: list[PartitionLag] = []
    notes: list[str] = []
    for (source, name), pipelines in _read_by(project).items():
        resource = next(one for one in project.resources[source] if one.name == name)
        if resource.behind is None:
            continue
        state, _ = lake.state(source, name, resource.table.name)
        all_runs = [run for pipeline in pipelines for run in ledger.last(pipeline, LOOKED_BACK + 1)]
        all_runs.sort(key=lambda run: run.started_at)
        runs = [run for run in all_runs if run.ended_at][-LOOKED_BACK:]
        late = died(all_runs) or _late(project, ledger, pipelines, runs, now)
        try:
            partitions = resource.behind(source, state)
        except TickhouseError as error:
            notes.append(f"lag of {source}.{name} is not known: {error.reason}")
            continue
        for partition, (landed, end) in sorted(partitions.items()):
            warning = late or worse(_left(runs, source, name, partition)) if end > landed else ""
            found.append(PartitionLag(source, name, partition, landed, end, warning))
    return found, notes


def worse(left: Sequence[int | None]) -> str:
    """Say what is wrong with what the last runs left unread, oldest first (None: the run could not read it); ''."""
    if left and left[-1] is None:
        return "stuck: the last run could not read it"
    known = [count for count in left if count is not None]
    if len(known) < LOOKED_BACK or known[0] == 0 or known != sorted(known):
        return ""
    told = ", ".join(f"{count:,}" for count in known)
    return f"{'growing' if known[-1] > known[0] else 'stuck'}: the last runs left {told}"


def died(runs: Sequence[RunRecord]) -> str:
    """Say so when the last runs all died; the newest one may be under way, and does not count."""
    ended = runs if runs and runs[-1].ended_at else runs[:-1]
    last = ended[-LOOKED_BACK:]
    if len(last) < LOOKED_BACK or any(run.ended_at for run in last):
        return ""
    return f"stuck: the last {LOOKED_BACK} runs died before they ended"


def _read_by(project: Project) -> dict[tuple[str, str], list[str]]:
    read: dict[tuple[str, str], list[str]] = {}
    for pipeline in project.file.pipelines:
        for source, resource in project.resources_of(pipeline):
            read.setdefault((source, resource.name), []).append(pipeline)
    return read


def _left(runs: Sequence[RunRecord], source: str, resource: str, partition: int) -> list[int | None]:
    """What each run left of the partition."""
    reports = [
        report
        for run in runs
        for report in run.report.get("resources", [])
        if (report["source"], report["resource"]) == (source, resource)
    ]
    return [
        None if report["status"] == "failed" else report.get("lag", {}).get(str(partition), 0) for report in reports
    ]


def _late(project: Project, ledger: Ledger, pipelines: Sequence[str], runs: Sequence[RunRecord], now: datetime) -> str:
    """Say so when two times of a schedule have passed since any pipeline read it: then nobody seems to run it."""
    if not runs:
        return ""
    read = max(datetime.fromisoformat(run.ended_at or run.started_at) for run in runs).astimezone(UTC)
    expected = [due_behind(project, ledger, pipeline, read) for pipeline in pipelines]
    if not any(one is not None and now >= one.at + one.interval for one in expected):
        return ""
    ago = now - read
    return f"stuck: no run has read it for {ago - timedelta(microseconds=ago.microseconds)}"
