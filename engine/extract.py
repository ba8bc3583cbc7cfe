"""Extract one resource: iterate its dlt resource, type every page (conform), land one package (lake).

dlt's state travels with the package: it is read from the newest package's manifest and written into the new one, so
rows and the position they were read up to are committed by the same entry of the lake's log, or not at all.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from engine.backfill import mark_window, tell_missed
from engine.errors import EXIT_USAGE, LakeConflictError, TickhouseError
from engine.progress import Progress
from engine.report import STOPPED, ResourceReport
from engine.under_way import UnderWay
from engine.words import counted
from sources.protocol import Resource, SetAside, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

    from engine.conform import Conformed, Conformer
    from engine.lake.lake import Lake

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
log = logging.getLogger(__name__)
AGAIN = "Run it again: nothing of this table was landed."


class StoppedError(TickhouseError):
    """The run was told to stop: what is not committed is dropped and extracted again next time."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What every extraction of a run shares."""

    lake: Lake
    under_way: UnderWay
    context: SourceContext
    progress: Progress
    stop: threading.Event


def extract(extraction: Extraction, source: str, resource: Resource) -> ResourceReport:
    """Land what the resource has to give; never raises: a failure is in the report, and nothing of it is landed."""
    simulated = resource.simulated or (resource.calls is not None and extraction.context.replay_url is not None)
    report = ResourceReport(source, resource.name, resource.table.name, simulated=simulated)
    with extraction.under_way.resource(report):
        _extract(extraction, source, resource, report)
    return report


def _extract(extraction: Extraction, source: str, resource: Resource, report: ResourceReport) -> None:
    step = f"extract {source}.{resource.name}"
    if extraction.stop.is_set():
        report.status, report.error, report.remedy = "failed", STOPPED, AGAIN
        return
    started = time.monotonic()
    extraction.progress.begin(step)
    try:
        _land_again(extraction, source, resource, report, step)
    except TickhouseError as error:
        report.status, report.error, report.remedy = "failed", error.reason, error.remedy
        report.retry = _may_help(error)
    except Exception as error:
        report.status = "failed"
        report.error, report.remedy, report.retry = _unwrap(source, resource, error)
        log.debug("extraction of %s.%s failed", source, resource.name, exc_info=True)
    if report.status == "failed":
        report.rows = report.quarantined = 0  # what was read is dropped: a package is landed whole or not at all
    report.seconds = round(time.monotonic() - started, 3)
    figures = {"rows": report.rows, "quarantined": report.quarantined, "bytes": report.bytes, "seconds": report.seconds}
    extraction.progress.end(step, _sentence(report), ok=report.error is None, **figures)


def _land_again(extraction: Extraction, source: str, resource: Resource, report: ResourceReport, step: str) -> None:
    """Land; when another run landed the same resource first, extract once more from where that run came to."""
    try:
        _land(extraction, source, resource, report, step)
    except LakeConflictError:
        report.rows = report.quarantined = 0
        report.set_aside.clear()
        report.notices.clear()
        _land(extraction, source, resource, report, step)


def _land(extraction: Extraction, source: str, resource: Resource, report: ResourceReport, step: str) -> None:
    from engine.lake.lake import new_load_id

    lake, run_id = extraction.lake, extraction.under_way.run_id
    table = resource.table
    state, since_seq = lake.state(source, resource.name, table.name)
    before = copy.deepcopy(state)
    began = datetime.now(UTC)
    load_id = new_load_id(began)
    writer = lake.writer(
        source=source,
        resource=resource.name,
        table=table,
        run_id=run_id,
        load_id=load_id,
        since_seq=since_seq,
        simulated=report.simulated,
    )
    try:
        missed: list[str] = []
        context = _context(extraction, report, step, missed)
        found = pages(resource.build(context), source, state)
        first = list(islice(found, 1))
        if not first:
            mark_window(state, resource, context, missed)
            if state == before:
                writer.discard()
                tell_missed(report, resource, context, missed)
                return
        from engine.conform import Conformer  # heavy: not where nothing is new

        conformer = Conformer(table, lake.columns(table.name), source=source, load_id=load_id, run_id=run_id)
        for conformed in _conformed(chain(first, found), conformer, one_by_one=resource.one_by_one):
            if extraction.stop.is_set():
                raise StoppedError(STOPPED, AGAIN)
            writer.write(conformed.rows)
            writer.write_rejected(conformed.rejected)
            if resource.rejected is not None and conformed.rejected.num_rows:
                resource.rejected(context, conformed.rejected)
            report.rows += conformed.rows.num_rows
            report.quarantined += conformed.rejected.num_rows
            _count_reasons(report, conformed.rejected)
            extraction.progress.update(step, counted(report.rows, "row"))
        mark_window(state, resource, context, missed)
        if state == before and not report.rows and not report.quarantined:
            writer.discard()
            tell_missed(report, resource, context, missed)
            return
        entry = writer.publish(conformer.columns, state, began, datetime.now(UTC))
    except BaseException:
        writer.discard()
        raise
    if entry is not None:
        report.load_id, report.bytes = entry.load_id, entry.bytes
        report.status = "landed"
        if resource.landed is not None:
            resource.landed(context, state)
    tell_missed(report, resource, context, missed)


def _conformed(items: Iterable[Any], conformer: Conformer, *, one_by_one: bool) -> Iterator[Conformed]:
    """Type page by page; none has a load time before an earlier one's, even if the clock is set back."""
    after = datetime.now(UTC)
    for item in items:
        at = max(datetime.now(UTC), after)
        if isinstance(item, SetAside):
            yield conformer.set_aside(item, at)
            continue
        after = at + timedelta(microseconds=len(item) if one_by_one else 0)
        yield conformer.conform(item, at, one_by_one=one_by_one)


def pages(resource: DltResource, source: str, state: dict[str, Any]) -> Iterator[Any]:
    """Iterate a dlt resource page by page with `state` as its resource state (changed in place).

    dlt's own iteration of a resource flattens pages into rows; its pipe iterator keeps pages and Arrow tables whole.
    """
    from dlt.common.configuration import inject_section
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
    from dlt.common.pipeline import StateInjectableContext
    from dlt.extract.pipe_iterator import ManagedPipeIterator

    whole: dict[str, Any] = {"sources": {source: {"resources": {resource.name: state}}}}
    section = ConfigSectionContext(sections=("sources", source, resource.name), source_state_key=source)
    context = StateInjectableContext(state=whole)
    with inject_section(section), Container().injectable_context(context):
        made = ManagedPipeIterator.from_pipe.__func__.__wrapped__  # without a look at dlt's own configuration files
        iterator = made(ManagedPipeIterator, resource._pipe)  # noqa: SLF001 - dlt has no public page iteration
    iterator.set_context([context, section])
    with iterator:
        for item in iterator:
            if item.item is not None:
                yield item.item


REASONS_KEPT = 20


def _count_reasons(report: ResourceReport, rejected: Any) -> None:
    """Add up why rows were set aside, by column and reason; reasons beyond the twentieth count as `other`."""
    if not rejected.num_rows:
        return
    for column, reason in zip(rejected["column_name"].to_pylist(), rejected["reason"].to_pylist(), strict=True):
        why = f"{column}: {reason}" if column else reason
        if why not in report.set_aside and len(report.set_aside) >= REASONS_KEPT:
            why = "other"
        report.set_aside[why] = report.set_aside.get(why, 0) + 1


def _context(extraction: Extraction, report: ResourceReport, step: str, missed: list[str]) -> SourceContext:
    def notice(message: str, *, item: str | None = None) -> None:
        report.notices.append(f"{report.source}: {item}: {message}" if item else f"{report.source}: {message}")

    def wait(seconds: float, why: str) -> None:
        report.waited_seconds += seconds
        extraction.progress.update(step, f"waiting {seconds:.0f} s: {why}")
        if extraction.stop.is_set():
            raise StoppedError(STOPPED, AGAIN)

    counting = threading.Lock()

    def asked(again: bool) -> None:  # noqa: FBT001 - called by position
        with counting:
            report.requests += 1
            report.retries += again
        extraction.under_way.moved()

    def lag(partitions: Mapping[int, int]) -> None:
        report.lag = {str(partition): messages for partition, messages in partitions.items()}

    return replace(
        extraction.context,
        source=report.source,
        notice=notice,
        wait=wait,
        missed=missed.append,
        asked=asked,
        lag=lag,
    )


def _may_help(error: TickhouseError) -> bool:
    """Whether asking again may help: not against a configuration or a source's own final word."""
    return error.exit_code != EXIT_USAGE and not getattr(error, "terminal", False)


def _unwrap(source: str, resource: Resource, error: BaseException) -> tuple[str, str | None, bool]:
    """Find reason, remedy and whether a retry may help inside dlt's wrappers.

    Our own error has them, if there is one; else the reason is the first line of the innermost.
    """
    seen: BaseException | None = error
    innermost = error
    while seen is not None:
        if isinstance(seen, TickhouseError):
            return seen.reason, seen.remedy or None, _may_help(seen)
        innermost = seen
        seen = seen.__cause__ or seen.__context__
    first = (str(innermost).strip().splitlines() or [""])[0]
    return f"{source}.{resource.name}: {type(innermost).__name__}: {first[:300]}", None, True


def _sentence(report: ResourceReport) -> str:
    if report.status == "failed":
        # the step is named before it, and what to do about it is said at the end
        return " ".join((report.error or "").removeprefix(f"{report.source}: ").split())
    if report.status == "unchanged":
        return f"nothing new ({report.seconds:.1f} s)"
    aside = f", {report.quarantined:,} set aside" if report.quarantined else ""
    return f"{counted(report.rows, 'row')}{aside}, {report.bytes / 1000:,.0f} kB, {report.seconds:.1f} s"
