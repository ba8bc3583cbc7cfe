"""A run's report as a page in Prefect: what landed, what was loaded and built, what failed and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_UI_URL

from engine.errors import TickhouseError
from engine.ledger import Ledger
from engine.redact import Redactor, visible
from engine.schedules.settings import shown
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.report import RunReport

EXIT_WORDS = {0: "done", 1: "a retry may help", 2: "do not retry"}


def keep_page(project: Project, report: RunReport, redact: Redactor) -> None:
    """Keep the page under the pipeline's key, so that Prefect shows how it changes from run to run."""
    create_markdown_artifact(
        redact(page(project, report, _calls_of_the_month(project), _links(project, report))),
        key=f"run-{report.pipeline.replace('_', '-')}",
        description=redact(visible(outcome_line(report))),
    )


def outcome_line(report: RunReport) -> str:
    """Return one line: what came, and the first failure."""
    rows = sum(resource.rows for resource in report.resources)
    line = f"{report.status}: {counted(rows, 'row')} landed (run {report.run_id})"
    failures = report.told_failures
    if not failures:
        return line
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return f"exit code {report.exit_code} ({EXIT_WORDS[report.exit_code]}), {line}: {failures[0]}{more}"


def page(project: Project, report: RunReport, calls: Mapping[str, int], links: Sequence[str]) -> str:
    """Return the report as markdown. `calls`: what each source was asked this month; `links` in markdown."""
    lines = [f"# {report.pipeline}: {report.status}", ""]
    lines += [f"Run `{report.run_id}`, profile `{report.profile}`, {report.started_at} to {report.ended_at} (UTC)."]
    if report.simulated:
        lines += ["", "**Prices and news of this run are simulated.**"]
    lines += _table(
        "Extracted",
        ["source", "table", "rows", "set aside", "bytes", "seconds", "waited", "status"],
        [
            [
                f"{r.source}.{r.resource}",
                r.table,
                f"{r.rows:,}",
                f"{r.quarantined:,}",
                f"{r.bytes:,}",
                f"{r.seconds:.1f}",
                f"{r.waited_seconds:.1f}",
                r.status,
            ]
            for r in report.resources
        ],
    )
    lines += _table(
        "Loaded",
        ["destination", "packages", "rows", "bytes", "seconds", "status"],
        [
            [d.name, f"{d.packages:,}", f"{d.rows:,}", f"{d.bytes:,}", f"{d.seconds:.1f}", d.status]
            for d in report.destinations
        ],
    )
    lines += _table(
        "Models and their checks",
        ["warehouse", "evaluated", "seconds", "status", "checks that warn"],
        [
            [t.warehouse, f"{t.models:,}", f"{t.seconds:.1f}", t.status, "; ".join(t.warnings) or "none"]
            for t in report.transforms
        ],
    )
    lines += _table(
        "Quota",
        ["source", "calls of this run", "calls of this month", "the plan allows", "left", "the schedules ask"],
        _quota(project, report, calls),
    )
    lines += _list("Failed", report.told_failures) + _list("Notes", report.told_notices)
    lines += ["", "## Look", "", *(f"- {link}" for link in links)]
    return "\n".join(lines) + "\n"


def _quota(project: Project, report: RunReport, calls: Mapping[str, int]) -> list[list[str]]:
    """What the run's sources that count their calls were asked, now and this month (UTC), and what is left of it."""
    asked = {name: sum(r.requests for r in report.resources if r.source == name) for name in _sources(report)}
    rows = []
    for quota in project.quota.sources:
        if quota.source not in asked:
            continue
        month = max(calls.get(quota.source, 0), asked[quota.source])
        allowed = quota.per_month
        left = ["", ""] if allowed is None else [f"{allowed:,}", f"{max(allowed - month, 0):,}"]
        rows.append([quota.source, f"{asked[quota.source]:,}", f"{month:,}", *left, quota.sentence])
    return rows


def _sources(report: RunReport) -> list[str]:
    return list(dict.fromkeys(r.source for r in report.resources))


def _calls_of_the_month(project: Project) -> dict[str, int]:
    try:
        return Ledger(project.data_dir).requests_since(datetime.now(UTC).date().replace(day=1))
    except TickhouseError:  # the run itself has ended well
        return {}


def _links(project: Project, report: RunReport) -> list[str]:
    """Where to look further: the run in Prefect, the profile's own links, the commands of a terminal."""
    context = FlowRunContext.get()
    found = []
    if context is not None and context.flow_run is not None:
        address = shown(str(PREFECT_UI_URL.value() or ""))
        found += [f"[This run in Prefect: its steps and log](<{address}/runs/flow-run/{context.flow_run.id}>)"]
    name = quote(report.pipeline, safe="")
    found += [
        f"[{_cell(title)}](<{link.replace('{pipeline}', name)}>)" for title, link in project.profile.links.items()
    ]
    found += [f"`engine status -p {report.profile}`, `engine doctor -p {report.profile}` on its machine"]
    return found


def _table(title: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    head = ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return head + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def _list(title: str, items: list[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {_cell(item)}" for item in items)] if items else []


def _cell(text: str) -> str:
    """Text from upstream as text: nothing in it is markup."""
    plain = visible(text)
    for mark in "\\`*_[]<>|#!":
        plain = plain.replace(mark, f"\\{mark}")
    return plain
