"""What a test asks of a Prefect server, over plain HTTP: the processes under test are others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PAGE = 200
BUSY_TRIES = 5
ANSWER_SECONDS = 65
"""The server waits for its SQLite for a minute."""


@dataclass(frozen=True)
class PrefectApi:
    """A server by its address, `http://127.0.0.1:PORT`."""

    address: str

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "") -> Any:
        """POST where there is a body and no other method is named, else GET; the answer's JSON.

        Asked again while the server says 503 (its SQLite was busy, nothing was done), as Prefect's own client does.
        """
        url = f"{self.address}/api/{path}"
        verb = method or ("GET" if body is None else "POST")
        for _ in range(BUSY_TRIES):
            answer = requests.request(verb, url, json=body, timeout=ANSWER_SECONDS)
            if answer.status_code != requests.codes.unavailable:
                break
            time.sleep(1)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def answers(self) -> bool:
        """Whether a server is there."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/api/health", timeout=5).ok
        return False

    def deployment(self, pipeline: str, profile: str = "local") -> dict[str, Any]:
        return self.ask(f"deployments/name/{pipeline}/{profile}")

    def start(self, pipeline: str, deployed: str = "local", **parameters: Any) -> str:
        """Ask for a run; its id."""
        found = self.deployment(pipeline, deployed)
        return self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]

    def make_due(self, pipeline: str, start: datetime, end: datetime, most: int) -> None:
        """Make the runs that the schedule gives between two instants, as the scheduler would have."""
        found = self.deployment(pipeline)
        window = {"start_time": start.isoformat(), "end_time": end.isoformat(), "max_runs": most, "min_runs": most}
        self.ask(f"deployments/{found['id']}/schedule", window)

    def runs(self, pipeline: str) -> list[dict[str, Any]]:
        """Every run of a pipeline, those to come included."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"flows": {"name": {"any_": [pipeline]}}, "limit": PAGE, "offset": len(found)}
            page = self.ask("flow_runs/filter", {**query, "sort": "EXPECTED_START_TIME_ASC"})
            found += page
            if len(page) < PAGE:
                return found

    def begun(self, pipeline: str) -> list[dict[str, Any]]:
        """Runs that began, the oldest first."""
        return sorted((run for run in self.runs(pipeline) if run["start_time"]), key=lambda run: run["start_time"])

    def states(self, pipeline: str) -> Counter[str]:
        return Counter(run["state_type"] for run in self.runs(pipeline))

    def run(self, run_id: str) -> dict[str, Any]:
        return self.ask(f"flow_runs/{run_id}")

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The tasks of a run by name."""
        found = self.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {task["name"]: task for task in found}

    def ended(self, run_id: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a run has ended."""
        return until(lambda: self.run(run_id), lambda run: run["state_type"] in FINAL, seconds)

    def pages(self, pipeline: str) -> list[str]:
        """The pages that runs of a pipeline left, the newest first."""
        query = {"artifacts": {"key": {"any_": [f"run-{pipeline}"]}}, "sort": "CREATED_DESC"}
        return [artifact["data"] for artifact in self.ask("artifacts/filter", query)]

    def events(self, run_id: str) -> list[str]:
        """Names of the events of a run."""
        resource = {"id": [f"prefect.flow-run.{run_id}"]}
        return [each["event"] for each in self.ask("events/filter", {"filter": {"resource": resource}})["events"]]

    def log(self, run_id: str) -> str:
        query = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": PAGE}
        return "\n".join(line["message"] for line in self.ask("logs/filter", query))


def until(look: Callable[[], Any], enough: Callable[[Any], bool], seconds: float = 60) -> Any:
    """Look twice a second until it is enough; what was seen last where it never is."""
    deadline = time.monotonic() + seconds
    while not enough(seen := look()):
        assert time.monotonic() < deadline, f"after {seconds} s still {seen}"
        time.sleep(0.5)
    return seen
