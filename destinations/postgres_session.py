"""A PostgreSQL connection: how it is made, what it is told, the transactions of Landing, and the one writer's lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from destinations.dialect import Dialect
from destinations.postgres_failures import UncertainError
from destinations.postgres_watch import Watch
from engine.errors import BusyError
from engine.locks import GLANCE_SECONDS, POLL_SECONDS

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 10
"""Unless the DSN has a connect_timeout of its own."""
IDLE_SECONDS = 300
"""The server ends a session that stalls this long inside a transaction: its locks go, it cannot commit later."""
LOCK_SECONDS = 60
"""How long a statement waits for a row or table that another session holds."""
ALTER_MILLISECONDS = 500
"""How long, of that time, an ALTER waits at once: whoever reads the table meanwhile waits behind it."""
WRITER_LOCK = 0x7469636B686F7573
"""The advisory lock of the one writer of a database ("tickhous")."""

POSTGRES = Dialect(
    name="postgres",
    mark="%s",
    seed_cursor="INSERT INTO landing._cursor VALUES ({0}, 0) ON CONFLICT DO NOTHING",
    types={"VARCHAR": "text", "DOUBLE": "double precision", "DECIMAL(38,18)": "numeric(38,18)"},
    stored={
        "text": "VARCHAR",
        "bigint": "BIGINT",
        "double precision": "DOUBLE",
        "numeric(38,18)": "DECIMAL(38,18)",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
    },
    columns=(
        "SELECT * FROM (SELECT c.relname AS table_name, a.attname AS column_name,"
        " format_type(a.atttypid, a.atttypmod) AS data_type"
        " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'landing' AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum) AS listed WHERE true"
    ),
    now="clock_timestamp()",
    microseconds="(extract(epoch FROM {0}) * 1000000::numeric)::bigint",
    # in two exact parts: an interval is multiplied as a double, which has no microseconds left in the far future
    instant=(
        "(timestamptz 'epoch' + (({0}) / 1000000::bigint)::double precision * interval '1 second'"
        " + mod({0}, 1000000::bigint)::double precision * interval '1 microsecond')"
    ),
)
"""PostgreSQL and everything that speaks its SQL; without a percent sign, which starts a mark where values are bound."""

SEARCH_PATH = (
    "pg_catalog.set_config('search_path', coalesce((SELECT pg_catalog.quote_ident(n.nspname)"
    " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname = 'timescaledb'), 'pg_catalog'), false)"
)
"""Sets where names without a schema are looked for: PostgreSQL's own first, then TimescaleDB's.

With the usual path a function that somebody put into `public`, whose arguments fit better, would run with our rights.
"""


def connect(dsn: str) -> Connection[tuple[Any, ...]]:
    """Open a connection in UTC that commits each statement by itself and notices in minutes that a server is gone.

    What the DSN says of its own (sslmode, connect_timeout, ...) counts. Raises psycopg.Error.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    bounds = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        "application_name": f"tickhouse (process {os.getpid()})",
    }
    given = conninfo_to_dict(dsn)
    own = {name: value for name, value in bounds.items() if name not in given}
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        prepare_threshold=None,
        client_encoding="utf8",
        **own,  # type: ignore[arg-type]
    )
    watch = Watch(connection, dsn)
    settings = {
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "statement_timeout": "0",
        # and the server notices in two minutes that we are gone, lest a dead machine's session keep the writer's lock
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "6",
        "client_min_messages": "warning",
    }
    calls = ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in settings)
    asked = f"SELECT pg_catalog.pg_backend_pid(), {SEARCH_PATH}, {calls}".encode()
    [(backend, *_)] = connection.execute(asked, [word for pair in settings.items() for word in pair]).fetchall()
    if backend == connection.info.backend_pid:  # a pooler names another
        watch.backend = backend
    return connection


class PostgresSession:
    """A connection as Landing speaks to it (destinations.dialect.Session)."""

    def __init__(self, connection: Connection[tuple[Any, ...]]) -> None:
        """The connection commits each statement by itself, outside of `transaction`."""
        self.connection = connection
        self._waited = 0.0
        """Seconds that ALTERs have waited for others in vain."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; [] if it has none."""
        cursor = self._run(statement, values)
        return cursor.fetchall() if cursor.description else []

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return int(self._run(statement, values).rowcount)

    def alter(self, statement: str) -> None:
        """Run a CREATE or ALTER that does not hold up readers: they queue behind one that waits for a lock.

        It waits for moments, again and again, and between them lets through who has queued: for LOCK_SECONDS, which
        all of a session share. Once they are over, each has one more moment.
        """
        from psycopg.errors import LockNotAvailable

        while True:
            started = time.monotonic()
            try:
                with self.transaction():
                    self.execute(f"SET LOCAL lock_timeout = '{ALTER_MILLISECONDS}ms'")
                    self.execute(statement)
            except LockNotAvailable:
                self._waited += time.monotonic() - started
                if self._waited >= LOCK_SECONDS:
                    raise
                time.sleep(ALTER_MILLISECONDS / 1000)
                self._waited += ALTER_MILLISECONDS / 1000
            else:
                return

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold one transaction. Raises UncertainError if the connection is lost while it commits."""
        import psycopg

        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):
                self.connection.execute("ROLLBACK")
            raise
        try:
            self.connection.execute("COMMIT")
        except psycopg.Error as error:
            if self.connection.closed:
                raise UncertainError(str(error)) from error
            raise

    def _run(self, statement: str, values: Sequence[Any]) -> Any:
        return self.connection.execute(statement.encode(), list(values) or None)


def take_writer_lock(
    session: PostgresSession, what: str, *, wait_seconds: float, waiting: Callable[[str], None] | None
) -> None:
    """Become the one writer of this database until the session ends, however it ends. Raises BusyError.

    The lock is the server's and of this session: while a worker's session lives, stalled or not, nobody else writes;
    when it is gone, nothing of it can commit any more.
    """
    started = time.monotonic()
    deadline = started + max(wait_seconds, GLANCE_SECONDS)
    while not session.execute("SELECT pg_try_advisory_lock(%s)", [WRITER_LOCK])[0][0]:
        if time.monotonic() >= deadline:
            raise BusyError(
                f"{what} is busy: {_holder(session)} holds it",
                "Let it finish, or run again with --wait SECONDS to queue behind it.",
            )
        if waiting is not None and time.monotonic() - started >= GLANCE_SECONDS:
            waiting(f"waiting up to {wait_seconds:.0f} s: {_holder(session)} holds {what}")
            waiting = None
        time.sleep(POLL_SECONDS)


def _holder(session: PostgresSession) -> str:
    rows = session.execute(
        "SELECT a.application_name, coalesce(host(a.client_addr), 'the server itself'), l.pid, a.backend_start::text"
        " FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [WRITER_LOCK >> 32, WRITER_LOCK & 0xFFFFFFFF],
    )
    if not rows:
        return "another session"
    name, address, backend, since = rows[0]
    return f"{name or 'a session'} from {address} (backend {backend}, since {str(since)[:19]} UTC)"
