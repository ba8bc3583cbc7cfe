"""The command that prepares a machine: init-env."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import json_option, print_json


@click.command("init-env")
@click.option("--env-file", "path", default=".env", show_default=True, help="The file to write.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@json_option
def init_env(path: str, debug: bool, as_json: bool) -> None:  # noqa: ARG001, FBT001
    """Write .env for docker compose and the profile compose, with random secrets.

    What the file says already stays as it is; what is missing is added. No value is shown.
    """
    from engine.init_env import init_env as write

    file = Path(path)
    added, kept = write(file)
    if as_json:
        print_json({"file": str(file), "added": added, "kept": kept})
        return
    if added:
        click.echo(f"{file}: added {', '.join(added)} (readable by its owner only; no value is shown)")
    if kept:
        click.echo(f"{file}: kept {', '.join(kept)}")


COMMANDS = (init_env,)
