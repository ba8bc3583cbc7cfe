"""Quota arithmetic: what the schedules ask of each API in a run and in a 30-day month, against what it allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.schedule import DAY_MINUTES, MONTH_DAYS, Schedule
from sources.protocol import Resource

STEP_MINUTES = 5
MONTH_MINUTES = MONTH_DAYS * DAY_MINUTES
WARN_SHARE = 0.8

Verdict = Literal["ok", "warn", "refuse"]
Finding = tuple[Verdict, str, str | None]
"""A verdict, its sentence, and the pipeline whose schedule it is about."""
RANK: dict[Verdict, int] = {"ok": 0, "warn": 1, "refuse": 2}


@dataclass(frozen=True, slots=True)
class PipelineUse:
    """What one pipeline asks of one source. Without a schedule it runs only when asked: no calls a month."""

    pipeline: str
    calls_per_run: int
    weight_per_run: int
    runs_per_month: int

    @property
    def calls_per_month(self) -> int:
        """Calls in a 30-day month."""
        return self.calls_per_run * self.runs_per_month


@dataclass(frozen=True, slots=True)
class SourceQuota:
    """What all pipelines ask of one source, and whether its limits allow it. `pipeline` is the one to change."""

    source: str
    uses: tuple[PipelineUse, ...]
    calls_per_month: int
    per_minute: int | None
    per_month: int | None
    verdict: Verdict
    sentence: str
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """Every source that counts its calls, in the order of the file."""

    sources: tuple[SourceQuota, ...] = ()

    def as_json(self) -> list[dict[str, Any]]:
        """Plain values for `--json`."""
        rows = []
        for quota in self.sources:
            row = asdict(quota)
            row["uses"] = [{**asdict(use), "calls_per_month": use.calls_per_month} for use in quota.uses]
            rows.append(row)
        return rows


def quota_report(
    extracts: Mapping[str, Sequence[tuple[str, Resource]]], schedules: Mapping[str, Schedule]
) -> QuotaReport:
    """Add up each source's calls over the pipelines. `extracts`: (source, resource) pairs by pipeline."""
    by_source: dict[str, dict[str, list[Resource]]] = {}
    for pipeline, pairs in extracts.items():
        for source, resource in pairs:
            if resource.calls is not None:
                by_source.setdefault(source, {}).setdefault(pipeline, []).append(resource)
    return QuotaReport(tuple(_source(source, used, schedules) for source, used in by_source.items()))


def _source(source: str, used: Mapping[str, list[Resource]], schedules: Mapping[str, Schedule]) -> SourceQuota:
    every = [resource.calls for resources in used.values() for resource in resources if resource.calls]
    per_minute = min((calls.per_minute for calls in every if calls.per_minute is not None), default=None)
    per_month = min((calls.per_month for calls in every if calls.per_month is not None), default=None)
    uses = []
    for pipeline, resources in used.items():
        calls = [resource.calls for resource in resources if resource.calls]
        schedule = schedules.get(pipeline)
        runs = schedule.runs_per_month if schedule else 0
        uses.append(PipelineUse(pipeline, sum(c.calls for c in calls), sum(c.weight for c in calls), runs))
    total = sum(use.calls_per_month for use in uses)
    findings = [
        _month(uses, total, per_month),
        *(_minute(use, per_minute, schedules.get(use.pipeline)) for use in uses),
    ]
    verdict, sentence, to_change = max(findings, key=lambda finding: RANK[finding[0]])
    return SourceQuota(source, tuple(uses), total, per_minute, per_month, verdict, sentence, to_change)


def _month(uses: Sequence[PipelineUse], total: int, limit: int | None) -> Finding:
    """Compare calls a month with the plan; the pipeline that asks most is the one to change."""
    asked = f"{total:,} call{'' if total == 1 else 's'} a month"
    if limit is None:
        return "ok", asked, None
    allowed = f"{asked}; the plan allows {limit:,}"
    if total <= limit * WARN_SHARE:
        return "ok", allowed, None
    heaviest = max(uses, key=lambda use: use.calls_per_month)
    if total <= limit:
        return "warn", f"{allowed}: {total / limit:.0%} of it, retries and backfills come on top", heaviest.pipeline
    others = total - heaviest.calls_per_month
    minutes = fitting_interval(heaviest.calls_per_run, limit - others)
    if minutes is None:
        return "refuse", f"{allowed}: no schedule of {heaviest.pipeline} fits", heaviest.pipeline
    return "refuse", f"{allowed}: {every(minutes)} would fit", heaviest.pipeline


def _minute(use: PipelineUse, limit: int | None, schedule: Schedule | None) -> Finding:
    """A run that needs more than a minute's allowance takes longer than a minute; it must still end before the next."""
    if limit is None or use.weight_per_run <= limit:
        return "ok", "", None
    minutes = -(-use.weight_per_run // limit)
    sentence = f"a run asks for a weight of {use.weight_per_run:,}; {limit:,} a minute are allowed"
    if schedule and schedule.shortest_interval.total_seconds() < minutes * 60:
        fits = -(-minutes // STEP_MINUTES) * STEP_MINUTES
        return "refuse", f"{sentence}: it takes {minutes} minutes, {every(fits)} would fit", use.pipeline
    return "warn", f"{sentence}: it takes {minutes} minutes", use.pipeline


def every(minutes: int) -> str:
    """Say an interval as people do: whole hours from two hours on, whole days from two days on, rounded up."""
    for unit, length, least in (("day", DAY_MINUTES, 2 * DAY_MINUTES), ("hour", 60, 120)):
        if minutes >= least or minutes == length:
            count = -(-minutes // length)
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    return f"every {minutes} minutes"


def fitting_interval(calls_per_run: int, per_month: int) -> int | None:
    """The smallest multiple of 5 minutes at which so many calls a run fit into a 30-day month, if any."""
    if per_month < calls_per_run:
        return None
    runs = per_month // max(calls_per_run, 1)
    minutes = -(-MONTH_MINUTES // runs)
    return -(-minutes // STEP_MINUTES) * STEP_MINUTES
