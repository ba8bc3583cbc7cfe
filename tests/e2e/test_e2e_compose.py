"""`engine run --all --profile compose`: the lake on S3, TimescaleDB, Trino and Snowflake beside the embedded warehouse.

Every server is a real one, on loopback (tests/servers says what TimescaleDB's is), but for Snowflake's stand-in. All of
the lake comes to every one of them, and the models give the same tables on all three warehouses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from destinations import open_destination
from destinations.snowflake_session import connect
from engine.compose import every_table
from engine.config.load import load_project
from tests.e2e.engine_project import EngineProject, new_project
from tests.e2e.test_e2e_tables import TABLES
from tests.servers.databases import Dsn
from tests.servers.snowflake_server import LOGIN
from tests.servers.trino_server import GROUP, TrinoServer
from tests.vault.test_vault_engines import shown

pytestmark = [
    pytest.mark.chaos,  # minutes: five pipelines, the models of each on two engines
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group(GROUP),
]
OWN = ("_arrived_at", "_seq", "arrived_at")
"""When a package arrived is each warehouse's own."""
BOOKS = ("_packages", "_cursor", "_identity", "_checks", "_model_runs", "_quarantine")
RUN_SECONDS = 1500


def content(columns: Iterable[str], rows: Iterable[Any]) -> Counter[tuple[str, ...]]:
    """Rows in no order, each value as text: exact, instants in UTC."""
    kept = [(n, name) for n, name in enumerate(columns) if name not in OWN]
    kept.sort(key=lambda pair: pair[1])
    return Counter(tuple(shown(row[n]) for n, _ in kept) for row in rows)


def quoted(column: str) -> str:
    return f'"{column}"'


@pytest.fixture
def composed(tmp_path: Path, trino: TrinoServer, timescale: Dsn, snowflake_port: int) -> EngineProject:
    """The project as it is cloned, its servers named by the environment; prices from the bundled market."""
    project = new_project(
        tmp_path / "clone",
        "compose",
        TIMESCALE_DSN=timescale(),
        TRINO_PORT=str(trino.port),
        S3_ENDPOINT=trino.s3.url,
        S3_ACCESS_KEY=trino.s3.access_key,
        S3_SECRET_KEY=trino.s3.secret_key,
        SNOWFLAKE_ACCOUNT=LOGIN["account"],
        SNOWFLAKE_USER=LOGIN["user"],
    )
    # the stand-in takes any login, and has no TLS
    login = f"password: {LOGIN['password']}\n      host: 127.0.0.1\n      port: {snowflake_port}\n      protocol: http"
    project.replace('private_key_file: "${SNOWFLAKE_KEY_FILE}"', login)
    project.replace('      private_key_passphrase: "${SNOWFLAKE_PASSPHRASE:-}"\n', "")
    project.replace("    data: .data/compose\n", "    data: .data/compose\n    market: replay\n    broker: mock\n")
    return project


def test_one_run_fills_every_server_alike(composed: EngineProject, trino: TrinoServer) -> None:
    ended = composed.engine("run", "--all", "--json", expect=0, limit=RUN_SECONDS)
    assert {run["status"] for run in ended.document()["runs"]} == {"ok"}, ended.err
    project = load_project(composed.file, profile="compose", env=composed.environment)
    warehouse, series = (
        open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
        for name in ("warehouse", "timeseries")
    )
    different, rows, series_rows = {}, 0, 0
    snow = connect(project.destinations["snowflake"])
    with warehouse.reader() as embedded, series.reader() as timescaledb, snow as snowflake:

        def ours(table: str) -> tuple[list[str], Counter[tuple[str, ...]]]:
            found = embedded.sql(f"SELECT * FROM {table}")
            return found.columns, content(found.columns, found.fetchall())

        landed = [
            name
            for (name,) in embedded.sql(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'landing'"
            ).fetchall()
            if name not in BOOKS
        ]
        for name in (*(f"landing.{table}" for table in landed), *TABLES):
            columns, expected = ours(name)
            listed = ", ".join(quoted(column) for column in columns)
            on_trino = content(columns, trino.execute(f"SELECT {listed} FROM {name}"))
            if on_trino != expected:
                different[f"trino {name}"] = (list(expected - on_trino)[:2], list(on_trino - expected)[:2])
            cursor = snowflake.cursor().execute(f"select * from {name}")  # as anybody calls it: no quotes, no capitals
            on_snowflake = content([column[0].lower() for column in cursor.description], cursor.fetchall())
            if on_snowflake != expected:
                different[f"snowflake {name}"] = (list(expected - on_snowflake)[:2], list(on_snowflake - expected)[:2])
            if name.startswith("landing."):
                # columns that the models read and no source brings are in warehouses only
                cursor = timescaledb.execute(f"SELECT * FROM {name}".encode())
                there = [column.name for column in cursor.description]
                found = embedded.sql(f"SELECT {', '.join(quoted(column) for column in there)} FROM {name}")
                on_timescale, expected = content(there, cursor.fetchall()), content(there, found.fetchall())
                if on_timescale != expected:
                    different[f"timescaledb {name}"] = (
                        list(expected - on_timescale)[:2],
                        list(on_timescale - expected)[:2],
                    )
            rows += expected.total()
        for table in (table for table in every_table(project) if table.timeseries and table.name in landed):
            # of each source and key the row delivered last
            key = ", ".join(quoted(column) for column in ("source", *table.primary_key))
            cursor = timescaledb.execute(f"SELECT * FROM timeseries.{table.name}".encode())
            there = [column.name for column in cursor.description]
            listed = ", ".join(quoted(column) for column in there)
            expected = content(
                there,
                embedded.sql(
                    f"SELECT {listed} FROM landing.{table.name} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY "
                    f"(SELECT seq FROM landing._packages p WHERE p._load_id = {table.name}._load_id "
                    f"AND p.table_name = '{table.name}') DESC, load_timestamp DESC) = 1"
                ).fetchall(),
            )
            held = content(there, cursor.fetchall())
            series_rows += held.total()
            if held != expected:
                different[f"timeseries.{table.name}"] = (list(expected - held)[:2], list(held - expected)[:2])
    assert different == {}
    assert series_rows > 1_000
    assert len(landed) > 10
    assert rows > 10_000
    assert not (composed.folder / ".data" / "compose" / "lake").exists(), "the lake is on S3"
