"""What the soak makes go wrong: kills at a moment in which they hit, outages until the alerts have fired."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engine.ledger import Ledger
from engine.locks import is_held
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import ENGINE
from tests.servers.postgres_server import PostgresServer
from tests.servers.prometheus_server import PrometheusServer
from tests.soak.plan import Kind, Step
from tests.soak.project import EVERY_MINUTE, MIRROR, PROFILE
from tests.soak.worker import Worker, killed

HIT_SECONDS = 180.0
FIRE_SECONDS = 240.0
"""Behind the longest `for:`: a probe asks once a minute, three runs of a minute have to fail, a machine may be busy."""
HEAL_SECONDS = 300.0
HAND_MINUTES = 10
"""In a shorter soak somebody starts runs by hand beside the schedules: nothing waits for three of them to come due."""
DESTINATION_DOWN, DESTINATION_BEHIND = "TickhouseDestinationDown", "TickhouseDestinationBehind"
PIPELINE_FAILING = "TickhousePipelineFailing"
WORKER_DOWN, PIPELINE_LATE = "TickhouseWorkerDown", "TickhousePipelineLate"


@dataclass
class Incident:
    """Something that was made to go wrong, by time.time(). `healed`: a run of each pipeline has gone well since."""

    kind: Kind
    target: str
    began: float
    ended: float = 0.0
    healed: float = 0.0
    must_fire: tuple[tuple[str, str], ...] = ()
    """Alerts by name and subject: it lasted until they fired."""


@dataclass
class Incidents:
    """Carries out the steps of the plan, and writes them down."""

    folder: Path
    env: Mapping[str, str]
    worker: Worker
    postgres: PostgresServer
    prometheus: PrometheusServer
    api: PrefectApi
    minutes: int
    longest_for: float
    drawn: random.Random
    say: Callable[[str], None]
    done: list[Incident] = field(default_factory=list)

    def carry_out(self, step: Step) -> Incident:
        """Make it happen; return when it is over."""
        target = self.drawn.choice(EVERY_MINUTE) if step.kind == "kill run" else ""
        incident = Incident(step.kind, target or {"destination away": MIRROR}.get(step.kind, ""), time.time())
        self.done.append(incident)
        {
            "kill run": self._kill_run,
            "kill worker": self._kill_worker,
            "kill server": self._kill_server,
            "destination away": self._destination_away,
            "worker away": self._worker_away,
        }[step.kind](incident)
        incident.ended = time.time()
        self.say(
            f"{incident.kind} {incident.target}".rstrip() + f": over after {incident.ended - incident.began:.0f} s"
        )
        return incident

    def heal(self) -> float:
        """Wait until what runs every minute has a run that begins from now on and goes well; when that was."""
        since = time.time()
        self._by_hand(*EVERY_MINUTE)
        until(lambda: all(self._went_well(name, since) for name in EVERY_MINUTE), bool, HEAL_SECONDS)
        return time.time()

    def _by_hand(self, *pipelines: str) -> None:
        """Ask Prefect for runs, as its page does; in a short soak only."""
        if self.minutes < HAND_MINUTES:
            for name in pipelines:
                self.api.start(name, deployed=PROFILE)

    def _went_well(self, pipeline: str, since: float) -> bool:
        runs = Ledger(self.folder / ".data").last(pipeline, 5)
        return any(run.status == "ok" and datetime.fromisoformat(run.started_at).timestamp() >= since for run in runs)

    def _kill_run(self, incident: Incident) -> None:
        self._by_hand(incident.target)
        deadline = time.monotonic() + HIT_SECONDS
        while time.monotonic() < deadline:
            pid = self.worker.run_pid(incident.target)
            if pid is None or not self._is_running(incident.target):
                time.sleep(0.05)
                continue
            time.sleep(self.drawn.uniform(0, 1.5))
            if self.worker.run_pid(incident.target) == pid and self._is_running(incident.target):
                incident.began = time.time()
                assert killed(pid)
                return
        raise AssertionError(f"no run of {incident.target} was under way within {HIT_SECONDS:.0f} s")

    def _is_running(self, pipeline: str) -> bool:
        runs = Ledger(self.folder / ".data").last(pipeline, 1)
        return (
            bool(runs)
            and runs[0].status == "running"
            and is_held(self.folder / ".data" / "locks" / f"pipeline-{pipeline}.lock")
        )

    def _kill_worker(self, _: Incident) -> None:
        self.worker.kill()
        self.worker.ready()

    def _kill_server(self, incident: Incident) -> None:
        pid = until(self.worker.server_pid, bool, HIT_SECONDS)
        incident.began = time.time()
        assert killed(pid)
        until(self.worker.server_pid, lambda found: found not in {None, pid}, HIT_SECONDS)
        until(self.api.answers, bool, HIT_SECONDS)

    def _destination_away(self, incident: Incident) -> None:
        incident.must_fire = ((DESTINATION_DOWN, MIRROR), *((PIPELINE_FAILING, name) for name in self._failing()))
        self.postgres.kill()
        try:
            self._until_fired(incident)
        finally:
            self.postgres.restart()

    def _failing(self) -> tuple[str, ...]:
        return EVERY_MINUTE if self.minutes >= HAND_MINUTES else ("files",)

    def _worker_away(self, incident: Incident) -> None:
        incident.must_fire = ((WORKER_DOWN, ""),)
        with self.worker.away():
            self._until_fired(incident)
        self.worker.ready()

    def _until_fired(self, incident: Incident) -> None:
        deadline = time.monotonic() + self.longest_for + FIRE_SECONDS
        while left := [alert for alert in incident.must_fire if not self._fires(*alert)]:
            assert time.monotonic() < deadline, f"{incident.kind}: {left} did not fire within {FIRE_SECONDS:.0f} s"
            if self.minutes < HAND_MINUTES and (PIPELINE_FAILING, "files") in left:
                self._run("files")
            time.sleep(1)

    def _run(self, pipeline: str) -> None:
        """Run it in a terminal, whatever comes of it: another run may hold its lock."""
        command = [ENGINE, "run", pipeline]
        subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, timeout=120, check=False)

    def _fires(self, name: str, subject: str) -> bool:
        found = self.prometheus.query(f'ALERTS{{alertstate="firing",alertname="{name}"}}')
        return any(not subject or subject in each["metric"].values() for each in found)
