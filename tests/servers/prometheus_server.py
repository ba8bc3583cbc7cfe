"""A real Prometheus (Debian's package) that scrapes what a test serves, and the answers to its queries.

with PrometheusServer({"tickhouse": "127.0.0.1:9464"}, folder) as server:
    server.wait_for("up == 1")
    server.query("tickhouse_runs_total")
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.kafka.processes import DIES_WITH_PARENT, Port, _starter, end

SCRAPE = "500ms"
READY_SECONDS = 30.0


def require_program(name: str) -> str:
    """Return the path of prometheus, promtool or prometheus-pushgateway; skip, or fail where CI_REQUIRE_SERVERS=1."""
    if (found := shutil.which(name)) is not None:
        return found
    reason = f"there is no {name} here (a package of Debian; `.ci/run` installs it)"
    if os.environ.get("CI_REQUIRE_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def started(command: list[str], folder: Path, log: str) -> subprocess.Popen[bytes]:
    """Start a server that ends with the tests at the latest."""
    wrapped = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid())]
    with (folder / log).open("ab") as out:
        return _starter.submit(
            subprocess.Popen, [*wrapped, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder
        ).result()


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """Run a real Pushgateway (Debian's package) that remembers in memory; gives its address."""
    program, port = require_program("prometheus-pushgateway"), Port()
    process = started([program, f"--web.listen-address=127.0.0.1:{port.number}"], folder, "pushgateway.log")
    try:
        _wait(port.number, folder / "pushgateway.log")
        yield f"http://127.0.0.1:{port.number}"
    finally:
        end(process, signal.SIGTERM)
        port.close()


def _wait(port: int, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        try:
            with urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(log.read_text()[-2000:])


class PrometheusServer:
    """Scrapes `targets` (job: host:port) twice a second, or as often as `scrape` says."""

    def __init__(
        self, targets: Mapping[str, str], folder: Path, rules: Path | None = None, scrape: str = SCRAPE
    ) -> None:
        self._program = require_program("prometheus")
        self._folder = folder
        jobs = [{"job_name": job, "static_configs": [{"targets": [at]}]} for job, at in targets.items()]
        config: dict[str, Any] = {
            "global": {"scrape_interval": scrape, "scrape_timeout": scrape},
            "scrape_configs": jobs,
        }
        if rules is not None:
            config |= {"rule_files": [str(rules)]}
            config["global"]["evaluation_interval"] = scrape
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._port = Port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = started(
            [
                self._program,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self._port.number}",
            ],
            self._folder,
            "prometheus.log",
        )
        try:
            _wait(self._port.number, self._folder / "prometheus.log")
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process, signal.SIGTERM)
        self._port.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask once. Returns the vector: {"metric": labels, "value": [time, text]} each."""
        return self._ask("query", {"query": expression})

    def history(self, expression: str, began: float, ended: float, step: float) -> list[dict[str, Any]]:
        """Ask for a stretch of time, in seconds. Returns {"metric": labels, "values": [[time, text], ...]} each."""
        return self._ask("query_range", {"query": expression, "start": began, "end": ended, "step": step})

    def alerts(self) -> dict[str, dict[str, Any]]:
        """What is pending or fires, by name and the labels' values."""
        with urlopen(f"http://127.0.0.1:{self._port.number}/api/v1/alerts", timeout=10) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in found}

    def _ask(self, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self._port.number}/api/v1/{what}?{urlencode(query)}"
        try:
            with urlopen(url, timeout=10) as answer:
                document = json.load(answer)
        except URLError as error:
            reason = error.read().decode() if hasattr(error, "read") else error
            raise AssertionError(f"{query['query']}: {reason}") from error
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """The one value of a query."""
        (found,) = self.query(expression)
        return float(found["value"][1])

    def wait_for(self, expression: str, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Ask until there is an answer."""
        until = time.monotonic() + seconds
        while not (found := self.query(expression)):
            assert time.monotonic() < until, f"nothing within {seconds:.0f} s: {expression}"
            time.sleep(0.3)
        return found
