"""Plain `sqlmesh -p transforms ...`, for people who know it: the same models, warehouse and state as the engine's.

What such a command writes is seen by readers once a run, or `engine apply`, has published it.
"""

from __future__ import annotations

import atexit
import glob
import itertools
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import TickhouseError, UsageError

if TYPE_CHECKING:
    from sqlmesh.core.config import Config

WRITING = frozenset({"plan", "run", "invalidate", "janitor", "destroy", "migrate", "rollback", "table_diff", "state"})
"""Commands of sqlmesh that write to the warehouse or the state: they hold the writer's lock until they end."""


def configuration(project_dir: Path, arguments: Sequence[str] | None = None) -> Config:
    """Return SQLMesh's configuration for the active profile (ENGINE_PROFILE) of pipelines.yaml.

    The warehouse is the first that runs models, or the one that --gateway or SQLMESH_GATEWAY names.
    """
    from destinations import open_destination
    from engine.config.load import load_project
    from engine.models.context import sqlmesh_config
    from engine.models.intervals import take_only_what_arrived
    from engine.models.planning import first_arrival, published
    from engine.models.promotion import promote_together
    from engine.models.trino import speak_trino
    from engine.plan.plan import model_warehouses

    words = sys.argv[1:] if arguments is None else list(arguments)
    project = load_project(project_dir / "pipelines.yaml")
    name = _gateway(words, model_warehouses(project), project.profile_name)
    warehouse = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    take_only_what_arrived()
    promote_together()
    speak_trino()
    if WRITING.isdisjoint(words):
        with published(warehouse) as reader:
            first = first_arrival(reader)
    else:
        _require_dbt_projects(project_dir / "transforms", words)
        stack = ExitStack()
        stack.enter_context(warehouse)
        atexit.register(stack.close)
        fence = warehouse.begin_models()
        if fence is None:
            raise TickhouseError("nothing has arrived yet", "Run a pipeline first: `engine run --all`.")
        first = fence[0]
    native = sqlmesh_config(project, name, warehouse.sqlmesh_connection(), first)
    _configure_dbt_projects(project_dir / "transforms", native)
    return native


def _require_dbt_projects(transforms: Path, words: Sequence[str]) -> None:
    """A plan that does not see every model would remove the others."""
    from engine.models.dbt import dbt_projects

    folders = [f"-p {path.relative_to(transforms.parent)}" for path in dbt_projects(transforms)]
    named = {Path(path).resolve() for word in words for path in glob.glob(word.removeprefix("--paths="))}  # noqa: PTH207 - as sqlmesh does
    if not named.issuperset(path.resolve() for path in dbt_projects(transforms)):
        raise UsageError(
            "transforms/dbt has models that this command does not see: it would remove them",
            f"Name every project: sqlmesh -p transforms {' '.join(folders)} ...",
        )


def _configure_dbt_projects(transforms: Path, native: Config) -> None:
    """Give the dbt projects that are named after transforms the same configuration, in place of a profile's."""
    from engine.models.dbt import dbt_config, dbt_projects, with_dbt

    if dbt_projects(transforms):
        with_dbt(transforms, native)  # says what is missing
        from sqlmesh.dbt import loader

        loader.sqlmesh_config = lambda project_root, **_: dbt_config(project_root, native)


def _gateway(words: Sequence[str], known: Sequence[str], profile: str) -> str:
    if not known:
        raise UsageError(f"profile {profile} runs no models", "Give a pipeline a warehouse in `load:`.")
    named = [after for word, after in itertools.pairwise(words) if word == "--gateway"]
    named += [word.partition("=")[2] for word in words if word.startswith("--gateway=")]
    asked = (named or [os.environ.get("SQLMESH_GATEWAY", "")])[0] or known[0]
    if asked not in known:
        raise UsageError(f"profile {profile} runs no models on {asked!r}", f"They run on {', '.join(known)}.")
    return asked
