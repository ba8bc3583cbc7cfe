"""Starts the stand-in for Snowflake (tests/servers/snowflake_program.py says what it cannot show).

fakesnow and SQLMesh want different versions of sqlglot, so it has an environment of its own, made once by pip in a
cache outside the clone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from destinations.snowflake_settings import SnowflakeSettings
from engine.errors import BusyError
from engine.locks import hold
from tests.kafka.processes import DIES_WITH_PARENT, _starter
from tests.servers.timescale_server import _port

VERSION = "0.12.1"
REQUIREMENTS = (f"fakesnow[server]=={VERSION}", "snowflake-connector-python<5")
FETCH_SECONDS = 240.0
LOGIN = {
    "type": "snowflake",
    "account": "fakesnow",
    "user": "test",
    "password": "never-shown",
    "host": "127.0.0.1",
    "protocol": "http",
    "login_seconds": 10,
    "network_seconds": 10,
}
"""What pipelines.yaml has of a destination there, but for `database` and `port`."""
PROGRAM = Path(__file__).with_name("snowflake_program.py")


def require_snowflake() -> Path:
    """Return the stand-in's Python, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _found()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"Snowflake's stand-in: {found}", pytrace=False)
    pytest.skip(f"Snowflake's stand-in: {found}")


@cache
def _found() -> Path | str:
    """The program, or the reason why there is none: asked once in a process, for a network that is away is slow."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse"
    folder = home / f"fakesnow-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        with hold(home / f"{folder.name}.lock", "the cache of fakesnow", wait_seconds=FETCH_SECONDS):
            if (folder / "whole").exists():
                return folder / "bin" / "python"
            return _fetch(folder)
    except BusyError as error:
        return str(error)


def _fetch(folder: Path) -> Path | str:
    """Make it in place, for an environment cannot be moved; the file `whole` says that it is finished."""
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired:
            return f"`{command[2]}` did not end within {FETCH_SECONDS:.0f} s"
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if line.strip()), "it says nothing")
            return f"it could not be installed: {said}"
    (folder / "whole").touch()
    return python


@contextlib.contextmanager
def snowflake_server() -> Iterator[int]:
    """Run the stand-in until the block ends; gives its port."""
    python = require_snowflake()
    wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
    with tempfile.TemporaryDirectory(prefix="tickhouse-snowflake-") as folder:
        process = _starter.submit(
            subprocess.Popen,
            [*wrapped, str(python), str(PROGRAM)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(Path(folder) / "log").open("wb"),
            text=True,
            start_new_session=True,
        ).result()
        try:
            yield _port(process, Path(folder) / "log")
        finally:
            process.kill()
            process.communicate()


def snowflake_settings(port: int, database: str) -> SnowflakeSettings:
    """Return the settings of a database of the stand-in, which makes it at the first login."""
    return SnowflakeSettings.model_validate({**LOGIN, "database": database, "port": port})
