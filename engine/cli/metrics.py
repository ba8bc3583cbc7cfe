"""The command that shows, writes or pushes metrics once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import with_project

if TYPE_CHECKING:
    from engine.config.project import Project


@click.command()
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to FILE in one step, for the textfile collector of node_exporter.",
)
@click.option("--push", metavar="URL", help="Put them in the Pushgateway at URL.")
@with_project
def metrics(project: Project, textfile: Path | None, push: str | None) -> None:
    """Print the metrics of this profile, as Prometheus reads them (docs/metrics.md has each).

    A long-running command serves them by itself where the profile has a `metrics:` block.
    """
    from engine import metrics as of

    if push:
        of.push(project, push)
    if textfile:
        of.write_textfile(redact(of.exposition(project)), textfile)
    if not push and not textfile:
        sys.stdout.write(redact(of.exposition(project)))


COMMANDS = (metrics,)
"""Commands of metrics."""
