"""SQLMesh opened to look and not to touch: on a copy of its state, beside what readers see of the warehouse."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BusyError, TickhouseError
from engine.models.errors import clear_model_errors
from engine.sql import literal

if TYPE_CHECKING:
    from sqlmesh import Context

    from destinations.protocol import Warehouse
    from engine.config.project import Project

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARANTINE = "_quarantine"
WAIT_SECONDS = 5.0
"""How long a plan waits for SQLMesh's state, which a run keeps to itself while it builds."""


def arrivals(connection: Any, since: int) -> dict[str, list[int]]:
    """Arrivals from an instant on (milliseconds since 1970) by landing table, in order; none without a connection.

    Any package may have set rows aside, so each of them has arrived for the quarantine too.
    """
    if connection is None:
        return {}
    found: dict[str, list[int]] = {}
    rows = connection.execute(
        "SELECT table_name, epoch_ms(arrived_at) FROM landing._packages "
        f"WHERE arrived_at >= make_timestamptz({int(since) * 1000}) ORDER BY arrived_at"
    ).fetchall()
    for table, instant in rows:
        for landed in (str(table), QUARANTINE):
            found.setdefault(landed, []).append(int(instant))
    return found


@contextmanager
def published(warehouse: Warehouse) -> Iterator[Any]:
    """Yield a read-only connection on what readers see, or None where nothing is published yet."""
    try:
        connection = warehouse.reader()
    except TickhouseError:
        yield None
        return
    with closing(connection):
        yield connection


@contextmanager
def planning_context(
    project: Project, name: str, warehouse: Warehouse, reader: Any, *, load: bool = True
) -> Iterator[Context]:
    """Open SQLMesh on a copy of its state and on no warehouse at all: an empty catalog of the same name stands in.

    The configuration is that of a run all the same, so that models are taken from the cache that runs fill.
    """
    import logging

    from sqlmesh import Context
    from sqlmesh.core.config import DuckDBConnectionConfig
    from sqlmesh.core.console import NoopConsole, set_console
    from sqlmesh.core.state_sync import EngineAdapterStateSync

    from engine.models.context import sqlmesh_config, state_file
    from engine.models.dbt import with_dbt
    from engine.models.intervals import take_only_what_arrived

    set_console(NoopConsole())
    logging.getLogger("sqlmesh").setLevel(logging.CRITICAL)
    take_only_what_arrived()
    connection = warehouse.sqlmesh_connection()
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        copy = Path(folder) / "state.duckdb"
        copy_state(state_file(project, name), copy)
        config = sqlmesh_config(project, name, connection, first_arrival(reader))
        state = EngineAdapterStateSync(
            DuckDBConnectionConfig(database=str(copy)).create_engine_adapter(),
            config.get_state_schema(name),
            cache_dir=Path(config.cache_dir or folder),
        )
        context = Context(config=with_dbt(project.project_dir / "transforms", config), load=False, state_sync=state)
        context._engine_adapter = _stand_in(connection)  # noqa: SLF001 - before anything has asked for it
        with closing(context):
            if load:
                with clear_model_errors(project.project_dir):
                    context.load()
            yield context


def first_arrival(reader: Any) -> datetime:
    """From when on there is something to build; now, while there is nothing."""
    row = reader.execute("SELECT min(epoch_ms(arrived_at)) FROM landing._packages").fetchall()[0] if reader else (None,)
    return datetime.now(UTC) if row[0] is None else EPOCH + timedelta(milliseconds=int(row[0]))


def _stand_in(connection: Mapping[str, Any]) -> Any:
    """An adapter of the same engine and default catalog that holds nothing; None: that engine is asked itself."""
    from sqlmesh.core.config import DuckDBConnectionConfig

    if connection["type"] != "duckdb":
        return None
    catalogs: Sequence[str] = list(connection.get("catalogs") or {}) or [Path(connection["database"]).stem]
    return DuckDBConnectionConfig(catalogs={catalogs[0]: ":memory:"}).create_engine_adapter()


def copy_state(state: Path, copy: Path) -> None:
    """Copy SQLMesh's state, which one process at a time may have open: it is held for an instant only."""
    import duckdb

    if not state.exists():
        return
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with duckdb.connect() as connection:
                connection.execute(f"ATTACH {literal(str(state))} AS state (READ_ONLY)")
                connection.execute(f"ATTACH {literal(str(copy))} AS copied")
                connection.execute("COPY FROM DATABASE state TO copied")
        except duckdb.Error as error:
            if "set lock" not in str(error):
                raise TickhouseError(
                    f"SQLMesh's state {state.name} cannot be read: {str(error).splitlines()[0][:300]}",
                    "Run a pipeline: it mends the state or makes it anew.",
                ) from error
            if time.monotonic() >= deadline:
                raise BusyError(
                    "SQLMesh's state is held by a run that builds models", "Let it finish, then run this again."
                ) from None
            time.sleep(0.2)
        else:
            return
