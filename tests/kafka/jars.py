"""The jars of a real Kafka, fetched once by Maven into a cache outside the clone.

    classpath = jars("kafka-4")          # a folder, or Missing with the reason
    classpath = require_broker("kafka-4")  # a folder, or the test is skipped

With CI_REQUIRE_SERVERS=1 a broker that cannot be had fails the test.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import pytest

from engine.errors import BusyError
from engine.locks import hold

Kind = Literal["kafka-4", "kafka-3.9-zookeeper"]
KINDS: tuple[Kind, ...] = get_args(Kind)
POMS = Path(__file__).with_name("poms")
FETCH_SECONDS = 150.0
"""Twenty times what it takes, and less than a test may take."""


class MissingError(RuntimeError):
    """A broker cannot be had on this machine; says why."""


def require_broker(kind: Kind) -> Path:
    """Return the folder of the jars, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _found(kind)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{kind}: {found}", pytrace=False)
    pytest.skip(f"{kind}: {found}")


@cache
def _found(kind: Kind) -> Path | str:
    """The folder, or the reason why there is none: asked once in a process, for a network that is away is slow."""
    try:
        return jars(kind)
    except MissingError as error:
        return str(error)


def jars(kind: Kind, cache_folder: Path | None = None) -> Path:
    """Return the folder that holds the jars of a kind, after fetching them if need be. Raises MissingError."""
    if shutil.which("java") is None:
        raise MissingError("there is no `java` on PATH")
    return fetched(kind, POMS / f"{kind}.xml", cache_folder)


def fetched(
    name: str, pom: Path, cache_folder: Path | None = None, prepare: Callable[[Path], None] = lambda _: None
) -> Path:
    """Return the folder with what a pom depends on, after fetching it if need be. Raises MissingError.

    `prepare` is given the folder before anyone else sees it, to unpack what is in there.
    """
    if shutil.which("mvn") is None:
        raise MissingError("there is no `mvn` on PATH")
    home = cache_folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse"
    folder = home / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    try:
        with hold(home / f"{folder.name}.lock", f"the cache of {name}", wait_seconds=FETCH_SECONDS):
            if not folder.exists():
                _fetch(pom, folder, prepare)
    except BusyError as error:
        raise MissingError(str(error)) from None
    return folder


def _fetch(pom: Path, folder: Path, prepare: Callable[[Path], None]) -> None:
    """Fetch beside `folder` and rename: a folder of that name is whole."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        found = Path(scratch) / "jars"
        command = ["mvn", "--quiet", "--batch-mode", f"--file={pom}", "dependency:copy-dependencies"]
        try:
            subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={found}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
                timeout=FETCH_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            said = next((line for line in error.stdout.splitlines() if "ERROR" in line), "it says nothing")
            raise MissingError(f"Maven could not fetch it: {said}") from None
        except subprocess.TimeoutExpired:
            raise MissingError(f"Maven did not fetch it within {FETCH_SECONDS:.0f} s") from None
        prepare(found)
        found.rename(folder)
