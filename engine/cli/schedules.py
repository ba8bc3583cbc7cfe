"""Commands that follow schedules: up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import load, with_project

if TYPE_CHECKING:
    from engine.config.project import Project

PORT = 4200


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port of Prefect's page.")
@with_project
def up(project: Project, port: int) -> None:
    """Run every pipeline by its schedule, until Ctrl-C, and show the runs on Prefect's page.

    Prefect's server runs on this machine, its data in the data folder; with PREFECT_API_URL set, that server is used.
    """
    from engine.schedules.up import up as serve

    serve(
        project,
        port,
        lambda text: print(redact(text), file=sys.stderr, flush=True),
        lambda: load(project.path, project.profile_name),
    )


COMMANDS = (up,)
