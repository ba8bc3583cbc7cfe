"""Commands that keep a copy, and take it back: backup, restore."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, print_json, with_project
from engine.errors import EXIT_FAILED
from engine.words import counted

if TYPE_CHECKING:
    from engine.backup.restore import RestoreReport
    from engine.config.project import Project
    from engine.progress import Progress


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@json_option
@with_project
def backup(project: Project, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Bring the backup in FOLDER up to date: the lake's new packages, the state, pipelines.yaml and transforms/.

    Runs may go on meanwhile. Destinations are not part of it: they are filled from the lake. Nor is .env.
    """
    from engine.backup.take import back_up

    report = back_up(project, folder, _progress())
    if as_json:
        print_json(asdict(report))
    else:
        for line in [*report.notes, *report.errors]:
            click.echo(redact(line), err=True)
        held = sum(report.lake.values())
        new = f"{counted(report.packages, 'package')} new ({report.bytes / 1000:,.0f} kB)"
        click.echo(f"{report.folder}: {new}, {held:,} in all, of {counted(len(report.lake), 'table')}")
    if report.errors:
        sys.exit(EXIT_FAILED)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@with_project
def restore(project: Project, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Give the lake back what it lacks from the backup in FOLDER; put damaged packages in order.

    What is sound stays, newer packages too. No run may go on meanwhile. Then `engine replay`, or `engine run --all`
    where the destinations are new.
    """
    from engine.backup.restore import restore as give_back

    report = give_back(project, folder, _progress())
    if as_json:
        print_json(asdict(report))
        return
    for line in _sentences(report, folder):
        click.echo(redact(line))


def _sentences(report: RestoreReport, folder: Path) -> list[str]:
    back = counted(report.packages + report.mended, "package")
    damaged = f", {report.mended:,} of them damaged before" if report.mended else ""
    lines = [f"backup of {report.made_at[:19]} UTC: {back} put back ({report.bytes / 1000:,.0f} kB){damaged}"]
    if report.newer:
        lines.append(f"newer than the backup, and kept: {counted(sum(report.newer.values()), 'package')}")
    if report.state:
        lines.append(f"state: {', '.join(report.state)}")
    if report.state_kept:
        lines.append(f"state that was there already stays: {', '.join(report.state_kept)}")
    if report.project_differs:
        lines.append(
            f"not as in the backup: {', '.join(report.project_differs)} (its copies: {folder}/snapshots/*/project)"
        )
    return [
        *lines,
        "Next: `engine replay` makes every destination follow the lake (`engine run --all` if all are new).",
    ]


def _progress() -> Progress:
    from engine.progress import for_stream

    return for_stream(redact)


COMMANDS = (backup, restore)
