"""The page at the end of a run: what landed, what was loaded, what was built, what failed and what to do."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from engine.redact import visible
from engine.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from engine.logs import JsonLog
    from engine.report import RunReport

NOTICES_SHOWN = 8


def summary(report: RunReport, *, width: int = 110) -> str:
    """Return the summary of one run as text, at most `width` characters wide."""
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    if report.resources:
        console.print(_resources(report))
    for line in _steps(report):
        console.print(Text(visible(line)))
    for r in report.resources:
        for why, count in r.set_aside.items():
            console.print(Text(visible(f"set aside in {r.table}: {counted(count, 'row')}: {why}")), soft_wrap=True)
    notices = report.told_notices
    for notice in notices[:NOTICES_SHOWN]:
        console.print(Text(visible(f"note: {notice}")), soft_wrap=True)
    if len(notices) > NOTICES_SHOWN:
        console.print(f"note: and {len(notices) - NOTICES_SHOWN} more (engine status --json has all)")
    for failure in report.told_failures:
        console.print(Text(visible(f"FAILED: {failure}")), soft_wrap=True)
    console.print(Text(_verdict(report)))
    return out.getvalue().rstrip()


def log_end(log: JsonLog, report: RunReport) -> None:
    """Write how a run ended, for machines."""
    level = {"ok": "info", "partial": "warning"}.get(report.status, "error")
    log.write(f"{report.pipeline}: {report.status}", level=level, event="run_end", **_totals(report))


def _totals(report: RunReport) -> dict[str, Any]:
    """Return a run in one line of a log for machines: sums over its steps, and what a person has to know."""
    set_aside: dict[str, Counter[str]] = {}
    for r in report.resources:
        if r.set_aside:
            set_aside.setdefault(r.table, Counter()).update(r.set_aside)
    return {
        "status": report.status,
        "exit_code": report.exit_code,
        "rows": sum(r.rows for r in report.resources),
        "quarantined": sum(r.quarantined for r in report.resources),
        "set_aside": set_aside,
        "bytes": sum(r.bytes for r in report.resources),
        "rows_loaded": sum(d.rows for d in report.destinations),
        "models": sum(t.models for t in report.transforms),
        "failures": report.failures,
        "notes": report.told_notices,
    }


def _resources(report: RunReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("source")
    table.add_column("table")
    topics = any(r.lag for r in report.resources)
    for column in ("rows", "set aside", "kB", "seconds", *(("lag",) if topics else ())):
        table.add_column(column, justify="right")
    table.add_column("")
    for r in report.resources:
        lag = (f"{sum(r.lag.values()):,}" if r.lag else "",) if topics else ()
        table.add_row(
            Text(f"{r.source}.{r.resource}" if r.resource != r.table else r.source),
            Text(r.table),
            f"{r.rows:,}",
            f"{r.quarantined:,}" if r.quarantined else "",
            f"{r.bytes / 1000:,.0f}",
            f"{r.seconds:.1f}",
            *lag,
            Text(r.status + (", simulated" if r.simulated else "")),
        )
    return table


def _steps(report: RunReport) -> list[str]:
    lines = [
        f"{d.name}: {d.status}, {counted(d.rows, 'row')} in {counted(d.packages, 'package')}, "
        f"{d.bytes / 1000:,.0f} kB, {d.seconds:.1f} s"
        for d in report.destinations
    ]
    lines += [
        f"models on {t.warehouse}: {t.status}, {t.models} evaluated, {t.seconds:.1f} s"
        for t in report.transforms
        if t.status != "off"
    ]
    return lines


def _verdict(report: RunReport) -> str:
    if report.stopped:
        return f"{report.pipeline}: stopped; what was landed stays, the next run loads it (run {report.run_id})"
    words = {"ok": "done", "partial": "done in part: what succeeded is landed and loaded", "failed": "failed"}
    return f"{report.pipeline}: {words[report.status]} (run {report.run_id})"
