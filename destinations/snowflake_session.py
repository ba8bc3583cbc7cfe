"""A Snowflake connection: how it is made, what it is told, the dialect and the transactions of Landing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from destinations.dialect import Dialect
from destinations.snowflake_failures import UncertainError, is_unanswered
from engine.sql import identifier

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

    from destinations.snowflake_settings import SnowflakeSettings

LOCK_SECONDS = 60
"""How long a statement waits for a table that another session's transaction holds."""


def quote(name: str) -> str:
    """Quote a name as Snowflake stores one that is written without quotes: in capitals."""
    return identifier(name.upper())


SNOWFLAKE = Dialect(
    name="snowflake",
    mark="%s",
    quote=quote,
    types={
        "BIGINT": "NUMBER(38, 0)",
        "DECIMAL(38,18)": "NUMBER(38, 18)",
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_TZ(9)",
    },
    stored={
        "TEXT": "VARCHAR",
        "NUMBER(38,0)": "BIGINT",
        "NUMBER(38,18)": "DECIMAL(38,18)",
        "FLOAT": "DOUBLE",
        "TIMESTAMP_TZ": "TIMESTAMP WITH TIME ZONE",
    },
    columns=(
        "SELECT * FROM (SELECT LOWER(table_name) AS table_name, LOWER(column_name) AS column_name,"
        " CASE WHEN data_type = 'NUMBER' THEN 'NUMBER(' || numeric_precision || ',' || numeric_scale || ')'"
        " ELSE data_type END AS data_type"
        " FROM information_schema.columns WHERE table_schema = 'LANDING' ORDER BY ordinal_position) AS listed"
        " WHERE TRUE"
    ),
    now="SYSDATE()",
    microseconds="DATE_PART(EPOCH_MICROSECOND, {0})",
    # in two parts: the stand-in of the tests adds microseconds as doubles, which are not exact in the far future
    instant=(
        "DATEADD(MICROSECOND, MOD({0}, 1000000), DATEADD(SECOND, FLOOR({0} / 1000000),"
        " CAST('1970-01-01 00:00:00 +00:00' AS TIMESTAMP_TZ)))"
    ),
    # no ALTER makes a FLOAT of a NUMBER there; this is one statement, so no half of it can remain
    retype=("CREATE OR REPLACE TABLE {table} COPY GRANTS AS SELECT * REPLACE (CAST({0} AS {1}) AS {0}) FROM {table}"),
    commits_ddl=True,
    wait_for_loads="UPDATE landing._cursor SET seq = seq",
)
"""Snowflake. An instant is a TIMESTAMP_TZ: SQLMesh writes TIMESTAMPTZ for models on every engine, and equality is of
instants, whatever their offsets."""


def connect(settings: SnowflakeSettings, run_id: str = "", *, autocommit: bool = True) -> SnowflakeConnection:
    """Open a session in UTC; with `autocommit` each statement commits by itself. Raises snowflake.connector.Error."""
    parameters = {
        "TIMEZONE": "UTC",
        "QUERY_TAG": f"tickhouse {run_id}".strip(),
        "LOCK_TIMEOUT": LOCK_SECONDS,
        "TRANSACTION_ABORT_ON_ERROR": True,
        "STATEMENT_TIMEOUT_IN_SECONDS": settings.statement_seconds,
    }
    return _patient(settings)(
        **settings.connection(),
        autocommit=autocommit,
        session_parameters=parameters,
        application="Tickhouse",
        client_session_keep_alive=False,
    )


def _patient(settings: SnowflakeSettings) -> type[SnowflakeConnection]:
    """Return the connector's connection, with two limits in place of one.

    The connector takes back a statement that has not ended after `network_timeout`, and tries so long to reach
    Snowflake. Snowflake answers each request within 45 seconds, with "in progress" if need be: that answer is what the
    network is given `network_seconds` for, one request after the other. A statement may take `statement_seconds`.
    """
    from snowflake.connector import SnowflakeConnection, errors
    from snowflake.connector.cursor import SnowflakeCursor

    class Cursor(SnowflakeCursor):
        def execute(self, *given: Any, **named: Any) -> Any:
            # Snowflake ends it by itself, and says why: this is for one that does not
            named["timeout"] = named.get("timeout") or settings.statement_seconds + settings.network_seconds
            return super().execute(*given, **named)

    class Connection(SnowflakeConnection):
        def cursor(self, cursor_class: type[Any] = Cursor) -> Any:
            return super().cursor(cursor_class)

        def cmd_query(self, *given: Any, **named: Any) -> Any:
            return super().cmd_query(*given, **{**named, "timeout": settings.network_seconds})

        def _cancel_query(self, *given: Any, **named: Any) -> Any:
            # in a thread of the connector, which would print why it could not while the network is away
            with suppress(errors.Error):
                return super()._cancel_query(*given, **named)

    return Connection


class SnowflakeSession:
    """A connection as Landing speaks to it (destinations.dialect.Session)."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        """The connection commits each statement by itself, outside of `transaction`."""
        self.connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, tuple(values) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, tuple(values) or None)
            return int(cursor.rowcount or 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold one transaction. Raises UncertainError if no answer to its COMMIT comes."""
        from snowflake.connector import errors

        self.execute("BEGIN")
        try:
            yield
        except BaseException as error:
            # where Snowflake is out of reach to try so once more takes minutes: the session ends, and this with it
            if not (isinstance(error, errors.Error) and is_unanswered(error)):
                with suppress(errors.Error):
                    self.execute("ROLLBACK")
            raise
        try:
            self.execute("COMMIT")
        except errors.ProgrammingError:
            with suppress(errors.Error):
                self.execute("ROLLBACK")
            raise
        except errors.Error as error:
            raise UncertainError(str(error)) from error
