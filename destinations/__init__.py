"""Destinations: each module loads the lake's packages into one kind of database, its cursor in the same transaction.

`DESTINATION_TYPES` maps the `type:` of a destination in pipelines.yaml to its settings model; the module of that name
has `destination(name, settings, project_dir, data_dir)`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

DESTINATION_TYPES: dict[str, tuple[str, str]] = {
    "ducklake": ("destinations.settings", "DucklakeSettings"),
    "duckdb": ("destinations.settings", "DuckdbSettings"),
    "postgres": ("destinations.settings", "PostgresSettings"),
    "timescaledb": ("destinations.settings", "TimescaledbSettings"),
    "trino": ("destinations.trino_settings", "TrinoSettings"),
    "snowflake": ("destinations.snowflake_settings", "SnowflakeSettings"),
}

LOCK_WAIT_SECONDS = 60.0
"""How long one waits, unless told otherwise, for another process that writes to the same destination."""


def open_destination(
    name: str,
    settings: Any,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> Any:
    """Build the destination `name` from its settings; `with` opens it for writing, `reader()` needs no `with`.

    It is a Warehouse where the settings' `runs_models` is true, else a Server (destinations.protocol). Relative paths
    are relative to `project_dir`; extensions and spilled data go below `data_dir`. Opening waits `wait_seconds` for
    another writer and calls `waiting` once with a sentence about it.
    """
    from importlib import import_module

    module = import_module(f"destinations.{settings.type}")
    return module.destination(name, settings, project_dir, data_dir, wait_seconds=wait_seconds, waiting=waiting)
