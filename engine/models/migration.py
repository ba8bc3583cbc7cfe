"""Take over the state that an earlier release's SQLMesh wrote: by its own migration, all or nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.models.state import opened

if TYPE_CHECKING:
    from sqlmesh import Context

log = logging.getLogger(__name__)
SCHEMA = "sqlmesh"
Versions = tuple[int, tuple[int, ...], tuple[int, ...]]


def migrate(state: Path, context: Callable[[], Context]) -> bool:
    """Bring an older state to this SQLMesh's form; return whether there was something to do.

    `context` opens SQLMesh on it, without the models. Whoever calls holds the warehouse's lock. SQLMesh commits its
    migration statement by statement, so it works on a copy that takes the state's place in the end: a process that dies
    leaves the state as it was. The old one stays beside it for whoever goes back to the earlier release. A state of a
    later SQLMesh is left alone; the plan says so. Raises TickhouseError where SQLMesh cannot migrate it.
    """
    found = _found(state) if state.exists() else None
    if found is None or found >= _ours():
        return False
    before, now = _dotted(found[1]), _dotted(_ours()[1])
    work = state.with_name(f".{state.name}.migrating")
    work.with_name(f"{work.name}.wal").unlink(missing_ok=True)
    with opened(state) as connection:
        connection.execute("CHECKPOINT")  # the file alone is copied
    shutil.copyfile(state, work)
    try:
        _migrate(work, context)
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise TickhouseError(
            f"the state of the models ({state.name}) is of SQLMesh {before} and cannot be brought to {now}: "
            f"{first[:300]}",
            f"Landed and loaded data are safe. Move {state.name} away: every model is then built anew.",
        ) from error
    shutil.copyfile(state, state.with_name(f"{state.stem}-before-{now}{state.suffix}"))
    work.replace(state)
    log.info("%s was brought from SQLMesh %s to %s", state.name, before, now)
    return True


def _migrate(work: Path, context: Callable[[], Context]) -> None:
    from sqlmesh.core.config import DuckDBConnectionConfig
    from sqlmesh.core.console import NoopConsole, set_console
    from sqlmesh.core.state_sync import EngineAdapterStateSync

    set_console(NoopConsole())
    without_models = context()
    try:
        without_models._load_materializations()  # noqa: SLF001 - what a snapshot's kind is read with, as in Context.migrate
    finally:
        without_models.close()
    adapter = DuckDBConnectionConfig(database=str(work)).create_engine_adapter()
    sync = EngineAdapterStateSync(adapter, schema=SCHEMA, cache_dir=work.parent / "sqlmesh-cache")
    try:
        sync.migrate(skip_backup=True)
    finally:
        sync.close()


def _found(state: Path) -> Versions | None:
    """The versions that the state names; None if it is empty."""
    import duckdb

    with opened(state) as connection:
        try:
            rows: list[Any] = connection.execute(
                f"SELECT schema_version, sqlmesh_version, sqlglot_version FROM {SCHEMA}._versions"
            ).fetchall()
        except duckdb.CatalogException:
            return None
    return (int(rows[0][0]), _numbers(rows[0][1]), _numbers(rows[0][2])) if rows else None


def _ours() -> Versions:
    from sqlglot import __version__ as sqlglot_version
    from sqlmesh import __version__ as sqlmesh_version
    from sqlmesh.core.state_sync.base import SCHEMA_VERSION

    return SCHEMA_VERSION, _numbers(sqlmesh_version), _numbers(sqlglot_version)


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor: what SQLMesh compares."""
    return tuple(int(part) for part in version.split(".")[:2])


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
