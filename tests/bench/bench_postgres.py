"""1,000,000 OHLCV bars from a CSV to the lake and to PostgreSQL 18: the whole command cold, the load warm, bare COPY.

    python -m tests.bench.bench_postgres [ROWS]

Bare COPY sends the CSV file itself into a table with the same seven columns and types, on the same server (fsync off,
as in the tests); ours carries five lineage columns more, from the lake's Parquet. The cold command is a process of its
own: start, imports, CSV to lake, lake to PostgreSQL. For the choice between CSV and binary COPY, the server is also
timed on the very rows of our table in either form: binary without the time it would take to write it.
Targets: the warm load takes at most 2.5 times bare COPY. The cold command takes at most half of the time of Sling and
of ingestr, each a cold command from the same file into the same server, as their documentation has it; the landing in
the lake is included in ours. Sling makes numbers NUMERIC, ingestr leaves them text. The three take turns, each from
nothing, once to fill the machine's caches and then five times; what is compared are the medians of the five.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import yaml

from destinations import open_destination
from engine.compose import every_table
from engine.config.load import load_project
from engine.config.project import Project
from engine.lake.lake import open_lake
from engine.load import catch_up
from tests.bench.bench_files import DECIMALS, RESOURCE, ROWS, write_bars
from tests.bench.peers import INGESTR, SLING, Peer
from tests.servers.postgres_server import PostgresServer

TIMES = 2.5
PEERS = 2.0
PIECE = 1 << 20
ROUNDS = 3
TURNS = 5


def project_in(folder: Path) -> Path:
    """Write a project that loads folder/in into PostgreSQL."""
    document = {
        "profiles": {
            "local": {
                "data": ".data",
                "lake": {"type": "filesystem", "path": ".data/lake"},
                "store": {"type": "postgres", "dsn": "${BENCH_DSN}"},
            }
        },
        "sources": {
            "history": {"type": "files", "path": "in", "settle_seconds": 0, "resources": {"raw_bars": RESOURCE}}
        },
        "pipelines": {"land": {"extract": ["history"], "load": ["store"], "transform": False}},
    }
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def seconds(work: Callable[[], Any]) -> float:
    """Time one piece of work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def database(server: PostgresServer, name: str) -> Iterator[str]:
    """Give a new database's DSN."""
    server.execute(f"CREATE DATABASE {name}")
    yield server.dsn(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def bare_copy(dsn: str, file: Path) -> float:
    """Copy the file as it is."""
    numbers = ", ".join(f"{name} numeric(38,18)" for name in DECIMALS)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(f"CREATE TABLE bare (symbol text, open_time timestamptz, {numbers})".encode())
        return seconds(lambda: send(connection, "COPY bare FROM STDIN (FORMAT csv, HEADER)", file))


def send(connection: psycopg.Connection[Any], statement: str, file: Path) -> None:
    """Run a COPY with a file's bytes."""
    with file.open("rb") as source, connection.cursor().copy(statement.encode()) as copy:
        while piece := source.read(PIECE):
            copy.write(piece)


def warm_load(project: Project) -> float:
    """Load the lake's packages into an empty destination, opened and prepared."""
    with (
        open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache") as lake,
        open_destination("store", project.destinations["store"], project.project_dir, project.data_dir) as store,
    ):
        store.reset()
        store.ensure(every_table(project))
        return seconds(lambda: catch_up(store, lake, every_table(project)))


def either_form(dsn: str, folder: Path) -> dict[str, float]:
    """Time the server alone on the rows of raw_bars: as CSV and as binary, both written before."""
    taken = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for form in ("csv", "binary"):
            file = folder / f"bars.{form}"
            with (
                file.open("wb") as out,
                connection.cursor().copy(f"COPY landing.raw_bars TO STDOUT (FORMAT {form})".encode()) as copy,
            ):
                for piece in copy:
                    out.write(piece)
            connection.execute("CREATE TABLE again (LIKE landing.raw_bars)")
            taken[form] = seconds(lambda f=form, p=file: send(connection, f"COPY again FROM STDIN (FORMAT {f})", p))
            connection.execute("DROP TABLE again")
    return taken


def by_engine(file: Path, dsn: str) -> float:
    """Move the file by our own command, into an empty lake and an empty database."""
    command = [str(Path(sys.executable).with_name("engine")), "run", "land", "-f", str(file)]
    shutil.rmtree(file.with_name(".data"), ignore_errors=True)
    environment = {**os.environ, "BENCH_DSN": dsn}
    return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def by_peer(peer: Peer, file: Path, dsn: str, home: Path) -> float:
    """Move the file by another tool; its home is empty, so that it is as new."""
    command = peer.command(file, dsn)
    environment = {**os.environ, "HOME": str(home)}
    return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def main(rows: int = ROWS) -> int:
    """Measure and print; 1 when the target is missed."""
    with tempfile.TemporaryDirectory() as name, PostgresServer() as server:
        folder = Path(name)
        (folder / "in").mkdir()
        file = folder / "in" / "bars.csv"
        write_bars(file, rows)
        project_file = project_in(folder)
        cold: list[float] = []
        others: dict[str, list[float]] = {}
        for turn in range(1 + TURNS):
            with database(server, "bench") as dsn:
                taken = by_engine(project_file, dsn)
            if turn:
                cold.append(taken)
            for peer in (SLING, INGESTR):
                with database(server, "bench") as dsn:
                    try:
                        taken = by_peer(peer, file, dsn, folder)
                    except OSError as error:
                        print(f"not measured: {error}")
                        continue
                if turn:
                    others.setdefault(peer.name, []).append(taken)
        with database(server, "bench") as dsn:
            by_engine(project_file, dsn)
            project = load_project(project_file, env={"BENCH_DSN": dsn})
            bare = min(bare_copy(dsn, file) for _ in range(ROUNDS))
            warm = min(warm_load(project) for _ in range(ROUNDS))
            [(counted,)] = server.execute("SELECT count(*) FROM landing.raw_bars", "bench")
            if counted != rows:
                raise SystemExit(f"{counted:,} of {rows:,} rows loaded")
            forms = either_form(dsn, folder)
    print(f"bare COPY of the CSV                {bare:6.2f} s  {rows / bare:>12,.0f} rows/s")
    print(f"lake to PostgreSQL, warm            {warm:6.2f} s  {rows / warm:>12,.0f} rows/s")
    whole = median(cold)
    print(f"CSV to lake to PostgreSQL, cold     {whole:6.2f} s  {rows / whole:>12,.0f} rows/s  (of {told(cold)})")
    print(f"the server on our rows, CSV         {forms['csv']:6.2f} s")
    print(f"the server on our rows, binary      {forms['binary']:6.2f} s  (without writing it)")
    print(f"warm load, of bare COPY             {warm / bare:6.2f} x  (target {TIMES} at most)")
    print(f"cold command, of bare COPY          {whole / bare:6.2f} x")
    for name, each in others.items():
        taken = median(each)
        print(f"{name:<35} {taken:6.2f} s  {taken / whole:6.2f} x of our cold command  (target {PEERS} at least)")
        print(f"{'':<35} of {told(each)}")
    met = warm <= TIMES * bare and all(median(each) >= PEERS * whole for each in others.values())
    return 0 if met else 1


def told(taken: list[float]) -> str:
    """All rounds, in seconds."""
    return ", ".join(f"{each:.2f}" for each in taken)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
