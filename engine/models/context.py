"""Opening SQLMesh on one warehouse: its configuration, its state, and what a warm process need not load again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models.dbt import with_dbt
from engine.models.intervals import take_only_what_arrived
from engine.models.promotion import promote_together
from engine.models.snowflake import snowflake_gateway
from engine.models.trino import speak_trino

if TYPE_CHECKING:
    from sqlmesh import Context
    from sqlmesh.core.config import Config

    from destinations.protocol import Warehouse
    from engine.config.project import Project

CRON = "*/5 * * * *"
"""SQLMesh's shortest cron; runs ignore it and take what has arrived, the grid only cuts intervals."""
LOADED = (
    "dag",
    "_models",
    "_audits",
    "_standalone_audits",
    "_macros",
    "_metrics",
    "_jinja_macros",
    "_requirements",
    "_excluded_requirements",
    "_environment_statements",
    "_linters",
    "_all_dialects",
    "_uncached_model_names",
    "_loaded",
)
"""What SQLMesh's Context.load reads from files. Nothing of it refers to a connection."""

os.environ.setdefault("SQLMESH__DISABLE_ANONYMIZED_ANALYTICS", "true")
# SQLMesh's forked workers inherit this process's locks and outlive it when it is killed: the locks were never freed
os.environ["MAX_FORK_WORKERS"] = "1"

_last: dict[tuple[str, ...], dict[str, Any]] = {}
"""What the last context of this process had loaded, by what it was loaded from. SQLMesh keeps materializations and
macros in the process: those of the last one."""


def state_folder(project: Project) -> Path:
    """Where this profile keeps SQLMesh's state and the markers."""
    return project.data_dir / "state"


def state_file(project: Project, name: str) -> Path:
    """Where SQLMesh keeps its state for one warehouse: a DuckDB file of its own."""
    return state_folder(project) / f"sqlmesh-{name}.duckdb"


def open_context(
    project: Project, name: str, warehouse: Warehouse, first_arrival: datetime, *, load: bool = True, files: str = ""
) -> Context:
    """Open SQLMesh on one warehouse's models; `first_arrival` is from when on there is something to build.

    `files` is the fingerprint of the models' files: a process that has loaded the same ones before has them still.
    """
    from sqlmesh import Context

    take_only_what_arrived()
    promote_together()
    speak_trino()
    transforms = project.project_dir / "transforms"
    native = sqlmesh_config(project, name, warehouse.sqlmesh_connection(), first_arrival)
    native = native.model_copy(update={"loader": models_alone()})
    configs = with_dbt(transforms, native)
    if len(configs) > 1:  # dbt keeps more in the process than its models
        files = ""
    loaded_from = (files, str(transforms), name, str(warehouse.sqlmesh_connection()), f"{first_arrival:%Y-%m-%d}")
    if load and files and loaded_from in _last:
        context = Context(config=configs, load=False)
        for attribute, value in _last[loaded_from].items():
            setattr(context, attribute, value)
        return context
    _last.clear()
    context = Context(config=configs, load=load)
    if load and files:
        _last[loaded_from] = {attribute: getattr(context, attribute) for attribute in LOADED}
    return context


def sqlmesh_config(project: Project, name: str, connection: Mapping[str, Any], first_arrival: datetime) -> Config:
    """Return SQLMesh's configuration for one warehouse: its connection, its own state file, the models' start."""
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
    from sqlmesh.core.config.connection import BaseDuckDBConnectionConfig

    BaseDuckDBConnectionConfig._data_file_to_adapter.clear()  # noqa: SLF001 - else a closed connection is used again
    state = state_file(project, name)
    state.parent.mkdir(parents=True, exist_ok=True)
    return Config(
        gateways={
            name: GatewayConfig(
                connection=_connection_config(connection),
                state_connection=DuckDBConnectionConfig(database=str(state)),
            )
        },
        default_gateway=name,
        model_defaults=ModelDefaultsConfig(
            dialect="duckdb", start=f"{first_arrival:%Y-%m-%d}", cron=CRON, optimize_query=False
        ),
        # not for DuckDB, which the macros take for granted: a variable is part of what makes a model another one
        variables={} if connection["type"] == "duckdb" else {"warehouse_dialect": connection["type"]},
        cache_dir=str(state_folder(project) / "sqlmesh-cache"),
        infer_python_dependencies=False,  # reads every installed package's metadata
        disable_anonymized_analytics=True,
    )


def _connection_config(connection: Mapping[str, Any]) -> Any:
    """Return SQLMesh's connection to the warehouse; on Snowflake one that we open ourselves."""
    from sqlmesh.core.config.connection import parse_connection_config

    if connection["type"] == "snowflake":
        return snowflake_gateway(connection["settings"])
    # a comment is a statement and a snapshot of its own on DuckLake: 30 of them took a third of a first plan; so on
    # Iceberg
    return parse_connection_config({**connection, "register_comments": False})


def models_alone() -> type[Any]:
    """Return SQLMesh's loader without the models' unit tests: half of a second of YAML that no run has a use for."""
    from sqlmesh.core.loader import SqlMeshLoader

    class ModelsAlone(SqlMeshLoader):  # type: ignore[misc]
        """Loads models, macros, audits and materializations."""

        def load_model_tests(self) -> list[Any]:
            return []

    return ModelsAlone
