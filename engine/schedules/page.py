"""A run's report as a page in Prefect: what landed, what was loaded and built, what failed and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.artifacts import create_markdown_artifact

from engine.redact import Redactor, visible
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.report import RunReport

EXIT_WORDS = {0: "done", 1: "a retry may help", 2: "do not retry"}


def keep_page(project: Project, report: RunReport, redact: Redactor) -> None:
    """Keep the page under the pipeline's key, so that Prefect shows how it changes from run to run."""
    create_markdown_artifact(
        redact(page(project, report)),
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


def page(project: Project, report: RunReport) -> str:
    """Return the report as markdown."""
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
    sources = {resource.source for resource in report.resources}
    lines += _table(
        "Quota",
        ["source", "calls by the schedules"],
        [[quota.source, quota.sentence] for quota in project.quota.sources if quota.source in sources],
    )
    lines += _list("Failed", report.told_failures) + _list("Notes", report.told_notices)
    return "\n".join(lines) + "\n"


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
