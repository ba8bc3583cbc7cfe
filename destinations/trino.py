"""Trino over an Iceberg catalog: the lake's files become table data without being read; the models run on Trino.

How a load is one although Trino has no transaction over several tables: destinations/trino_commit.py. On one machine a
lock keeps others out while the destination is open; between machines a lease does (destinations/trino_lease.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.landing_counts import row_counts
from destinations.protocol import ColumnsLoaded, Loaded
from destinations.trino_commit import Loads
from destinations.trino_doctor import examine
from destinations.trino_files import Files, open_files
from destinations.trino_lease import Lease
from destinations.trino_session import Session, model_errors
from destinations.trino_settings import S3, TrinoSettings
from destinations.trino_tables import Tables
from destinations.trino_values import EPOCH, listed, micros, timestamp, value
from engine.errors import DestinationError, NotPublishedError
from engine.examined import Examined
from engine.locks import hold
from engine.sql import identifier, literal
from engine.table import QUARANTINE, Table

if TYPE_CHECKING:
    from engine.lake.package import Package

SMALL = "16MB"
"""Files below this size are merged once a day."""


def destination(
    name: str,
    settings: TrinoSettings,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> TrinoWarehouse:
    """Build the destination from its block in pipelines.yaml."""
    return TrinoWarehouse(name, settings, project_dir, data_dir, wait_seconds=wait_seconds, waiting=waiting)


@dataclass(frozen=True, slots=True)
class _Open:
    """What an opened warehouse works with."""

    session: Session
    tables: Tables
    files: Files
    lease: Lease
    loads: Loads


class TrinoWarehouse:
    """A warehouse in Trino. Whoever asks Trino sees tables as they are: a run's changes one after the other."""

    def __init__(
        self,
        name: str,
        settings: TrinoSettings,
        project_dir: Path,
        data_dir: Path,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Connect when opened; wait at most `wait_seconds` for another writer, saying so by `waiting`."""
        self.name = name
        self._settings = settings
        self._project_dir = project_dir
        self._lock = data_dir.absolute() / "state" / f"trino-{name}.writer.lock"
        self._wait_seconds = wait_seconds
        self._waiting = waiting
        self._stack = ExitStack()
        self._open: _Open | None = None

    def __enter__(self) -> Self:
        """Take the writer's lock, connect, create what is missing."""
        with ExitStack() as stack:
            what = f"destination {self.name}"
            stack.enter_context(hold(self._lock, what, wait_seconds=self._wait_seconds, waiting=self._waiting))
            session = Session(self.name, self._settings)
            stack.callback(session.close)
            lease = Lease(session, self._lock, wait_seconds=self._wait_seconds, waiting=self._waiting)
            stack.callback(lease.give_back)
            tables = Tables(session, self._settings.catalog, lease)
            tables.open()
            files = open_files(self._settings, self._project_dir)
            self._open = _Open(session, tables, files, lease, Loads(session, tables, files, lease))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection and let the lock go."""
        self._open = None
        self._stack.close()

    def cursors(self) -> Mapping[str, int]:
        """Return the sequence number of the last package loaded, by table."""
        asked = self._ask("SELECT table_name, MAX(seq) FROM landing._packages GROUP BY table_name")
        return {str(table): int(seq) for table, seq in asked}

    def newest(self) -> Mapping[str, str]:
        """Return the load id of the last package loaded, by table."""
        asked = self._ask("SELECT table_name, MAX_BY(_load_id, seq) FROM landing._packages GROUP BY table_name")
        return {str(table): str(load_id) for table, load_id in asked}

    def arrivals(self) -> Mapping[str, int]:
        """Return when the last package of each table arrived, in milliseconds since 1970 (cut off)."""
        asked = self._ask("SELECT table_name, MAX(arrived_at) FROM landing._packages GROUP BY table_name")
        return {str(table): micros(instant) // 1000 for table, instant in asked}

    def identity(self) -> str:
        """Return what tells this warehouse from another at the same place."""
        ask = "SELECT MIN(identity) FROM landing._identity"
        if self._opened.session.one(ask) is None:
            self._ask(f"INSERT INTO landing._identity VALUES ({literal(secrets.token_hex(16))})")
        return str(self._opened.session.one(ask))

    def tables(self) -> Collection[str]:
        """Return the names of the tables in schema landing."""
        return self._opened.tables.names()

    def watch_columns(self, loaded: ColumnsLoaded) -> None:
        """Hear which columns of a table are loaded."""
        self._opened.tables.columns_loaded = loaded

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables for what is declared."""
        self._opened.tables.ensure(tables)

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the landing tables and columns that models read and nothing has landed yet."""
        self._opened.tables.provide(tables)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages of one table; they count with the last statement, all at once."""
        self._opened.tables.alone()
        return self._opened.loads.load(table, packages)

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: the first arrival, and the instant up to which the models may read.

        By the lease's holder alone: a package of another machine could arrive behind the fence, and be read by no run.
        """
        self._opened.tables.alone()
        ((first, arrived, fence),) = self._ask(
            "SELECT (SELECT MIN(arrived_at) FROM landing._packages), (SELECT MAX(arrived_at) FROM landing._packages), "
            "(SELECT MAX(until) FROM landing._model_runs)"
        )
        if first is None:
            return None
        before = max(micros(instant) for instant in (arrived, fence) if instant)
        until_ms = max(before + 1, micros(datetime.now(UTC))) // 1000 + 1
        until = EPOCH + timedelta(milliseconds=until_ms)
        self._ask(f"INSERT INTO landing._model_runs VALUES ({timestamp(until)})")
        return first.astimezone(UTC), until

    def tables_made(self) -> None:
        """Do nothing: an empty table costs nothing in Iceberg."""

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Keep the results of one model run's checks."""
        if results:
            body = listed([[value(given) for given in row] for row in results])
            self._ask(f"INSERT INTO landing._checks VALUES {body}")

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package: none counts from the first statement on, whatever dies; then tables go, then files.

        A table that is not among the project's `own`, and to which nothing was loaded, is somebody else's: it stays.
        """
        self._opened.tables.alone()
        loaded = {str(table) for (table,) in self._ask("SELECT DISTINCT table_name FROM landing._packages")}
        tables = sorted(loaded | set(own))
        self._ask("DELETE FROM landing._packages")
        self._opened.tables.empty(tables)
        for table in (*tables, QUARANTINE):
            self._opened.files.remove(table)

    def publish(self) -> None:
        """Do nothing: readers ask Trino, which shows each table as it is."""

    def maintenance(self) -> None:
        """Merge small files and let go of snapshots and checks that are older than a week."""
        self._opened.tables.alone()
        self._ask("DELETE FROM landing._checks WHERE checked_at < current_timestamp - INTERVAL '7' DAY")
        newest = self._opened.session.one("SELECT MAX(until) FROM landing._model_runs")
        if newest:
            self._ask(f"DELETE FROM landing._model_runs WHERE until < {timestamp(newest)}")
        catalog = identifier(self._settings.catalog)
        for schema, table in self._ask(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            "AND (table_schema = 'landing' OR table_schema LIKE 'sqlmesh!_!_%' ESCAPE '!')"
        ):
            name = f"{catalog}.{identifier(schema)}.{identifier(table)}"
            self._ask(f"ALTER TABLE {name} EXECUTE optimize(file_size_threshold => '{SMALL}')")
            self._ask(f"ALTER TABLE {name} EXECUTE expire_snapshots(retention_threshold => '7d')")

    def sqlmesh_connection(self) -> dict[str, Any]:
        """Return SQLMesh's connection."""
        settings = self._settings
        secret = {"method": "no-auth"}
        if settings.password:
            secret = {"method": "basic", "password": settings.password.get_secret_value()}
        return {
            "type": "trino",
            "host": settings.host,
            "port": settings.port,
            "http_scheme": settings.scheme,
            "user": settings.user,
            "catalog": settings.catalog,
            "timezone": "UTC",
            "concurrent_tasks": 2,
            **secret,
        }

    def model_errors(self) -> tuple[type[Exception], ...]:
        """Return the errors that SQLMesh lets through from this engine's client."""
        return model_errors()

    def reader(self, *, unpublished: bool = False) -> Any:
        """Refuse: the engine's own commands read the embedded warehouses only."""
        del unpublished
        raise DestinationError(
            self.name,
            f"`engine` cannot read {Session(self.name, self._settings).where} yet",
            f"Ask Trino itself, catalog {self._settings.catalog}: schemas landing, vault, marts and semantic.",
        )

    def examine(self) -> list[Examined]:
        """Check the server for `engine doctor`, beside any writer; nothing is made or changed there."""
        files = self._settings.files
        folder = None if files.startswith(S3) else (self._project_dir / files.removeprefix("file://")).absolute()
        session = Session(self.name, self._settings)
        try:
            return list(examine(session, self._settings, folder))
        finally:
            session.close()

    def row_counts(self, declared: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
        """Return how many rows were loaded into each of these tables, and how many are there (None: no table)."""
        there = {str(table) for (table,) in self.books("SHOW TABLES FROM landing")}
        session = Session(self.name, self._settings)
        try:
            return row_counts(session.rows, there, declared)
        finally:
            session.close()

    def columns(self) -> Mapping[str, Collection[str]]:
        """Return the columns of each table in schema landing."""
        found: dict[str, set[str]] = {str(table): set() for (table,) in self.books("SHOW TABLES FROM landing")}
        if not found:
            return found
        names = ", ".join(map(literal, found))  # without them Trino takes two seconds
        for table, column in self.books(
            "SELECT table_name, column_name FROM information_schema.columns"
            f" WHERE table_schema = 'landing' AND table_name IN ({names})"
        ):
            found[str(table)].add(str(column))
        return found

    def books(self, statement: str) -> Sequence[Sequence[Any]]:
        """Ask landing's bookkeeping beside any writer; nothing is made or changed there."""
        session = Session(self.name, self._settings)
        try:
            if not session.rows("SHOW SCHEMAS LIKE 'landing'"):
                raise NotPublishedError(self.name)
            return session.rows(statement)
        finally:
            session.close()

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return self._open

    def _ask(self, statement: str) -> list[Any]:
        return self._opened.session.rows(statement)
