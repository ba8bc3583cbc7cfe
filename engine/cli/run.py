"""Commands that move data: run, backfill, replay, demo."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, load, log_option, print_json, with_project
from engine.cli.signals import on_end
from engine.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, TickhouseError, UsageError
from engine.logs import NO_RUN, current

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.report import RunReport
    from engine.run import Runner


@click.command()
@click.argument("pipelines", nargs=-1, metavar="PIPELINE...")
@click.option("--all", "every", is_flag=True, help="Every pipeline of the file.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait this long for a run of the same pipeline, and for another writer of a destination (default: 0 and 60).",
)
@click.option("--repeat", is_flag=True, help="Run again whenever the schedule says, in this process, until Ctrl-C.")
@json_option
@log_option
@with_project
def run(
    project: Project,
    pipelines: tuple[str, ...],
    every: bool,  # noqa: FBT001
    wait: float | None,
    repeat: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Extract, land, load and transform. Exit 1 when something failed: what succeeded is landed and loaded.

    Exit 2 when all went well but for model files that cannot be read: no retry helps, correct them.
    """
    names = list(project.file.pipelines) if every else list(pipelines)
    if not names:
        raise UsageError("no pipeline named", f"Name one of {', '.join(project.file.pipelines)}, or --all.")
    runner = make_runner(project, wait)
    if repeat:
        from engine.attend import attended
        from engine.repeat import repeated

        if as_json or len(names) > 1:
            raise UsageError(
                "--repeat takes one pipeline, and no --json", "Ask `engine status --json` beside it; start one each."
            )

        def say(text: str) -> None:
            click.echo(redact(text))

        with attended(lambda: runner.project, say, names[0]):
            repeated(
                runner,
                names[0],
                lambda: run_each(runner, names, as_json=False),
                say,
                lambda: load(project.path, project.profile_name),
            )
        return
    finish(run_each(runner, names, as_json=as_json), as_json=as_json)


@click.command()
@click.argument("pipeline")
@click.option("--from", "start", required=True, metavar="DATE", help="First day or instant, ISO 8601 (UTC).")
@click.option("--to", "end", required=True, metavar="DATE", help="End (not included), ISO 8601 (UTC).")
@json_option
@log_option
@with_project
def backfill(project: Project, pipeline: str, start: str, end: str, as_json: bool) -> None:  # noqa: FBT001
    """Extract a past range in resumable windows: run it again after a failure and it goes on where it stopped."""
    begin, until = _instant(start, "--from"), _instant(end, "--to")
    if begin >= until:
        raise UsageError("--from must lie before --to", "Swap them: the end is not included.")
    report = make_runner(project, None).backfill(pipeline, begin, until)
    _show(report, as_json=as_json)
    finish([report], as_json=as_json)


@click.command()
@click.option("--destination", default=None, help="Only this destination; default: every one of the profile.")
@json_option
@log_option
@with_project
def replay(project: Project, destination: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Rebuild the landing tables of a destination from the lake, then the models."""
    report = make_runner(project, 60.0).replay(destination)
    _show(report, as_json=as_json)
    finish([report], as_json=as_json)


@click.command()
@click.option("--file", "-f", "path", default="pipelines.yaml", show_default=True, help="The pipelines file.")
@click.option("--no-app", is_flag=True, help="Do not open the dashboards afterwards.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def demo(path: str, no_app: bool, debug: bool) -> None:  # noqa: ARG001, FBT001
    """Run the pipelines on the bundled market replay: no key, no network, simulated prices."""
    from pathlib import Path

    from engine.demo import closing_words, opening_words, pipelines_of

    project = load(Path(path), "demo")
    click.echo(opening_words(project))
    reports = run_each(make_runner(project, 60.0), pipelines_of(project), as_json=False)
    click.echo(closing_words(project, reports))
    finish(reports, as_json=False)


def make_runner(project: Project, wait: float | None) -> Runner:
    """Return a runner with progress on standard error, that SIGTERM and SIGINT end cleanly."""
    from engine.progress import for_stream
    from engine.run import Runner

    runner = Runner(project, for_stream(redact), wait_seconds=wait)

    def finish() -> None:
        runner.stop.set()
        runner.end_soon()

    on_end(finish)
    return runner


def run_each(runner: Runner, names: list[str], *, as_json: bool) -> list[RunReport]:
    """Run pipelines one after the other; one that is refused does not keep the others from running."""
    from engine.compose import compose
    from engine.report import RunReport

    for name in names:
        compose(runner.project, name)  # a misspelt name is said before anything runs
    reports = []
    for name in names:
        if runner.stop.is_set():
            break
        if current() is None:
            click.echo(f"{name} ({runner.project.profile_name})", err=True)
        try:
            reports.append(runner.run(name))
        except TickhouseError as error:
            if len(names) == 1 or error.exit_code == EXIT_USAGE:
                raise
            reports.append(RunReport("", name, runner.project.profile_name, "", errors=[str(error)]))
        _show(reports[-1], as_json=as_json)
    return reports


def finish(reports: list[RunReport], *, as_json: bool) -> None:
    """Print the JSON, and exit with 1 if anything failed, with 2 if nothing did but models that cannot be read."""
    if as_json:
        print_json({"runs": [report.as_json() for report in reports]})
    codes = {report.exit_code for report in reports}
    raise click.exceptions.Exit(EXIT_FAILED if EXIT_FAILED in codes else max(codes, default=EXIT_OK))


def _show(report: RunReport, *, as_json: bool) -> None:
    if (log := current()) is not None:
        from engine.summary import log_end

        log_end(log, report)
        log.run = NO_RUN
    elif not as_json:
        from engine.summary import summary

        sys.stdout.write(redact(summary(report)) + "\n")


def _instant(text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is not a date", "Write it as 2026-01-31 or 2026-01-31T12:00+07:00."
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


COMMANDS = (run, backfill, replay, demo)
