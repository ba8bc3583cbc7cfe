"""What has to be true of a soak: findings, one sentence each, and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from engine.lateness import PUNCTUAL
from engine.ledger import Ledger, RunRecord
from engine.notify.memory import Memory
from tests.faults import oracle
from tests.soak.alerts import Fired
from tests.soak.incidents import (
    DESTINATION_BEHIND,
    DESTINATION_DOWN,
    PIPELINE_FAILING,
    PIPELINE_LATE,
    WORKER_DOWN,
    Incident,
)
from tests.soak.project import INTERVALS, MIRROR, PIPELINES
from tests.soak.soak import Soaked

RESOLVE_SECONDS = 75
"""An alert that a probe has to take back: it asks once a minute."""


def findings(soaked: Soaked) -> list[str]:
    """Everything that should not be; none is a pass."""
    return [*data(soaked), *prefect(soaked), *alerts(soaked), *messages(soaked)]


def data(soaked: Soaked) -> Iterator[str]:
    """Every interval is covered once, in the lake, in DuckLake and in PostgreSQL; the marts are what the lake says."""
    trial, packages = soaked.trial, soaked.trial.packages()
    yield from oracle.nothing_lost_or_doubled(trial)
    mirror = trial.mirror
    for finding in (
        *oracle.cursors_agree(mirror, packages),
        *oracle.landing_is_the_lake(mirror, packages),
        *oracle.served_is_landed(mirror, packages),
        *oracle.files_once(mirror),
        *oracle.candles_without_holes(mirror, packages),
    ):
        yield f"{MIRROR}: {finding}"
    yield from oracle.rebuilds_equal(trial, trial.folder.parent / "rebuilt")


def prefect(soaked: Soaked) -> Iterator[str]:
    """No run is left under way, the worker ends as it should, nothing of it stays."""
    yield from (f"Prefect shows as not ended: {run}" for run in soaked.under_way)
    if soaked.exit_code:
        yield f"engine up ended with {soaked.exit_code} when it was told to end: {soaked.worker.said()[-1500:]}"
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").resolve(strict=True).is_relative_to(soaked.trial.folder):
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield f"still runs: {path.name} {command}"
        except OSError:
            continue


def alerts(soaked: Soaked) -> Iterator[str]:
    """What should fire has; whatever else did has a reason among what went wrong."""
    for incident in soaked.incidents:
        for name, subject in incident.must_fire:
            if not any(_is(each, name, subject) and _within(each, incident) for each in soaked.alerts):
                yield f"{incident.kind}: {name} {subject} did not fire"
    late = {pipeline: gaps(soaked, pipeline) for pipeline in PIPELINES}
    for each in soaked.alerts:
        if not _has_reason(each, soaked, late):
            yield f"fired without a reason: {each}, {_clock(each.began)} to {_clock(each.ended)}"


def _has_reason(each: Fired, soaked: Soaked, late: dict[str, list[tuple[float, float]]]) -> bool:
    if each.name in {DESTINATION_DOWN, DESTINATION_BEHIND, PIPELINE_FAILING}:
        pipelines = [each.subject] if each.name == PIPELINE_FAILING else PIPELINES
        if not (set(pipelines) <= set(PIPELINES) and each.subject in {MIRROR, *PIPELINES}):
            return False
        return any(
            one.began <= each.began and each.ended <= _caught_up(soaked, one, pipelines) + RESOLVE_SECONDS
            for one in soaked.incidents
            if one.kind == "destination away"
        )
    if each.name == WORKER_DOWN:
        return any(
            down.began <= each.began <= (down.ended or soaked.ended) + RESOLVE_SECONDS for down in soaked.worker.downs
        )
    if each.name == PIPELINE_LATE:
        return any(began <= each.began <= ended + RESOLVE_SECONDS for began, ended in late[each.subject])
    return False


def _caught_up(soaked: Soaked, outage: Incident, pipelines: Sequence[str]) -> float:
    """When each of these pipelines had a run behind the outage that went well: it alone loads what is its own."""
    ends = []
    for pipeline in pipelines:
        runs = [run for run in runs_of(soaked, pipeline) if run.status == "ok" and run.ended_at]
        mended = [_at(run.ended_at) for run in runs if _at(run.started_at) >= outage.ended and run.ended_at]
        ends.append(min(mended, default=soaked.ended))
    return max(ends)


def gaps(soaked: Soaked, pipeline: str) -> list[tuple[float, float]]:
    """The stretches in which a run should have begun and none did."""
    interval = INTERVALS[pipeline]
    found = []
    for began, following in pairwise([*sorted(_at(run.started_at) for run in runs_of(soaked, pipeline)), soaked.ended]):
        due = (began + PUNCTUAL.total_seconds()) // interval * interval + interval
        if following > due + interval:  # as engine/lateness.py has it
            found.append((due + interval, following))
    return found


def runs_of(soaked: Soaked, pipeline: str | None = None) -> list[RunRecord]:
    """The ledger's runs."""
    return Ledger(soaked.trial.data).last(pipeline, 10_000)


def messages(soaked: Soaked) -> Iterator[str]:
    """Each outage is told once, and its end once; what else was told has a reason, and was taken back."""
    told = soaked.webhook.told
    counts = Counter((each.thing, each.broke) for each in told)
    outages = sum(incident.kind == "destination away" for incident in soaked.incidents)
    kills = sum(incident.kind != "destination away" for incident in soaked.incidents)
    most = {f"destination {MIRROR}": outages}
    most |= {f"{what} of {pipeline}": kills for pipeline in PIPELINES for what in ("run", "schedule")}
    most |= failed_sources(soaked)  # where the market's faults outlast the retries of one run
    for thing in {each.thing for each in told} | {f"destination {MIRROR}"}:
        broke, works = counts[thing, True], counts[thing, False]
        if broke != works:
            yield f"messages: {thing} broke {broke} times and worked again {works} times"
        if broke > most.get(thing, 0) or (thing.startswith("destination ") and broke < outages):
            yield f"messages: {thing} was told {broke} times; there were {most.get(thing, 0)} reasons"
    for thing in {each.thing for each in told}:
        order = [each.broke for each in told if each.thing == thing]
        if order != [number % 2 == 0 for number in range(len(order))]:
            yield f"messages: {thing} was not told in turn: {order}"
    if noted := Memory(soaked.trial.data, timedelta()).broken():
        yield f"messages: still noted as broken: {noted}"


def failed_sources(soaked: Soaked) -> Counter[str]:
    """How many runs failed a source, by its name in messages."""
    failed = (
        {
            f"source {resource['source']} of {run.pipeline}"
            for resource in run.report.get("resources", ())
            if resource["error"]
        }
        for run in runs_of(soaked)
    )
    return Counter(name for names in failed for name in names)


def figures(soaked: Soaked) -> list[str]:
    """What there was of it."""
    trial = soaked.trial
    rows: Counter[str] = Counter()
    for package in trial.packages():
        rows[package.table] += package.rows
    runs = Counter(run.status for run in runs_of(soaked))
    kinds = Counter(incident.kind for incident in soaked.incidents)
    kills = sum(count for kind, count in kinds.items() if kind.startswith("kill"))
    fired = Counter(str(each) for each in soaked.alerts)
    told = Counter(f"{each.thing} {'broke' if each.broke else 'works'}" for each in soaked.webhook.told)
    return [
        f"{(soaked.ended - soaked.began) / 60:.1f} minutes, {len(list(trial.history.glob('*.csv')))} files",
        f"packages {len(trial.packages())}; rows: {_counted(rows)}",
        f"runs by the ledger: {_counted(runs)}; by Prefect: {_counted(soaked.states)}",
        f"{kills} kills and {len(soaked.incidents) - kills} outages: {_counted(kinds)}; faults fired: {soaked.faults}",
        f"engine up: {soaked.worker.starts} starts, exit codes {soaked.worker.codes}",
        f"alerts fired: {_counted(fired)}",
        f"messages: {len(soaked.webhook.texts)}: {_counted(told)}",
        *(f"{name} was late within {_spans(gaps(soaked, name))}" for name in PIPELINES if gaps(soaked, name)),
    ]


def _is(each: Fired, name: str, subject: str) -> bool:
    return each.name == name and (not subject or each.subject == subject)


def _within(each: Fired, incident: Incident) -> bool:
    return incident.began <= each.began <= (incident.healed or incident.ended)


def _at(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%H:%M:%S}"  # noqa: DTZ006 - for a person, beside the log's own times


def _spans(spans: list[tuple[float, float]]) -> str:
    return ", ".join(f"{_clock(began)} to {_clock(ended)}" for began, ended in spans)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
