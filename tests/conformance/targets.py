"""Each destination as the fault tests see it: how it is built, through another port too, how it is asked, its hooks.

A test body takes a `Target` and does not know which one it has. What is asked goes to the server itself, never through
the proxy or the connection under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
import pytest

from destinations.duckdb import DuckdbWarehouse
from destinations.ducklake import DucklakeWarehouse
from destinations.postgres import PostgresDestination
from destinations.snowflake import SnowflakeWarehouse
from destinations.snowflake_session import connect
from destinations.snowflake_settings import SnowflakeSettings
from destinations.timescaledb import TimescaledbDestination
from destinations.trino import TrinoWarehouse
from destinations.trino_session import Session
from destinations.trino_settings import TrinoSettings
from engine.load import LoadReport, catch_up
from engine.table import Table
from tests.conformance.landed_packages import PRICES, FolderLake
from tests.servers.trino_server import GROUP

EMBEDDED = ["ducklake", "duckdb"]
SERVERS = [
    "postgres",
    pytest.param("timescaledb", marks=pytest.mark.xdist_group("timescale")),
    pytest.param("trino", marks=pytest.mark.xdist_group(GROUP)),
    pytest.param("snowflake", marks=pytest.mark.xdist_group("snowflake")),
]
EVERY = [*EMBEDDED, *SERVERS]
_chaos = pytest.mark.chaos
SWIFT_SERVERS = [
    "postgres",
    pytest.param("timescaledb", marks=pytest.mark.xdist_group("timescale")),
    pytest.param("trino", marks=[pytest.mark.xdist_group(GROUP), _chaos]),
    pytest.param("snowflake", marks=[pytest.mark.xdist_group("snowflake"), _chaos]),
]
"""The same; what takes tens of seconds on the last two is left to `make chaos` and `make conformance`."""
SWIFT = [*EMBEDDED, *SWIFT_SERVERS]

LANDED = (
    "select r.symbol, r._load_id from landing.raw_prices r join landing._packages p on p._load_id = r._load_id"
    " where p.table_name = 'raw_prices'"
)
"""Rows as the models read them: through their package."""
HYPERTABLE = "select symbol from timeseries.raw_prices"
ARRIVED = "select _load_id from landing._packages where table_name = 'raw_prices'"
CURSOR = "select seq from landing._cursor where table_name = 'raw_prices'"


class Builder(Protocol):
    """Builds a destination, unopened."""

    def __call__(self, port: int, machine: str, **settings: Any) -> Any:
        """Reach it through `port` (0: the server's own) from a machine of that name, which has a data folder."""


@dataclass(frozen=True, slots=True)
class Target:
    """One destination, empty at first. `port` is its server's; 0 where there is none."""

    kind: str
    build: Builder
    ask: Callable[[str], list[tuple[Any, ...]]]
    port: int = 0
    answer_of_commit: bytes = b""
    """What the answer to a commit has in it; empty where it is the first thing that comes back."""
    extra: dict[str, Any] = field(default_factory=dict)

    def opened(self, port: int = 0, *, machine: str = "here", **settings: Any) -> Any:
        """Build it, to be opened by `with`."""
        return self.build(port, machine, **settings)

    def run(self, lake: FolderLake, tables: list[Table] | None = None) -> LoadReport:
        """What an ordinary run does."""
        with self.opened() as opened:
            opened.ensure(tables or [PRICES])
            report = catch_up(opened, lake, tables or [PRICES])
            opened.publish()
        return report

    def findings(self, lake: FolderLake) -> list[str]:
        """What is lost, doubled or invented against the lake, and where cursor and data part. None is a pass."""
        packages = lake.packages["raw_prices"]
        expected = Counter(
            (symbol, package.entry.load_id)
            for package in packages
            for symbol in pq.read_table(package.local_files[0], columns=["symbol"])["symbol"].to_pylist()
        )
        landed = Counter((str(symbol), str(load_id)) for symbol, load_id in self.ask(LANDED))
        found = [f"lost {row} x{times}" for row, times in (expected - landed).items()]
        found += [f"too often {row} x{times}" for row, times in (landed - expected).items()]
        if self.kind == "timescaledb":
            held = Counter(str(symbol) for (symbol,) in self.ask(HYPERTABLE))
            wanted = Counter({symbol for symbol, _ in expected})
            found += [f"the hypertable lacks {symbol}" for symbol in wanted - held]
            found += [f"the hypertable has {symbol} too often" for symbol in held - wanted]
        arrived = sorted(str(load_id) for (load_id,) in self.ask(ARRIVED))
        if arrived != sorted(package.entry.load_id for package in packages):
            found.append(f"the packages there are {arrived}")
        cursor = [int(seq) for (seq,) in self.ask(CURSOR)]
        return found if cursor == [len(packages)] else [*found, f"the cursor stands at {cursor}"]

    def recovers(self, lake: FolderLake) -> None:
        """One ordinary run, and every row is there once."""
        errors = self.run(lake).errors
        assert errors == [], errors
        assert self.findings(lake) == []


def at_commit(opened: Any, patch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Do something right before the statement that commits a load is sent."""
    if isinstance(opened, TrinoWarehouse):
        owner, name, is_commit = opened._opened.session, "rows", "MERGE INTO landing._packages"
    elif isinstance(opened, PostgresDestination):
        owner, name, is_commit = opened._writer.connection, "execute", "COMMIT"
    elif isinstance(opened, SnowflakeWarehouse):
        owner, name, is_commit = opened._writer, "execute", "COMMIT"
    else:
        owner, name, is_commit = opened._landing._session._connection, "commit", ""
    plain = getattr(owner, name)

    def told(*args: Any) -> Any:
        if not is_commit or str(args[0]).lstrip().startswith(is_commit):
            action()
        return plain(*args)

    if is_commit:
        patch.setattr(owner, name, told)
    else:  # DuckDB's connection takes no new attributes
        patch.setattr(opened._landing._session, "_connection", _Committing(owner, told))


class _Committing:
    """A connection of DuckDB whose commit is another function."""

    def __init__(self, connection: Any, commit: Callable[[], None]) -> None:
        self._connection, self.commit = connection, commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def in_mid_load(opened: Any, patch: pytest.MonkeyPatch, action: Callable[[], None], *, nth: int = 1) -> None:
    """Do something, once, when the rows of a load's n-th part are on the server and nothing of them is committed."""
    owner = opened._opened.loads if isinstance(opened, TrinoWarehouse) else opened._landing
    plain, added = owner._add, 0

    def add(*args: Any) -> None:
        nonlocal added
        plain(*args)
        added += 1
        if added == nth:
            action()

    patch.setattr(owner, "_add", add)


def ducklake(folder: Path, data_dir: Path) -> Target:
    """The default warehouse, in a folder."""

    def build(_port: int, _machine: str, **settings: Any) -> DucklakeWarehouse:
        return DucklakeWarehouse("warehouse", folder / "warehouse", data_dir, **settings)

    return Target("ducklake", build, lambda sql: build(0, "").reader().execute(sql).fetchall())


def duckdb(folder: Path, data_dir: Path) -> Target:
    """The one-file warehouse."""

    def build(_port: int, _machine: str, **settings: Any) -> DuckdbWarehouse:
        return DuckdbWarehouse("warehouse", folder / "warehouse.duckdb", data_dir, **settings)

    return Target("duckdb", build, lambda sql: build(0, "").reader().execute(sql).fetchall())


def postgres(dsn: str, *, timescale: bool = False) -> Target:
    """A database of PostgreSQL or TimescaleDB."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    made = TimescaledbDestination if timescale else PostgresDestination
    own = int(conninfo_to_dict(dsn)["port"])

    def build(port: int, _machine: str, **settings: Any) -> PostgresDestination:
        return made("warehouse", make_conninfo(dsn, port=port or own), **settings)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with build(0, "").reader() as connection:
            return connection.execute(sql.encode()).fetchall()

    return Target("timescaledb" if timescale else "postgres", build, ask, own, extra={"dsn": dsn})


def trino(settings: TrinoSettings, folder: Path) -> Target:
    """A Trino over Iceberg, and files that both see."""

    def build(port: int, machine: str, **named: Any) -> TrinoWarehouse:
        reached = settings.model_copy(update={"port": port or settings.port})
        return TrinoWarehouse("warehouse", reached, folder, folder / machine, **named)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        session = Session("asked", settings)
        try:
            return [tuple(row) for row in session.rows(sql)]
        finally:
            session.close()

    return Target("trino", build, ask, settings.port, b'"state":"FINISHED"', {"settings": settings})


def snowflake(settings: SnowflakeSettings, folder: Path) -> Target:
    """A database of Snowflake's stand-in, which is given up sooner than the real one."""
    settings = settings.model_copy(update={"login_seconds": 2, "network_seconds": 2})

    def build(port: int, machine: str, **named: Any) -> SnowflakeWarehouse:
        reached = settings.model_copy(update={"port": port or settings.port})
        return SnowflakeWarehouse("warehouse", reached, folder / machine / "snowflake.lock", **named)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with connect(settings) as connection:
            return [tuple(row) for row in connection.cursor().execute(sql).fetchall()]

    return Target("snowflake", build, ask, settings.port, extra={"settings": settings})
