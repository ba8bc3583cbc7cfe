"""A real Trino on a loopback port, started from the files of deploy/trino: what docker-compose mounts.

    with trino_server(folder) as server:       # skips the test where it cannot be had, with the reason
        server.port, server.files

The archive comes from Maven Central (800 MB, once, into the cache that the brokers use); of its plugins those stay that
the catalogs need. 476 wants Java 24 or newer: JAVA_HOME, PATH, or a JDK under /usr/lib/jvm. It is ready in some 13 s.
With CI_REQUIRE_SERVERS=1 a server that cannot be had fails the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from destinations.trino_settings import TrinoSettings
from tests.conformance.s3_server import S3Server, s3_server
from tests.kafka.brokers import Broker
from tests.kafka.jars import MissingError, fetched, jars
from tests.kafka.processes import DIES_WITH_PARENT, Port, _starter
from tests.servers.postgres_server import PostgresServer

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "trino"
POM = Path(__file__).with_name("poms") / "trino.xml"
GROUP = "trino"
"""The xdist_group of every test that needs the server: two cores do not carry two of them."""
BUCKET = "warehouse"
READY_SECONDS = 120.0
OLDEST_JAVA = 24
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
NOWHERE = "127.0.0.1:9"
"""Where catalogs point whose server the tests do not have: they connect when they are asked, not before."""


@dataclass(slots=True)
class TrinoServer:
    """How to reach it. `files` is a folder that it can read and write like this process.

    Its catalog `timeseries` is the database of that name in `postgres`; its catalog `kafka` is `broker`, which a test
    starts if it needs it (None where Kafka's jars cannot be had). `s3` has a bucket `warehouse`, which it may read.
    """

    port: int
    files: Path
    process: subprocess.Popen[bytes]
    postgres: PostgresServer
    broker: Broker | None
    s3: S3Server
    start: Callable[[], subprocess.Popen[bytes]]

    def execute(self, statement: str) -> list[list[Any]]:
        """Run one statement in the catalog `lake`."""
        from trino.dbapi import connect

        with connect(host="127.0.0.1", port=self.port, user="tests", catalog="lake", timezone="UTC") as connection:
            return connection.cursor().execute(statement).fetchall()

    def allow(self, *tables: Mapping[str, Any]) -> None:
        """Set who may do what to which tables, within a second; without any, everybody may do everything."""
        rules = self.files.with_name("rules.json")
        unfinished = rules.with_suffix(".new")
        unfinished.write_text(json.dumps({"tables": tables} if tables else {}))
        unfinished.replace(rules)

    def kill(self) -> None:
        """End it in mid-air."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it over the same folder and port, and wait until it answers."""
        self.process = self.start()
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while not _ready(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = self.files.with_name("trino.log").read_text(errors="replace")
                raise RuntimeError(f"Trino did not start:\n{log[-3000:]}")
            time.sleep(0.1)


@contextlib.contextmanager
def trino_server(folder: Path) -> Iterator[TrinoServer]:
    """Start Trino and the database of its catalog over `folder`."""
    home, java = require_trino()
    with PostgresServer() as database, contextlib.ExitStack() as stack:
        database.execute("CREATE DATABASE catalog")
        database.execute("CREATE DATABASE timeseries")
        for statement in (SETTINGS / "catalog.sql").read_text().split(";\n"):
            database.execute(statement, "catalog")
        port = Port()
        stack.callback(port.close)
        broker = _broker(folder / "kafka")
        if broker is not None:
            stack.callback(broker.__exit__, None, None, None)
        s3 = stack.enter_context(s3_server(folder / "s3"))
        _make_bucket(s3)
        yield stack.enter_context(_started(home, java, folder, port, database, broker, s3))


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrinoServer]:
    """One Trino for all tests of a process."""
    with trino_server(tmp_path_factory.mktemp("trino")) as server:
        yield server


@pytest.fixture
def trino_landing(trino: TrinoServer) -> Callable[[str], TrinoSettings]:
    """Settings of a Trino destination without schema landing; by another name it is emptied again."""
    current: list[str] = []

    def settings(name: str = "warehouse") -> TrinoSettings:
        if current != [name]:
            trino.execute("DROP SCHEMA IF EXISTS landing CASCADE")
            current[:] = [name]
        folder = f"{trino.files}/{secrets.token_hex(4)}"
        return TrinoSettings(type="trino", port=trino.port, files=folder)

    return settings


def require_trino() -> tuple[Path, str]:
    """Return the server's folder and a Java, or skip the test, or fail it where CI_REQUIRE_SERVERS=1."""
    found = _found()
    if isinstance(found, tuple):
        return found
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(f"trino: {found}", pytrace=False)
    pytest.skip(f"trino: {found}")


@cache
def _found() -> tuple[Path, str] | str:
    try:
        return fetched("trino", POM, prepare=_unpack), _java()
    except MissingError as error:
        return str(error)


@contextlib.contextmanager
def _started(
    home: Path, java: str, folder: Path, port: Port, database: PostgresServer, broker: Broker | None, s3: S3Server
) -> Iterator[TrinoServer]:
    files = folder / "files"
    files.mkdir(exist_ok=True)
    shutil.copytree(SETTINGS, folder / "etc", dirs_exist_ok=True)
    (folder / "etc" / "access-control.properties").write_text(
        f"access-control.name=file\nsecurity.config-file={folder}/rules.json\nsecurity.refresh-period=1s\n"
    )
    (folder / "rules.json").write_text("{}")
    variables = {
        "TRINO_PORT": str(port.number),
        "TRINO_BIND": "127.0.0.1",
        "TRINO_PLUGINS": str(home / "plugin"),
        "TRINO_ETC": str(folder / "etc"),
        "TRINO_CATALOG_HOST": "127.0.0.1",
        "TRINO_CATALOG_PORT": str(database.port.number),
        "TRINO_CATALOG_DATABASE": "catalog",
        "TRINO_CATALOG_USER": database.user,
        "TRINO_CATALOG_PASSWORD": database.password,
        "TRINO_WAREHOUSE": f"file://{folder / 'warehouse'}",
        "S3_ENDPOINT": s3.url,
        "S3_REGION": "us-east-1",
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "TRINO_TIMESERIES_HOST": "127.0.0.1",
        "TRINO_TIMESERIES_PORT": str(database.port.number),
        "TRINO_TIMESERIES_DATABASE": "timeseries",
        "TRINO_TIMESERIES_USER": database.user,
        "TRINO_TIMESERIES_PASSWORD": database.password,
        "TRINO_KAFKA_NODES": broker.bootstrap if broker else NOWHERE,
    }
    options = [line for line in (SETTINGS / "jvm.config").read_text().split("\n") if line and line[0] != "#"]
    command = [
        *(java, *options, *QUICK_START, f"-Dconfig={folder}/etc/config.properties", "-Dnode.id=tests"),
        *(f"-Dlog.levels-file={folder}/etc/log.properties", "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"),
    ]

    def start() -> subprocess.Popen[bytes]:
        with (folder / "trino.log").open("ab") as output:
            return _starter.submit(
                subprocess.Popen,
                [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid()), *command],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                start_new_session=True,
            ).result()

    server = TrinoServer(port.number, files, start(), database, broker, s3, start)
    try:
        server.wait()
        yield server
    finally:
        server.kill()  # its folder is the test's: an orderly end takes seconds and saves nothing


def _broker(folder: Path) -> Broker | None:
    """A broker that has an address and is not started."""
    try:
        jars("kafka-4")
    except MissingError:
        return None
    return Broker("kafka-4", folder)


def _make_bucket(s3: S3Server) -> None:
    import s3fs

    key = {"key": s3.access_key, "secret": s3.secret_key, "endpoint_url": s3.url}
    s3fs.S3FileSystem(**key, skip_instance_cache=True).mkdir(BUCKET)


def _ready(port: int) -> bool:
    """Whether it has started and has a node to work on: it answers a little before."""
    from trino.dbapi import connect
    from trino.exceptions import Error

    try:
        if requests.get(f"http://127.0.0.1:{port}/v1/info", timeout=5).json()["starting"]:
            return False
        with connect(host="127.0.0.1", port=port, user="tests", catalog="lake") as connection:
            return bool(connection.cursor().execute("SELECT COUNT(*) FROM UNNEST(SEQUENCE(1, 2))").fetchall())
    except (requests.RequestException, KeyError, Error):
        return False


def _unpack(folder: Path) -> None:
    """Replace the archive by what is needed of it. Its plugins share files by hard links: all come out first."""
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(folder / "whole", filter="fully_trusted")  # noqa: S202 - from Maven Central, checked by Maven
    archive.unlink()
    (whole,) = (folder / "whole").iterdir()
    (whole / "lib").rename(folder / "lib")
    (folder / "plugin").mkdir()
    for plugin in re.findall(r"<plugins>([a-z ]+)</plugins>", POM.read_text())[0].split():
        (whole / "plugin" / plugin).rename(folder / "plugin" / plugin)
    shutil.rmtree(folder / "whole")


def _java() -> str:
    """Return a Java that is new enough. Raises MissingError."""
    homes = [os.environ.get("JAVA_HOME", ""), *sorted(map(str, Path("/usr/lib/jvm").glob("*")), reverse=True)]
    for java in [*(f"{home}/bin/java" for home in homes if home), "java"]:
        with contextlib.suppress(OSError):
            said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
            found = re.search(r'version "(\d+)', said)
            if found and int(found[1]) >= OLDEST_JAVA:
                return java
    raise MissingError(f"there is no Java {OLDEST_JAVA} or newer (JAVA_HOME, /usr/lib/jvm, PATH)")
