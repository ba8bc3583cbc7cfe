"""Virtual environments: edited models beside production's, in schemas of their own, until they are promoted or dropped.

An environment's views read tables of their own for what was changed, and production's tables for all else. Promotion
points production's views at the tables that the environment has built.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError, UsageError
from engine.lake.lake import open_lake
from engine.lost import loaded_columns
from engine.models.checks import Checks, failure, listen
from engine.models.context import open_context, state_file
from engine.models.dbt import has_models
from engine.models.errors import clear_model_errors, failed_model
from engine.models.migration import migrate
from engine.models.mistakes import refuse_mistakes
from engine.models.plan import NOTHING, PROD, Document, describe, draw, short
from engine.models.planning import arrivals
from engine.models.state import heal, on_trial
from engine.models.transform import (
    BUILDING,
    BUILT,
    ONE_AT_A_TIME,
    Marker,
    TransformError,
    fingerprint,
    landing_tables,
    listening_console,
    model_failure,
    noted_of,
)

if TYPE_CHECKING:
    from sqlmesh import Context

    from destinations.protocol import Warehouse
    from engine.config.project import Project

NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
Say = Callable[[str], None]


def environment_name(text: str) -> str:
    """Return the name as SQLMesh keeps it. Raises UsageError for what a schema's name cannot have, and for prod."""
    if not NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name an environment", "Use letters, digits and underscores, at most 40: --env dev."
        )
    if text.lower() == PROD:
        raise UsageError("prod is production, not an environment", "`engine apply` without --env promotes to it.")
    return text.lower()


def apply(project: Project, name: str, warehouse: Warehouse, environment: str | None, say: Say) -> Document:
    """Bring an environment (None: production) of an open warehouse to the model files; return what was done.

    The document is the plan (see engine.models.plan.describe) with `environment`, `built` (tables), `views`, `seconds`
    and `published`. Raises ModelError for a broken model, TransformError for one that fails.
    """
    if not has_models(project.project_dir / "transforms"):
        raise UsageError("there are no models", "Write them under transforms/ first.")
    started = time.monotonic()
    fence = warehouse.begin_models()
    if fence is None:
        raise TickhouseError("nothing has arrived yet", "Run a pipeline first: `engine run --all`.")
    marker = Marker(project, name)
    noted = noted_of(marker, warehouse, state_file(project, name))
    unfinished = bool(noted.get("building"))
    files = fingerprint(project.project_dir / "transforms")  # before they are read: a later edit is another plan's
    _ready(project, name, warehouse, fence[0])
    target = environment or PROD
    done: Document = {"warehouse": name, "environment": target, **NOTHING, "built": [], "views": [], "warnings": []}
    with ONE_AT_A_TIME, _opened(project, name, warehouse, fence[0], say) as (context, console):
        with open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache") as lake:
            warehouse.watch_columns(partial(loaded_columns, lake))
            warehouse.provide(landing_tables(context))
        say("planning")
        with clear_model_errors(project.project_dir):
            plan = draw(context, target, fence[1], lambda since: arrivals(context.engine_adapter.cursor, since))
        done |= describe(plan)
        if done["status"] != "unchanged":
            if environment is None:
                marker.write(noted | BUILDING)
            checks = _carry_out(project, context, console, plan)
            done["warnings"] = [check.line for check in checks.warned]
            if environment is None:
                checks.keep(warehouse, "", fence[1])
        done["built"] = [row["model"] for row in done["build"] if not row["view"]]
        done["views"] = [row["model"] for row in done["build"] if row["view"]]
    if environment is None:
        marker.write({**noted, "planned": files} | BUILT)
        done["warnings"] += [
            f"environment {trial} is not as production is, later edits wait for it: `engine apply --env {trial} --drop`"
            for trial in on_trial(state_file(project, name))
        ]
        unfinished = False
    # a run that died has left production half-made: readers keep what they have until the next run ends
    done["published"] = not unfinished
    if not unfinished:
        warehouse.publish()
    done["seconds"] = round(time.monotonic() - started, 3)
    return done


def drop(project: Project, name: str, warehouse: Warehouse, environment: str, say: Say) -> Document:
    """Remove an environment's views and its record; tables that only it used go with SQLMesh's next clean-up."""
    fence = warehouse.begin_models()
    if fence is None:
        raise _unknown(environment, [], make=False)
    _ready(project, name, warehouse, fence[0])
    with ONE_AT_A_TIME, _opened(project, name, warehouse, fence[0], say, load=False) as (context, console):
        known = names_of(context)
        if environment not in known:
            raise _unknown(environment, known, make=False)
        views = [short(info.name) for info in context.state_reader.get_environment(environment).promoted_snapshots]
        context.invalidate_environment(environment, sync=True)
        if console.failures:
            raise model_failure(console.failures, "the views could not be dropped")
    if not Marker(project, name).read().get("building"):
        warehouse.publish()
    return {"warehouse": name, "environment": environment, "dropped": sorted(views)}


def names_of(context: Context) -> list[str]:
    """The environments there are, production left out."""
    return sorted(found.name for found in context.state_reader.get_environments_summary() if found.name != PROD)


def existing(context: Context, environment: str) -> Any:
    """Return the record of an environment. Raises UsageError naming those there are."""
    found = context.state_reader.get_environment(environment)
    if found is None:
        raise _unknown(environment, names_of(context))
    return found


def _unknown(environment: str, known: list[str], *, make: bool = True) -> UsageError:
    there = f"There is {', '.join(known)}." if known else "There is none."
    how = f" `engine apply --env {environment}` makes one." if make else ""
    return UsageError(f"there is no environment called {environment!r}", there + how)


def _ready(project: Project, name: str, warehouse: Warehouse, first: datetime) -> None:
    """Make SQLMesh's state usable: whole, and of this SQLMesh's form."""
    state = state_file(project, name)
    heal(state)
    with ONE_AT_A_TIME:
        migrate(state, lambda: open_context(project, name, warehouse, first, load=False))


@contextmanager
def _opened(
    project: Project, name: str, warehouse: Warehouse, first: datetime, say: Say, *, load: bool = True
) -> Iterator[tuple[Context, Any]]:
    """Open SQLMesh on the warehouse and its own state; failures are kept by the console."""
    import sqlmesh  # noqa: F401 - whole before its parts
    from sqlmesh.core.console import set_console

    console = listening_console(say)
    set_console(console)
    logging.getLogger("sqlmesh").setLevel(logging.CRITICAL)
    with clear_model_errors(project.project_dir):
        context = open_context(project, name, warehouse, first, load=load)
    with closing(context):
        if load:
            refuse_mistakes(context, project)
        yield context, console


def _carry_out(project: Project, context: Context, console: Any, plan: Any) -> Checks:
    """Apply a plan; return what the audits found. Raises TransformError, ModelError for what nobody understands."""
    import duckdb
    from sqlmesh.utils.errors import SQLMeshError

    otherwise, checks = "the plan failed", listen(context)
    try:
        context.apply(plan)
    except (SQLMeshError, duckdb.Error) as error:
        otherwise = str(error)
    else:
        if not console.failures:
            return checks
    if checks.blocked:
        raise TransformError(*failure(checks.blocked))
    for message in console.failures:
        found = re.match(r"model (\S+): (.*)", message, re.DOTALL)
        broken = failed_model(context, project.project_dir, found[1], found[2]) if found else None
        if broken is not None:
            raise broken
    raise model_failure(console.failures, otherwise)
