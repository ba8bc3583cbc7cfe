"""Commands that look: validate, schema, status, ls, doctor, query."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, print_json, print_table, show, terminal_width, with_project
from engine.errors import EXIT_FAILED, UsageError
from engine.redact import visible
from engine.words import counted, length

if TYPE_CHECKING:
    from engine.config.project import Project


@click.command()
@json_option
@with_project
def validate(project: Project, as_json: bool) -> None:  # noqa: FBT001
    """Check pipelines.yaml and everything it names."""
    counts: dict[str, Any] = {
        "pipelines": len(project.file.pipelines),
        "sources": len(project.sources),
        "assets": {name: len(assets) for name, assets in project.assets.items()},
        "destinations": list(project.destinations),
    }
    if as_json:
        print_json({"ok": True, "profile": project.profile_name, **counts, "notes": list(project.notes)})
        return
    told = [counted(counts["pipelines"], "pipeline"), counted(counts["sources"], "source")]
    told += [f"{count} {name}" for name, count in counts["assets"].items()]
    click.echo(f"{project.path.name} is right (profile {project.profile_name}): {', '.join(told)}")
    for name, reason in project.skipped_sources.items():
        click.echo(f"skipped: source {name}: {reason}")
    for note in project.notes:
        click.echo(f"note: {note}")


@click.command()
@click.option("--check", is_flag=True, help="Exit 1 if pipelines.schema.json is not what the models generate.")
@click.option("--write", is_flag=True, help="Write pipelines.schema.json.")
@click.option("--debug", is_flag=True, hidden=True)
def schema(check: bool, write: bool, debug: bool) -> None:  # noqa: ARG001, FBT001
    """Print the JSON Schema of pipelines.yaml, generated from the validating models."""
    from engine.config.jsonschema import render_schema

    text = render_schema()
    committed = Path("pipelines.schema.json")
    if write:
        committed.write_text(text)
    elif check:
        if not committed.exists() or committed.read_text() != text:
            click.echo("pipelines.schema.json is out of date: run `engine schema --write`", err=True)
            raise click.exceptions.Exit(EXIT_FAILED)
    else:
        sys.stdout.write(text)


@click.command()
@json_option
@with_project
def status(project: Project, as_json: bool) -> None:  # noqa: FBT001
    """Show the last run of each pipeline, and how fresh and how far behind each table and topic is."""
    from engine.status import status as state_of

    found = state_of(project)
    if as_json:
        print_json(found)
        return
    rows = [[p["pipeline"], _last_run(p), p["started_at"], p["ended_at"]] for p in found["pipelines"]]
    print_table("", ["pipeline", "last run", "started (UTC)", "ended (UTC)"], rows)
    for p in found["pipelines"]:
        if p["paused_since"]:
            click.echo(f"  {p['pipeline']}: paused on Prefect's page since {_minute(p['paused_since'])}: no run is due")
        if p["late_seconds"] is not None:
            late = length(timedelta(seconds=p["late_seconds"]))
            click.echo(f"  {p['pipeline']}: late: a run was due at {_minute(p['due_at'])}, {late} ago")
        for line in [*p["failures"], *p["notices"]][:5]:
            click.echo(visible(redact(f"  {p['pipeline']}: {line}")))
    click.echo()
    rows = [
        [t["destination"], t["table"], *_counts(t["rows"], t["arrived_at"], t["age_seconds"], t["packages_behind"])]
        for t in found["tables"]
    ]
    print_table("", ["destination", "table", "rows", "newest arrival (UTC)", "age", "packages behind"], rows)
    if found["lag"]:
        click.echo()
        columns = ["source", "resource", "partition", "landed", "end", "lag", "warning"]
        titles = ["source", "topic", "partition", "landed to", "ends at", "lag", "warning"]
        print_table("", titles, [[partition[column] for column in columns] for partition in found["lag"]])
    for checks in found["checks"]:
        click.echo()
        click.echo(f"{checks['warehouse']}: {checks['passed']} checks passed")
        for check in checks["failed"]:
            click.echo(visible(redact(f"  {_told(check)}")))
    for note in found["notes"]:
        click.echo(visible(redact(f"note: {note}")))


def _minute(instant: str) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC"


def _last_run(pipeline: dict[str, Any]) -> str:
    status = pipeline["status"] or "never ran"
    return f"{status} (backfill)" if pipeline["backfill"] else str(status)


def _counts(rows: int | None, arrived_at: str | None, age: int | None, behind: int | None) -> list[str | int | None]:
    """What is known of a destination's table; question marks where its server is away."""
    if rows is None:
        return ["?", None, None, "?"]
    return [f"{rows:,}", arrived_at, None if age is None else length(timedelta(seconds=age)), behind]


def _told(check: dict[str, Any]) -> str:
    """One line on a check that failed."""
    kind = "FAILED" if check["blocking"] else "warning"
    since = "" if check["status"] == "failed" else ", passed since"
    why = f" ({check['problem']})" if check["problem"] else ""
    return (
        f"{kind}: {check['model']} {check['check']}: {check['failed_rows']:,} rows{why}, {check['failed_at']}{since}; "
        f'look: engine query --unpublished "{check["look"]}"'
    )


@click.command()
@json_option
@with_project
def ls(project: Project, as_json: bool) -> None:  # noqa: FBT001
    """List what is configured: pipelines, resources, assets, destinations."""
    resources = [
        {"source": source, "resource": r.name, "table": r.table.name, "assets": r.assets, "backfill": bool(r.backfill)}
        for source, offered in project.resources.items()
        for r in offered
    ]
    document: dict[str, Any] = {
        "profile": project.profile_name,
        "profiles": list(project.file.profiles),
        "pipelines": [
            {"pipeline": name, "schedule": block.schedule, "extract": block.extract, "load": block.load}
            for name, block in project.file.pipelines.items()
        ],
        "resources": resources,
        "assets": {name: [asset.symbol for asset in assets] for name, assets in project.assets.items()},
        "destinations": {name: getattr(settings, "type", "") for name, settings in project.destinations.items()},
        "skipped": dict(project.skipped_sources),
    }
    if as_json:
        print_json(document)
        return
    print_table(
        "Pipelines",
        ["name", "schedule", "extracts"],
        [[p["pipeline"], p["schedule"] or "on request", ", ".join(p["extract"])] for p in document["pipelines"]],
    )
    print_table(
        "Resources",
        ["source", "resource", "table", "assets"],
        [[r["source"], r["resource"], r["table"], r["assets"]] for r in resources],
    )
    print_table(
        "Assets",
        ["list", "count", "first"],
        [[name, len(symbols), ", ".join(symbols[:8])] for name, symbols in document["assets"].items()],
    )
    print_table("Destinations", ["name", "type"], [list(item) for item in document["destinations"].items()])


@click.command()
@json_option
@with_project
def doctor(project: Project, as_json: bool) -> None:  # noqa: FBT001
    """Check this machine, the lake and the destinations, and say how to mend what is wrong."""
    from engine.doctor import examine

    findings = examine(project)
    wrong = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json({"ok": not wrong, "findings": [finding.as_json() for finding in findings]})
    else:
        for finding in findings:
            click.echo(visible(redact(f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.detail}")))
            if finding.remedy and not finding.ok:
                click.echo(visible(redact(f"     {finding.remedy}")))
    if wrong:
        raise click.exceptions.Exit(EXIT_FAILED)


@click.command()
@click.argument("sql")
@click.option("--on", "warehouse", default=None, help="Which warehouse; default: the profile's first.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
@click.option("--unpublished", is_flag=True, help="What is there now, checked or not, finished or not.")
@json_option
@with_project
def query(
    project: Project,
    sql: str,
    warehouse: str | None,
    as_csv: bool,  # noqa: FBT001
    unpublished: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run one read-only statement on the warehouse, as of the last finished run."""
    from destinations import open_destination
    from engine import query_output
    from engine.query import query as ask

    name = warehouse or next(iter(project.warehouses), "")
    if name not in project.warehouses:
        known = ", ".join(project.warehouses) or "none"
        raise UsageError(f"profile {project.profile_name} has no warehouse {name!r}", f"It has: {known}.")
    opened = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    result = ask(opened, sql, unpublished=unpublished)
    if as_json:
        sys.stdout.write(query_output.as_json(result) + "\n")  # data as it is: hiding a word would falsify it
    elif as_csv:
        sys.stdout.write(query_output.as_csv(result))
    else:
        show(query_output.for_terminal(result, terminal_width()))


COMMANDS = (validate, schema, status, ls, doctor, query)
