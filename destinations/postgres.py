"""PostgreSQL: schema landing, loaded from the lake's packages by COPY, one transaction a load.

It is no warehouse: no models run there, and readers are whoever connects. What is committed is what they see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.landing import Landing
from destinations.landing_destination import LandingDestination
from destinations.landing_rules import bookkeeping
from destinations.package_rows import LandedFile
from destinations.postgres_copy import copy_file
from destinations.postgres_doctor import examine
from destinations.postgres_failures import clear_errors, place, unreadable_dsn
from destinations.postgres_session import POSTGRES, PostgresSession, connect, take_writer_lock
from destinations.settings import PostgresSettings
from engine.errors import DestinationError
from engine.examined import Examined
from engine.sql import qualified

if TYPE_CHECKING:
    from psycopg import Connection

TWO_CURSORS = (
    "SELECT 1 FROM pg_class c WHERE c.oid = 'landing._cursor'::regclass AND pg_has_role(c.relowner, 'USAGE')"
    " AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique)"
)
"""A row where a table may get two cursors, which no load would move: behind a pooler two writers may both make one."""
ONE_CURSOR = (
    "LOCK TABLE landing._cursor IN SHARE ROW EXCLUSIVE MODE",
    "DELETE FROM landing._cursor a USING landing._cursor b WHERE a.table_name = b.table_name AND a.ctid < b.ctid",
    "CREATE UNIQUE INDEX IF NOT EXISTS _cursor_of_table ON landing._cursor (table_name)",
)


def destination(
    name: str,
    settings: PostgresSettings,
    project_dir: Path,  # noqa: ARG001 - every destination is built alike
    data_dir: Path,  # noqa: ARG001
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> PostgresDestination:
    """Build the destination from its block in pipelines.yaml."""
    return PostgresDestination(name, settings.dsn.get_secret_value(), wait_seconds=wait_seconds, waiting=waiting)


class PostgresDestination(LandingDestination):
    """One database of a PostgreSQL server. `with` opens it for writing; `reader()` works at any time."""

    timescale = False
    """Whether TimescaleDB is wanted there."""

    def __init__(
        self,
        name: str,
        dsn: str,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Wait at most `wait_seconds` for another writer, saying so by `waiting`. Raises DestinationError."""
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict
        except ModuleNotFoundError:
            raise DestinationError(
                name, "PostgreSQL's client is not installed", "Install tickhouse[postgres]: it brings psycopg."
            ) from None
        super().__init__(name)
        self._dsn = dsn
        try:
            self.where = place(conninfo_to_dict(dsn))
        except ProgrammingError:
            raise unreadable_dsn(name) from None
        self._wait_seconds = wait_seconds
        self._waiting = waiting
        self._session: PostgresSession | None = None

    def __enter__(self) -> Self:
        """Connect, become the one writer, create what is missing."""
        with ExitStack() as stack, self._clear_errors():
            connection = connect(self._dsn)
            stack.callback(connection.close)
            session = PostgresSession(connection)
            what = f"destination {self.name}"
            take_writer_lock(session, what, wait_seconds=self._wait_seconds, waiting=self._waiting)
            with session.transaction():
                for statement in self._bookkeeping(session):
                    session.execute(statement)
                if session.execute(TWO_CURSORS):
                    for statement in ONE_CURSOR:
                        session.execute(statement)
            self._session = session
            self._landing = Landing(
                self.name, session, POSTGRES, self._add, bring=self._make_ready, alter=session.alter
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the session: an open transaction is rolled back, the writer's lock goes with it."""
        self._session = self._landing = None
        self._stack.close()

    @contextmanager
    def reader(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """Open a read-only connection beside any writer; it sees what is committed."""
        with self._clear_errors():
            connection = connect(self._dsn)
            connection.autocommit = False
            connection.read_only = True
            with connection:
                yield connection

    def examine(self) -> list[Examined]:
        """Check the server for `engine doctor`, beside any writer; nothing is changed there."""
        with self._clear_errors(), connect(self._dsn) as connection:
            return list(examine(PostgresSession(connection), self.name, self.where, timescale=self.timescale))

    def row_counts(self, declared: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
        """Return how many rows were loaded into each of these tables, and how many are there (None: no table)."""
        with self._clear_errors(), connect(self._dsn) as connection:
            return Landing(self.name, PostgresSession(connection), POSTGRES, self._add).row_counts(declared)

    def columns(self) -> Mapping[str, Collection[str]]:
        """Return the columns of each table in schema landing."""
        with self._clear_errors(), connect(self._dsn) as connection:
            return Landing(self.name, PostgresSession(connection), POSTGRES, self._add).columns()

    def size_bytes(self) -> int:
        """Bytes of the whole database."""
        with self.reader() as connection:
            found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            return int(found[0]) if found else 0

    @property
    def _writer(self) -> PostgresSession:
        return self._while_open(self._session)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        with clear_errors(self.name, self.where):
            yield

    def _bookkeeping(self, session: PostgresSession) -> Sequence[str]:
        """Return the statements that make what is missing; a schema that is there needs no right to make one."""
        schema, *tables = bookkeeping(POSTGRES)
        there = session.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'landing'")
        return tables if there else [schema, *tables]

    def _make_ready(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Change what else these rows go to, before the transaction that brings them: here nothing."""

    def _add(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Copy the files' rows into landing.`table`."""
        for file in files:
            copy_file(self._writer.connection, self.name, qualified("landing", table), file, types)
