"""Commands on edited models: plan (and pipelines.yaml's edits), apply, diff."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, print_json, with_project
from engine.errors import EXIT_FAILED, UsageError
from engine.redact import visible
from engine.words import counted, model_name

if TYPE_CHECKING:
    from engine.config.project import Project

ON = click.option("--on", "warehouse", default=None, help="Only this warehouse; default: every one that runs models.")
WAIT = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait this long for another writer of the warehouse.",
)


@click.command()
@click.argument("pipeline", required=False)
@click.option("--env", "environment", default=None, metavar="NAME", help="What `engine apply --env NAME` would do.")
@json_option
@with_project
def plan(project: Project, pipeline: str | None, environment: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show what pipelines.yaml and the models will do, and what an edit changes, before anything runs.

    Nothing is written. Exit 1 when the models could not be compared because a run is building them.
    """
    from engine.compose import compose
    from engine.models.environments import environment_name
    from engine.models.semantic import check_catalogue
    from engine.plan.page import model_lines, page
    from engine.plan.plan import changes_since, model_plans, never_ran, plan_document

    target = None if environment is None else environment_name(environment)
    if pipeline:
        compose(project, pipeline)
    check_catalogue(project.project_dir / "transforms" / "semantic")
    transforms = model_plans(project, pipeline, target)
    document: dict[str, Any] = {"profile": project.profile_name, "environment": target, "transforms": transforms}
    if target is None:
        changes = changes_since(project, pipeline)
        never = [] if pipeline else never_ran(project)
        document = {**plan_document(project, pipeline), "never_ran": never, "transforms": transforms}
        text = page(document, changes)
        document["changes"] = changes
    else:
        text = "\n".join(line for found in transforms for line in model_lines(found)) or "there are no models"
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(visible(line) for line in redact(text).split("\n")))
    if any(found["status"] == "busy" for found in transforms):
        raise click.exceptions.Exit(EXIT_FAILED)


@click.command()
@click.option(
    "--env", "environment", default=None, metavar="NAME", help="The virtual environment; default: production."
)
@click.option("--drop", is_flag=True, help="Remove the environment instead.")
@ON
@WAIT
@json_option
@with_project
def apply(
    project: Project,
    environment: str | None,
    drop: bool,  # noqa: FBT001
    warehouse: str | None,
    wait: float,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring an environment to the model files as they are now; without --env, promote them to production.

    An environment's views stand in schemas like marts__NAME. What it has built, promotion does not build again. While
    an environment differs from production, runs build production's models as they are, whatever the files say.
    """
    from destinations import open_destination
    from engine.models.environments import apply as bring
    from engine.models.environments import drop as remove
    from engine.models.environments import environment_name
    from engine.plan.page import applied
    from engine.progress import for_stream

    target = None if environment is None else environment_name(environment)
    if drop and target is None:
        raise UsageError("--drop needs an environment", "Name it: engine apply --env NAME --drop.")
    progress, done = for_stream(redact), []
    for name in _warehouses(project, warehouse):
        step = f"{'drop' if drop else 'apply'} {target or 'production'} on {name}"
        progress.begin(step)
        opened = open_destination(
            name,
            project.destinations[name],
            project.project_dir,
            project.data_dir,
            wait_seconds=wait,
            waiting=partial(progress.say, step),
        )
        try:
            with opened:

                def say(text: str, step: str = step) -> None:
                    progress.update(step, model_name(text))

                found = (
                    remove(project, name, opened, target, say)
                    if drop and target
                    else bring(project, name, opened, target, say)
                )
        except Exception as error:
            progress.end(step, str(error).splitlines()[0], ok=False)
            raise
        done.append(found)
        progress.end(
            step,
            "dropped" if drop else f"{counted(len(found['built']), 'table')}, {counted(len(found['views']), 'view')}",
        )
    if as_json:
        print_json({"applied": done})
    else:
        _print(line for found in done for line in applied(found))


@click.command()
@click.argument("environment")
@click.option("--on", "warehouse", default=None, help="Which warehouse; default: the first that runs models.")
@click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(min=0), help="Sample rows of each kind and model."
)
@json_option
@with_project
def diff(project: Project, environment: str, warehouse: str | None, rows: int, as_json: bool) -> None:  # noqa: FBT001
    """Compare the data of an environment's changed models with production's, by each model's grain."""
    from destinations import open_destination
    from engine.models.data_diff import data_diff
    from engine.models.environments import environment_name
    from engine.plan.page import diff_lines

    name = _warehouses(project, warehouse)[0]
    opened = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    found = data_diff(project, name, opened, environment_name(environment), sampled=rows)
    if as_json:
        print_json(found)
    else:
        _print(diff_lines(found))


def _warehouses(project: Project, only: str | None) -> list[str]:
    from engine.plan.plan import model_warehouses

    found = model_warehouses(project)
    if only is not None and only not in found:
        known = f"They run on {', '.join(found)}." if found else "They run on none."
        raise UsageError(f"profile {project.profile_name} runs no models on {only!r}", known)
    if not found:
        raise UsageError(
            f"profile {project.profile_name} runs no models", "Give a pipeline a warehouse in `load:` and models."
        )
    return [only] if only else found


def _print(lines: Any) -> None:
    sys.stdout.writelines(visible(redact(line)) + "\n" for line in lines)


COMMANDS = (plan, apply, diff)
