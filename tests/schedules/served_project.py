"""A project whose pipelines a Prefect server runs: its file, `engine up` as a process, and what its API was asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.kafka.processes import children
from tests.schedules.prefect_api import until

ENGINE = str(Path(sys.executable).with_name("engine"))
QUICK = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5"}
"""Prefect's own settings: a test need not wait ten seconds for a run to be seen."""
SECRET = "kZ8-canary-w1T%pXr"  # noqa: S105 - looked for in all that is shown
PLAIN = {"primary_key": ["id"], "columns": {"id": {"type": "bigint"}, "name": {}}}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Up:
    """A running `engine up`."""

    process: subprocess.Popen[str]
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def runs(self) -> list[int]:
        """The processes that it has started: of runs and, where it has one of its own, of the server."""
        return children(self.process.pid)

    def ready(self, seconds: float = 60) -> None:
        """Wait until it has said what runs when."""
        until(
            lambda: (self.process.poll(), self.said()),
            lambda seen: seen[0] is not None or "next at" in seen[1] or "on request" in seen[1],
            seconds,
        )
        assert self.process.poll() is None, self.said()

    def end(self) -> int:
        """End it as `docker stop` or systemd does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@dataclass
class ServedProject:
    """A folder with pipelines.yaml; sources ask an API of the test's."""

    folder: Path
    url: str
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        local = {
            "data": ".data",
            "lake": {"type": "filesystem", "path": ".data/lake"},
            "warehouse": {"type": "duckdb", "path": ".data/warehouse.duckdb"},
        }
        self.document = {"timezone": "UTC", "profiles": {"local": local}, "sources": {}, "pipelines": {}}

    @property
    def data(self) -> Path:
        return self.folder / ".data"

    def source(self, name: str, **client: Any) -> None:
        """A source of one table, raw_NAME, which asks NAME; 404 is a failure that may pass, 410 one that may not."""
        errors = [
            {"when": {"http": 404}, "action": "fail", "message": "nothing there yet"},
            {"when": {"http": 410}, "action": "terminal", "message": "gone for good"},
        ]
        self.document["sources"][name] = {
            "type": "rest",
            "client": {"base_url": self.url, "allow_private": True, **client},
            "resources": {f"raw_{name}": {"path": name, "errors": errors, **PLAIN}},
        }

    def pipeline(self, name: str, *sources: str, **more: Any) -> None:
        block = {"extract": list(sources), "load": ["warehouse"], "transform": False, "retry_delay_seconds": 0, **more}
        self.document["pipelines"][name] = block

    def write(self) -> None:
        (self.folder / "pipelines.yaml").write_text(yaml.safe_dump(self.document, sort_keys=False))

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "ENGINE_PROFILE"}
        inherited = {name: value for name, value in kept.items() if not name.startswith("PREFECT")}
        return {**inherited, **QUICK, "COLUMNS": "200", **(env or {})}

    @contextmanager
    def up(self, *words: str, env: Mapping[str, str] | None = None, name: str = "up") -> Iterator[Up]:
        """Have `engine up` while the block runs; what is left of it then is killed."""
        log = self.folder / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [ENGINE, "up", *words],
                cwd=self.folder,
                env=self.environment(env),
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            yield Up(process, log)
        finally:
            process.kill()
            process.wait()

    def engine(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ENGINE, *words],
            cwd=self.folder,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ids(self, table: str) -> list[int]:
        """The ids that the warehouse holds, in order; none before the first run."""
        from destinations import open_destination
        from engine.config.load import load_project
        from engine.errors import NotPublishedError
        from engine.query import query

        project = load_project(self.folder / "pipelines.yaml", profile="local", env={"SHOP_KEY": SECRET})
        warehouse = open_destination("warehouse", project.destinations["warehouse"], self.folder, self.data)
        try:
            return [row[0] for row in query(warehouse, f"select id from landing.{table} order by id").rows]
        except NotPublishedError:
            return []
