"""A real S3 server (SeaweedFS from PyPI) on loopback ports, for tests.

    with s3_server(folder) as server:
        S3Lake(type="s3", endpoint=server.url, access_key=server.access_key, ...)

Ready in about three seconds. It is ended with SIGKILL: SIGTERM takes fifteen seconds and saves nothing here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

READY_WITHIN = 60.0
READER = ("test-reader", "test-reader-secret")
PROBE = "/ready/probe"
"""A file that is no object of any bucket."""
HIGHEST_PORT = 55_000
"""SeaweedFS adds 10,000 to a port for some of its own; a port above this would overflow."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """How to reach the server. Its identity may do everything, READER may read; every other key is refused."""

    url: str
    port: int
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End the server in mid-air, as a power cut would."""
        self.process.kill()
        self.process.wait()


def prefix_of(tmp_path: Path) -> str:
    """Name a place in a shared bucket for the one test whose folder this is.

    The folder's own name will not do: pytest removes the folders of tests that passed, and gives their names again.
    """
    named = tmp_path / ".bucket-prefix"
    if not named.exists():
        named.write_text(uuid.uuid4().hex)
    return named.read_text()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        ports: list[int] = []
        while len(ports) < count:
            probe = open_sockets.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            if probe.getsockname()[1] < HIGHEST_PORT:
                ports.append(probe.getsockname()[1])
        return ports


def _arguments(folder: Path, ports: list[int], identities: Path) -> list[str]:
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = ports
    return [
        str(Path(sys.executable).with_name("weed")),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        "-master.volumeSizeLimitMB=1024",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        f"-s3.config={identities}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]


def _status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Return what a port answers, 0 if nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


def _ready(ports: list[int], *, again: bool) -> bool:
    """Whether objects can be read and written.

    The S3 port answers before the volumes have reported to the master; until then every read of an object that an
    earlier server over this folder has stored is an internal error.
    """
    filer, s3 = ports[4], ports[6]
    return (
        _status(s3, "GET", "/healthz") > 0
        and (not again or _status(filer, "GET", PROBE) == HTTPStatus.OK)
        and _status(filer, "PUT", PROBE, b"ready") == HTTPStatus.CREATED
    )


@contextlib.contextmanager
def s3_server(folder: Path, access_key: str = "test-access", secret_key: str = "test-secret") -> Iterator[S3Server]:  # noqa: S107 - a loopback server's own
    """Run the server over `folder` until the block ends; a second start over the same folder finds its objects."""
    folder.mkdir(parents=True, exist_ok=True)
    again = (folder / "filer").exists()
    identities = folder / "identities.json"
    who = {
        "admin": (access_key, secret_key, ["Admin", "Read", "List", "Tagging", "Write"]),
        "reader": (*READER, ["Read", "List"]),
    }
    known = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, (key, secret, actions) in who.items()
    ]
    identities.write_text(json.dumps({"identities": known}))
    ports = _free_ports(8)
    log = folder / "server.log"
    environment = {**os.environ, "WEED_LEVELDB2_DIR": str(folder / "filer")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            _arguments(folder, ports, identities), stdout=output, stderr=output, env=environment, cwd=folder
        )
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not _ready(ports, again=again):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield S3Server(f"http://127.0.0.1:{ports[6]}", ports[6], access_key, secret_key, process)
    finally:
        process.kill()
        process.wait()
