"""Commands that follow schedules: up, deploy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import load, log_option, with_project
from engine.schedules.flow_file import FILE_VARIABLE
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project

PORT = 4200
POOL = "tickhouse"
NAME = click.option("--name", help="Name of the deployments, where the profile's is taken.  [default: the profile]")


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port of Prefect's page.")
@NAME
@log_option
@with_project
def up(project: Project, port: int, name: str | None) -> None:
    """Run every pipeline by its schedule, until Ctrl-C, and show the runs on Prefect's page.

    Prefect's server runs on this machine, its data in the data folder; with PREFECT_API_URL set, that server is used.
    """
    from engine.schedules.up import up as serve

    serve(
        project,
        port,
        name or project.profile_name,
        lambda text: print(redact(text), file=sys.stderr, flush=True),
        lambda: load(project.path, project.profile_name),
    )


@click.command()
@click.option("--server", metavar="URL", help="Address of the server's API.  [env: PREFECT_API_URL]")
@click.option("--pool", default=POOL, show_default=True, help="Work pool of type process; made if there is none.")
@click.option("--folder", metavar="PATH", help="This project's folder where the worker runs.  [default: the one here]")
@NAME
@click.option("--write", is_flag=True, help="Ask no server: write prefect.yaml, for `prefect deploy`.")
@with_project
def deploy(
    project: Project,
    server: str | None,
    pool: str,
    folder: str | None,
    name: str | None,
    write: bool,  # noqa: FBT001
) -> None:
    """Deploy every pipeline to a Prefect server, for the workers of a work pool.

    A repeated call brings the deployments up to date, and removes those of this project that the file does not name
    any more. No secret is sent: a worker has them in its environment, or in .env of its folder.
    """
    from engine.schedules.settings import client, named_server, server_address

    os.environ[FILE_VARIABLE] = str(project.path.resolve())
    address = "" if write else server_address(server)
    os.environ.update(client() if write else named_server(address))
    from engine.schedules import deploy as steps  # Prefect itself: it reads its settings when it is imported

    where = Path(folder) if folder else project.project_dir.resolve()
    target = steps.Target(address, pool, name or project.profile_name, where)
    if not write:
        steps.deploy(project, target, lambda text: click.echo(redact(text)))
        return
    from engine.schedules.prefect_yaml import prefect_yaml

    path = project.project_dir / "prefect.yaml"
    path.write_text(prefect_yaml(project, target), encoding="utf-8")
    click.echo(f"{path}: {counted(len(project.file.pipelines), 'deployment')}, for `prefect deploy --all`")


COMMANDS = (up, deploy)
