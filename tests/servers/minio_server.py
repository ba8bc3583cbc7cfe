"""MinIO's own server, built from Go's module proxy (no registry has its program), on a loopback port, for tests.

The build takes minutes of both cores and is done once in a cache outside the clone; `make chaos` has the tests that ask
for it, and `make test` runs the same tests on SeaweedFS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.errors import BusyError
from engine.locks import hold
from tests.conformance.s3_server import READY_WITHIN, S3Server
from tests.kafka.processes import DIES_WITH_PARENT, Port, _starter

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
BUILD_SECONDS = 3000.0


def require_minio() -> Path:
    """Return the server's program, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _found()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"MinIO: {found}", pytrace=False)
    pytest.skip(f"MinIO: {found}")


@cache
def _found() -> Path | str:
    """The program, or the reason why there is none."""
    if (go := shutil.which("go")) is None:
        return "no program of it is in a registry, and there is no `go` to build it"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse" / f"minio-{VERSION}"
    try:
        with hold(home.with_suffix(".lock"), "the build of MinIO", wait_seconds=BUILD_SECONDS):
            program = home / "minio"
            return program if program.exists() else _build(go, home)
    except BusyError as error:
        return str(error)


def _build(go: str, home: Path) -> Path | str:
    home.mkdir(parents=True, exist_ok=True)
    command = [go, "install", f"github.com/minio/minio@{VERSION}"]
    environment = {**os.environ, "GOBIN": str(home), "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=BUILD_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"its build did not end within {BUILD_SECONDS:.0f} s"
    if done.returncode:
        return f"it could not be built: {done.stderr.strip().splitlines()[-1:]}"
    return home / "minio"


@contextlib.contextmanager
def minio_server(folder: Path, access_key: str = "test-access", secret_key: str = "test-secret") -> Iterator[S3Server]:  # noqa: S107 - a loopback server's own
    """Run the server over `folder` until the block ends; a second start over the same folder finds its objects."""
    program, port = require_minio(), Port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [str(program), "server", "--address", f"127.0.0.1:{port.number}", str(folder)]
    wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
    with log.open("ab") as output:
        process = _starter.submit(
            subprocess.Popen, [*wrapped, *command], stdout=output, stderr=output, env=environment
        ).result()
    try:
        deadline = time.monotonic() + READY_WITHIN
        url = f"http://127.0.0.1:{port.number}"
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MinIO did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield S3Server(url, port.number, access_key, secret_key, process)
    finally:
        process.kill()
        process.wait()
        port.close()


def _ready(url: str) -> bool:
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(f"{url}/minio/health/ready", timeout=2) as answer,  # noqa: S310 - loopback
    ):
        return bool(answer.status == 200)
    return False
