"""What a run's end tells: which things are broken, which work, and the message about what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engine.errors import BusyError, TickhouseError, UsageError
from engine.notify.heard import note_sent
from engine.notify.memory import LOCK_SECONDS, Change, Memory
from engine.notify.texts import message
from engine.notify.webhook import NotSentError, post
from engine.redact import Redactor
from engine.report import RunReport, told_line

if TYPE_CHECKING:
    from engine.config.project import Project

log = logging.getLogger(__name__)


@contextmanager
def telling(project: Project, report: RunReport) -> Iterator[None]:
    """Tell people how the run in this block ended, if the file has `notify:`. Never raises by itself.

    What kept a message from being sent becomes a note of the report.
    """
    try:
        yield
    except (BusyError, UsageError):  # said to whoever started it: nothing broke
        raise
    except Exception as error:
        tell_run(project, replace(report, errors=[*report.errors, told_of(error)]))
        raise
    else:
        report.notes += tell_run(project, report)


def told_of(error: Exception) -> str:
    """Return in a line what ended a run."""
    return error.line if isinstance(error, TickhouseError) else f"unexpected {type(error).__name__}: {error}"


def tell_run(project: Project, report: RunReport, now: datetime | None = None) -> list[str]:
    """Tell what changed with this run; return what went wrong with telling. A stopped run tells nothing."""
    if project.notify is None or report.stopped:
        return []
    return tell(project, report.pipeline, broken_by(report), works_by(report), now or datetime.now(UTC))


def tell_dead(project: Project, pipeline: str, began: Sequence[datetime]) -> list[str]:
    """Tell of runs that died, once the next has begun, behind which nobody sees them; return what went wrong.

    Only where a schedule starts them: who kills a run by hand knows.
    """
    block = project.file.pipelines.get(pipeline)
    if project.notify is None or block is None or not block.schedule or not began:
        return []
    died, memory = death(pipeline, max(began)), Memory(project.data_dir, timedelta.max)
    if died.keys() <= {thing.key for thing in memory.broken() if thing.told_at}:  # this run is about to mend it
        return []
    return tell(project, pipeline, died, set[str]().__contains__, datetime.now(UTC))


def death(pipeline: str, began: datetime) -> dict[str, str]:
    """Return what a run that died is among what is broken, and why."""
    why = (
        f"the run that began at {began:%Y-%m-%d %H:%M} UTC died before it ended (killed, out of memory, a restart?) — "
        "Nothing that was landed is lost; the next run goes on from there."
    )
    return {f"run of {pipeline}": why}


def tell(
    project: Project, pipeline: str, broken: Mapping[str, str], works: Callable[[str], bool], now: datetime
) -> list[str]:
    """Send one message about all that changed, and remember it; return what went wrong, in one line."""
    settings = project.notify
    if settings is None:
        return []
    hidden = Redactor(project.secrets)
    broken = {key: hidden(why) for key, why in broken.items()}
    memory = Memory(project.data_dir, timedelta(hours=settings.remind_hours))
    untold = memory.untold(pipeline)
    broken = {key: why for key, why in untold.items() if not works(key)} | broken
    try:
        with memory.change(broken, works, now) as change:
            wanted = _wanted(change, settings.on)
            try:
                if text := message(project, pipeline, wanted, now):
                    note_sent(project, post(settings.webhook, text), now)
            except NotSentError as error:
                change.sent = False
                note_sent(project, str(error), now)
                return [f"nobody was told of this: {error}; the next run tries again"]
            for thing in (*wanted.broke, *wanted.still):
                thing.told_at = now
            if untold:
                memory.put_off(pipeline, {})
    except BusyError:
        return [_put_off(memory, pipeline, broken)]
    except Exception as error:
        log.info("nobody was told", exc_info=True)
        return [f"nobody was told of this: {type(error).__name__}"]
    return []


def _put_off(memory: Memory, pipeline: str, broken: Mapping[str, str]) -> str:
    """Keep what nobody could be told of, for whoever looks next; return that in one line."""
    why = f"others have been telling people for {LOCK_SECONDS:.0f} s, and the webhook answers slowly"
    try:
        memory.put_off(pipeline, broken)
    except OSError as error:
        return f"nobody was told of this: {why}; and it could not be noted: {error}"
    return f"nobody was told of this yet: {why}; `engine up` tells it within a minute, or the next run does"


def broken_by(report: RunReport) -> dict[str, str]:
    """Return what this run found broken, and why, each with what to do."""
    found: dict[str, str] = {}
    for error in report.errors:
        found.setdefault(_run(report), error)
    for r in report.resources:
        if r.status == "failed" or r.error:  # a window that landed without some of its assets is one
            why = told_line(r.error, r.remedy).removeprefix(f"{r.source}: ")
            found.setdefault(_source(report, r.source), why)
    for d in report.destinations:
        if d.errors:
            found[f"destination {d.name}"] = d.errors[0].removeprefix(f"{d.name}: ")
    for t in report.transforms:
        if t.status == "failed":
            found[f"models on {t.warehouse} of {report.pipeline}"] = told_line(t.error, t.remedy)
    return found


def works_by(report: RunReport) -> Callable[[str], bool]:
    """Return whether this run has shown that a thing which is not broken works: it was tried, and did not fail."""
    tried = {_run(report)}
    tried |= {_source(report, r.source) for r in report.resources}
    tried |= {f"destination {d.name}" for d in report.destinations}
    tried |= {f"models on {t.warehouse} of {report.pipeline}" for t in report.transforms if t.status != "off"}
    return tried.__contains__


def _run(report: RunReport) -> str:
    return f"{_past(report) or 'run'} of {report.pipeline}"


def _source(report: RunReport, source: str) -> str:
    return ", ".join(filter(None, [_past(report), f"source {source} of {report.pipeline}"]))


def _past(report: RunReport) -> str:
    """Name a backfill: what failed in one is mended by the same range only, and it shows nothing of what is new."""
    if report.backfill is None:
        return ""
    start, _, end = report.backfill.partition("/")
    return f"backfill {_short(start)} to {_short(end)}"


def _short(instant: str) -> str:
    """2026-01-01 of 2026-01-01T00:00:00+00:00; the rest of it where it is no midnight."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def _wanted(change: Change, kinds: Sequence[str]) -> Change:
    """Leave out what the file does not want to be told."""

    def kept(key: str) -> bool:
        return ("lateness" if key.startswith("schedule of ") else "failure") in kinds

    return Change(
        [thing for thing in change.broke if kept(thing.key)],
        [thing for thing in change.still if kept(thing.key)],
        change.works if "recovery" in kinds else [],
    )
