"""A soak: minutes of real schedules with faults, kills and outages, and what has to be true of it in the end."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.ledger import Ledger
from tests.faults.trial import Replay
from tests.kafka.processes import Port
from tests.schedules.prefect_api import FINAL, PrefectApi, until
from tests.schedules.served_project import free_port
from tests.servers.postgres_server import PostgresServer
from tests.servers.prometheus_server import PrometheusServer
from tests.soak.alerts import Fired, fired, for_seconds, scaled_rules
from tests.soak.incidents import Incident, Incidents
from tests.soak.messages import Webhook, webhook
from tests.soak.plan import plan
from tests.soak.project import EVERYTHING, PIPELINES, PROFILE, without_schedules, write_project
from tests.soak.trial import SoakTrial
from tests.soak.worker import Worker

SCRAPE_SECONDS = 2
QUIET_SECONDS = 180.0
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429, "retry_after": "1"},
    {"kind": "status", "status": 503},
    {"kind": "slow", "seconds": 3.0},
    {"kind": "truncated_json"},
    {"kind": "reset_middle"},
)
FAULTS_A_MINUTE = 2
UNDER_WAY = {"RUNNING", "PENDING", "CANCELLING", "PAUSED"}


@dataclass
class Soaked:
    """What a soak left: the project, and all that was seen."""

    trial: SoakTrial
    incidents: list[Incident]
    alerts: list[Fired]
    webhook: Webhook
    worker: Worker
    began: float
    ended: float
    exit_code: int
    states: Counter[str]
    under_way: list[str]
    faults: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def soak(folder: Path, minutes: int, seed: int, say: Callable[[str], None], check: Callable[[Soaked], None]) -> None:
    """Soak a new project in `folder`; `check` is called while its PostgreSQL still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        replay = Replay(folder / "served.jsonl")
        stack.callback(replay.stop)
        postgres = stack.enter_context(PostgresServer())
        messages = stack.enter_context(webhook())
        metrics = Port()
        stack.callback(metrics.close)
        project, prefect_port = folder / "project", free_port()
        write_project(project, replay.url, metrics.number)
        env = _environment(postgres.dsn(), messages.url)
        trial = SoakTrial(project, replay, env, postgres.dsn())
        trial.add_file("minute-0000")
        _run(trial, EVERYTHING)  # the models are built once before anything goes wrong
        worker = stack.enter_context(Worker(project, env, prefect_port, metrics.number))
        rules = scaled_rules(minutes, folder / "rules.yml")
        prometheus = stack.enter_context(
            PrometheusServer({"tickhouse": f"127.0.0.1:{metrics.number}"}, folder, rules, f"{SCRAPE_SECONDS}s")
        )
        longest = for_seconds("5m", minutes)
        drawn = random.Random(seed)
        api = PrefectApi(f"http://127.0.0.1:{prefect_port}")
        incidents = Incidents(project, env, worker, postgres, prometheus, api, minutes, longest, drawn, say)
        began = time.time()
        with _Ticker(trial, messages, worker, random.Random(seed + 1), say):
            _go_through(minutes, seed, incidents)
        incidents.heal()
        time.sleep(3 * SCRAPE_SECONDS)
        alerts = fired(prometheus, began, time.time(), SCRAPE_SECONDS)
        under_way = _quiet(project, api)
        _run(trial, EVERYTHING)
        states: Counter[str] = sum((api.states(name) for name in PIPELINES), Counter())
        code = worker.end()
        faults = replay.fired()
        check(
            Soaked(trial, incidents.done, alerts, messages, worker, began, time.time(), code, states, under_way, faults)
        )


def _environment(dsn: str, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "ENGINE_"))}
    return {**kept, "ENGINE_PROFILE": PROFILE, "SOAK_DSN": dsn, "SLACK_WEBHOOK": url, "COLUMNS": "200"}


def _run(trial: SoakTrial, *pipelines: str) -> None:
    """Run pipelines by hand."""
    ended = trial.engine("run", *pipelines)
    assert ended.code == 0, ended.text


def _go_through(minutes: int, seed: int, incidents: Incidents) -> None:
    begun = time.monotonic()
    for step in plan(minutes, seed):
        time.sleep(max(0.0, begun + step.at - time.monotonic()))
        incident = incidents.carry_out(step)
        if incident.must_fire:
            incident.healed = incidents.heal()
    time.sleep(max(0.0, begun + minutes * 60 - time.monotonic()))


def _quiet(project: Path, api: PrefectApi) -> list[str]:
    """Take the schedules away and wait until no run is under way; the runs that never ended."""
    without_schedules(project)
    for name in PIPELINES:
        until(lambda name=name: api.deployment(name, PROFILE)["schedules"], lambda left: not left, QUIET_SECONDS)

    def left() -> list[str]:
        now = datetime.now(UTC).isoformat()
        return [
            f"{name} {run['name']}: {run['state_name']}"
            for name in PIPELINES
            for run in api.runs(name)
            if run["state_type"] in UNDER_WAY or (run["state_type"] not in FINAL and run["expected_start_time"] < now)
        ]

    deadline = time.monotonic() + QUIET_SECONDS
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


class _Ticker:
    """Every minute while the block runs: a file is dropped, faults are armed, a line is said."""

    def __init__(
        self, trial: SoakTrial, messages: Webhook, worker: Worker, drawn: random.Random, say: Callable[[str], None]
    ) -> None:
        self._trial, self._messages, self._worker = trial, messages, worker
        self._drawn, self._say = drawn, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="minutes", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        minute = 0
        while True:
            minute += 1
            self._trial.add_file(f"minute-{minute:04d}")
            for fault in self._drawn.sample(FAULTS, FAULTS_A_MINUTE):
                self._trial.replay.inject(**fault)
            if self._ended.wait(60):
                return
            runs = Counter(run.status for run in Ledger(self._trial.data).last(limit=10_000))
            said = ", ".join(f"{count} {status}" for status, count in sorted(runs.items()))
            starts = self._worker.starts
            self._say(f"minute {minute}: runs {said}; {starts} starts; {len(self._messages.texts)} messages")
