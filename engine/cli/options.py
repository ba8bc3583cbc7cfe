"""Options that several commands share, and the project they load."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.errors import hide, redact, redact_tree
from engine.errors import NotPublishedError
from engine.logs import FORMAT_VARIABLE, current, talk_json
from engine.redact import visible

if TYPE_CHECKING:
    from engine.config.project import Project


def with_project(function: Callable[..., None]) -> Callable[..., None]:
    """Add --file, --profile and --debug, and pass the loaded project as the first argument."""

    @click.option("--file", "-f", "path", default="pipelines.yaml", show_default=True, help="The pipelines file.")
    @click.option("--profile", "-p", default=None, help="Where data lives: local, demo ... [env: ENGINE_PROFILE]")
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @wraps(function)
    def wrapped(*args: Any, path: str, profile: str | None, debug: bool, **kwargs: Any) -> None:  # noqa: ARG001
        project = load(Path(path), profile)
        try:
            function(project, *args, **kwargs)
        except NotPublishedError as error:
            raise _with_profiles(error, project) from error

    return wrapped


def load(path: Path, profile: str | None) -> Project:
    """Load pipelines.yaml for a profile; from now on its secrets are hidden in all output."""
    from engine.config.load import load_project

    project = load_project(path, profile=profile)
    hide(project.secrets)
    return project


def _with_profiles(error: NotPublishedError, project: Project) -> NotPublishedError:
    """Say which profile was asked, and which others something has landed in."""
    from engine.plan.plan import plan_file

    folders = {name: project.project_dir / profile.data for name, profile in project.file.profiles.items()}
    also = [
        name
        for name, folder in folders.items()
        if folder.resolve() != project.data_dir.resolve() and plan_file(folder).exists()
    ]
    return NotPublishedError(error.destination, project.profile_name, also)


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add --json: one JSON document on standard output, nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def log_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add --log-format: lines for people or, from then on, everything as JSON lines."""

    def chosen(_context: click.Context, _option: click.Parameter, value: str) -> None:
        if value == "json":
            talk_json(redact)

    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        envvar=FORMAT_VARIABLE,
        show_envvar=True,
        expose_value=False,
        is_eager=True,
        callback=chosen,
        help="Lines for people, or a JSON object a line on standard error.",
    )(function)


def print_json(document: Any) -> None:
    """Print one JSON document, secrets hidden."""
    plain = json.loads(json.dumps(document, default=str))
    log = current()
    out = sys.stdout if log is None else log.document
    out.write(json.dumps(redact_tree(plain), ensure_ascii=False) + "\n")


def print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table for people."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(visible(redact("" if value is None else str(value)))) for value in row))
    show(table)


def terminal_width() -> int:
    """Characters of a line on standard output: 160 where it is no terminal."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else 160


def show(renderable: Any) -> None:
    """Print anything rich can draw, as it is, as wide as the terminal."""
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=terminal_width(), highlight=False).print(renderable)
    sys.stdout.write(out.getvalue())
