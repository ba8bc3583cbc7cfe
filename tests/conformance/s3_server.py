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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

READY_WITHIN = 60.0
HIGHEST_PORT = 55_000
"""SeaweedFS adds 10,000 to a port for some of its own; a port above this would overflow."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """How to reach the server. Its one identity may do everything; every other key is refused."""

    url: str
    port: int
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End the server in mid-air, as a power cut would."""
        self.process.kill()
        self.process.wait()


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


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


@contextlib.contextmanager
def s3_server(folder: Path, access_key: str = "test-access", secret_key: str = "test-secret") -> Iterator[S3Server]:  # noqa: S107 - a loopback server's own
    """Run the server over `folder` until the block ends; a second start over the same folder finds its objects."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = folder / "identities.json"
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identities.write_text(
        json.dumps({"identities": [{"name": "admin", "credentials": credentials, "actions": actions}]})
    )
    ports = _free_ports(8)
    log = folder / "server.log"
    environment = {**os.environ, "WEED_LEVELDB2_DIR": str(folder / "filer")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            _arguments(folder, ports, identities), stdout=output, stderr=output, env=environment, cwd=folder
        )
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(ports[6]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield S3Server(f"http://127.0.0.1:{ports[6]}", ports[6], access_key, secret_key, process)
    finally:
        process.kill()
        process.wait()
