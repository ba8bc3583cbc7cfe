"""A webhook on loopback that keeps what it is sent, and a small project that tells it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.config.load import load_project
from engine.config.project import Project
from tests.faults.small_project import SMALL, SmallProject

SECRET = "hooks-T0451-PlantedSecret-zq7qzq"  # noqa: S105


@dataclass
class Webhook:
    """Answers `status`, after `delay` seconds; `texts` are the messages."""

    url: str = ""
    status: int = 200
    delay: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.bodies]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(found.delay)
            found.bodies += [body] if found.status < 300 else []
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
        yield found
        server.shutdown()
        thread.join()


class ToldProject(SmallProject):
    """A small project whose failures are told to the webhook."""

    def project(self, profile: str = "local") -> Project:
        env = {"SLACK_WEBHOOK": (self.folder / "webhook").read_text()}
        return load_project(self.folder / "pipelines.yaml", profile=profile, env=env)

    def break_the_shop(self) -> None:
        (self.folder / "in").rename(self.folder / "away")

    def mend_the_shop(self) -> None:
        (self.folder / "away").rename(self.folder / "in")


@pytest.fixture
def told(tmp_path: Path, webhook: Webhook) -> ToldProject:
    project = ToldProject(tmp_path)
    schedule = 'daily: {extract: [shop], load: [warehouse], transform: false, schedule: "*/5 * * * *"}'
    project.write(
        SMALL.replace("daily: {extract: [shop], load: [warehouse], transform: false}", schedule)
        + 'notify: {webhook: "${SLACK_WEBHOOK}"}\n'
    )
    (tmp_path / "webhook").write_text(webhook.url)
    project.orders(1)
    return project
