"""Databases of the test servers, one for each test that asks: made new, and dropped behind it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from destinations.snowflake_settings import SnowflakeSettings
from tests.servers.postgres_server import PostgresServer

_numbers = itertools.count(1)

Dsn = Callable[[str], str]
"""Gives the DSN of the database that a test calls by this name."""


@contextlib.contextmanager
def postgres_databases(server: PostgresServer) -> Iterator[Dsn]:
    """Databases on a PostgreSQL server."""
    made: dict[str, str] = {}

    def dsn(name: str = "warehouse") -> str:
        if name not in made:
            made[name] = f"test_{next(_numbers)}"
            server.execute(f"CREATE DATABASE {made[name]} TEMPLATE template0")
        return server.dsn(made[name])

    yield dsn
    for database in made.values():
        server.execute(f"DROP DATABASE {database} WITH (FORCE)")


@contextlib.contextmanager
def timescale_database(dsn: str) -> Iterator[Dsn]:
    """The one database of the TimescaleDB stand-in: emptied whenever a test calls it by another name."""
    import psycopg

    current: list[str] = []

    def of(name: str = "warehouse") -> str:
        if current != [name]:
            with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
                connection.execute("DROP SCHEMA IF EXISTS timeseries CASCADE")
                connection.execute("DROP SCHEMA IF EXISTS landing CASCADE")
            current[:] = [name]
        return dsn

    yield of


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests of a process."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def timescale_dsn() -> Iterator[str]:
    """One TimescaleDB for all tests of a process."""
    from tests.servers.timescale_server import timescale_server

    with timescale_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def snowflake_port() -> Iterator[int]:
    """One stand-in for Snowflake for all tests of a process."""
    from tests.servers.snowflake_server import snowflake_server

    with snowflake_server() as port:
        yield port


@pytest.fixture
def snowflake(snowflake_port: int) -> Callable[[str], SnowflakeSettings]:
    """Databases on Snowflake's stand-in, one for each test and name."""
    from tests.servers.snowflake_server import snowflake_settings

    made: dict[str, str] = {}
    return lambda name: snowflake_settings(snowflake_port, made.setdefault(name, f"TEST_{next(_numbers)}"))


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Dsn]:
    """Databases on PostgreSQL."""
    with postgres_databases(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def timescale(timescale_dsn: str) -> Iterator[Dsn]:
    """The database on TimescaleDB, emptied."""
    with timescale_database(timescale_dsn) as dsn:
        yield dsn
