"""Three destinations that are far away, loaded at once: how much longer than the slowest of them alone?

    python -m tests.bench.bench_far_destinations [ROWS]

PostgreSQL, TimescaleDB and the stand-in for Snowflake on this machine, each behind a proxy on loopback that delays
every byte by 100 ms each way, a round trip of 200 ms. The same bars are loaded from a local lake into empty tables,
into one after the other and then into all three in one run; of two rounds the faster counts, so that imports do not.
Target: all at once take at most 1.3 times the slowest alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import yaml

from engine.config.load import load_project
from engine.progress import Silent
from engine.run import Runner
from tests.bench.bench_files import RESOURCE, write_bars
from tests.bench.slow_proxy import SlowProxy
from tests.servers.postgres_server import PostgresServer
from tests.servers.snowflake_server import snowflake_server, snowflake_settings
from tests.servers.timescale_server import timescale_server

ROWS = 20_000
ONE_WAY_SECONDS = 0.1
TIMES = 1.3
ROUNDS = 2
NAMES = ("plain", "timeseries", "snow")


def far(stack: ExitStack, dsn: str) -> str:
    """Return the same DSN by way of a slow proxy."""
    port = int(psycopg.conninfo.conninfo_to_dict(dsn)["port"] or 5432)
    proxy = stack.enter_context(SlowProxy(port, ONE_WAY_SECONDS))
    return psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=str(proxy.port))


def project_in(folder: Path, destinations: dict[str, Any]) -> Path:
    """Write a project with a pipeline for each destination, one for all, and one that only lands."""
    pipelines: dict[str, Any] = {"land": {"extract": ["history"], "load": [], "transform": False}}
    for name, load in {**{each: [each] for each in destinations}, "all": list(destinations)}.items():
        pipelines[name] = {"extract": ["history"], "load": load, "transform": False}
    profile = {"data": ".data", "lake": {"type": "filesystem", "path": ".data/lake"}, **destinations}
    document = {
        "profiles": {"local": profile},
        "sources": {
            "history": {"type": "files", "path": "in", "settle_seconds": 0, "resources": {"raw_bars": RESOURCE}}
        },
        "pipelines": pipelines,
    }
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def main(rows: int = ROWS) -> int:
    """Measure and print; 1 when the target is missed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "in").mkdir()
        write_bars(folder / "in" / "bars.csv", rows)
        postgres = stack.enter_context(PostgresServer())
        snowflake = snowflake_settings(stack.enter_context(snowflake_server()), "FAR")
        settings = snowflake.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        port = stack.enter_context(SlowProxy(snowflake.port or 0, ONE_WAY_SECONDS)).port
        env = {"PLAIN": "", "TIMESERIES": far(stack, stack.enter_context(timescale_server())), "SNOW": "never-shown"}
        destinations = {
            "plain": {"type": "postgres", "dsn": "${PLAIN}"},
            "timeseries": {"type": "timescaledb", "dsn": "${TIMESERIES}"},
            "snow": {**settings, "password": "${SNOW}", "port": port, "database": "${SNOW_DATABASE}"},
        }
        path = project_in(folder, destinations)
        taken: dict[str, float] = {}
        for number, pipeline in enumerate(("land", *(*NAMES, "all") * ROUNDS)):
            name = f"far{number}"
            postgres.execute(f"CREATE DATABASE {name}")
            env |= {"PLAIN": far(stack, postgres.dsn(name)), "SNOW_DATABASE": name.upper()}
            if pipeline in {"all", "timeseries"}:
                with psycopg.connect(env["TIMESERIES"], autocommit=True, prepare_threshold=None) as connection:
                    connection.execute("DROP SCHEMA IF EXISTS landing CASCADE")
            project = load_project(path, env=env)
            started = time.perf_counter()
            report = Runner(project, Silent()).run(pipeline)
            taken[pipeline] = min(time.perf_counter() - started, taken.get(pipeline, float("inf")))
            if report.failures or any(each.rows != rows for each in report.destinations):
                raise SystemExit(report.failures or f"{pipeline}: not {rows:,} rows")
    slowest = max(taken[name] for name in NAMES)
    for name in NAMES:
        print(f"{name:<12} alone   {taken[name]:6.2f} s")
    print(f"all three at once  {taken['all']:6.2f} s  {taken['all'] / slowest:5.2f} x of the slowest (target {TIMES})")
    return 0 if taken["all"] <= TIMES * slowest else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else ROWS))
