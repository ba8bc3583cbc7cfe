"""Kills at the borders of a run's phases, signals that ask it to end, and runs that meet each other."""

from __future__ import annotations

import fcntl
import random
import re
import signal
import subprocess
import time

import pytest

from tests.faults.kills import delayed_after_call, kill_when, rounds
from tests.faults.oracle import healed, nothing_lost_or_doubled
from tests.faults.trial import PIPELINE, Running, Trial

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills"), pytest.mark.timeout(600)]
KILLED = -9
TRACEBACK = "Traceback (most recent call last)"


def held(trial: Trial) -> list[str]:
    """Lock files of the project that some process holds."""
    found = []
    for path in (*trial.data.glob("locks/*.lock"), *trial.data.glob("**/writer.lock"), *trial.lake.glob("_staging/*")):
        if path.suffix == ".lock":
            with path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path.name)
    return found


def committed(trial: Trial, table: str) -> int:
    """How many packages of a table the lake has."""
    return sum(package.table == table for package in trial.packages())


def test_killed_while_a_page_is_awaited(project: Trial) -> None:
    """K03: three pages of candles were served and written into the ledger, the fourth never came."""
    before = committed(project, "raw_crypto_candles_binance")
    pages = len([one for one in project.replay.control("/requests") if one["path"].endswith("klines")])
    project.replay.inject(kind="slow", host="data-api.binance.vision", path="klines", after=3, times=1, seconds=3)

    def fourth_asked() -> bool:
        asked = [one for one in project.replay.control("/requests") if one["path"].endswith("klines")]
        return len(asked) - pages >= 3 and project.replay.fired() == 1

    assert kill_when(project.start("run", PIPELINE), fourth_asked).code == KILLED
    assert committed(project, "raw_crypto_candles_binance") == before
    project.replay.heal()
    assert healed(project) == []


def test_killed_between_the_commit_and_anything_after_it(project: Trial) -> None:
    """K04: position and rows are one commit, so there is no instant between the two; killed right behind the link."""
    logged = set(project.lake.glob("_log/*/*.json"))
    running = project.start("run", PIPELINE, stopped=True)
    with delayed_after_call(running, "link,linkat", seconds=20):
        ended = kill_when(running, lambda: set(project.lake.glob("_log/*/*.json")) != logged)
    assert ended.code == KILLED
    committed = [path for path in project.lake.glob("_log/*/*.json") if path not in logged]
    assert committed
    assert healed(project) == []
    load_ids = [package.load_id for package in project.packages()]
    assert len(load_ids) == len(set(load_ids))


def test_a_killed_parent_leaves_no_workers_behind(project: Trial) -> None:
    """K13: only the run's own process is killed, while it plans a changed model; a new run starts at once."""
    model = project.folder / "transforms" / "models" / "marts" / "fct_asset_candles.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    log = project.data / "state" / "sqlmesh-warehouse.duckdb.wal"
    running = project.start("run", PIPELINE)
    most = 0

    def planning() -> bool:
        nonlocal most
        most = max(most, len(running.alive()))
        return most > 1 or log.exists()

    assert kill_when(running, planning).code == KILLED
    assert most > 1 or log.exists()
    assert healed(project) == []
    assert running.alive() == []


def still_running(trial: Trial, after: float) -> Running:
    """Start a run and return it after some seconds; earlier if runs are quicker than when their length was measured."""
    for _ in range(8):
        running = trial.start("run", PIPELINE)
        if not running.ended_within(after):
            return running
        after *= 0.6
    raise AssertionError("every run was quicker than the signal")


def ask_to_end(trial: Trial, number: int, after: float) -> None:
    """Send a signal and check how the run ends; `Ended.seconds` is the whole run."""
    running = still_running(trial, after)
    running.signal(number)
    asked = time.monotonic()
    ended = running.wait(60)
    assert time.monotonic() - asked < 30
    assert ended.code in {0, 1}, ended.text
    assert TRACEBACK not in ended.text
    assert ended.code == 0 or "stopped" in ended.text
    assert held(trial) == []
    assert running.alive() == []


def test_a_run_that_is_asked_to_end_does_so(project: Trial, finished: Trial, seeded: random.Random) -> None:
    """K15: SIGTERM and SIGINT at a random moment each; 20 moments under `make chaos`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        ask_to_end(project, number, seeded.uniform(0.1, 0.7) * finished.later_run_seconds)
    assert healed(project) == []


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_signals_at_twenty_moments(project: Trial, seeded: random.Random) -> None:
    """K15."""
    length = project.run().seconds
    for moment in seeded.sample(range(20), rounds(20)):
        project.add_file(f"signal-{moment}")
        ask_to_end(project, (signal.SIGTERM, signal.SIGINT)[moment % 2], (moment + seeded.random()) / 25 * length)
        assert healed(project) == []


def both(trial: Trial, *options: str) -> tuple[list[int], list[str]]:
    """Two runs let go at one instant; exit codes and what they said."""
    pair: list[Running] = [trial.start("run", PIPELINE, *options, stopped=True) for _ in range(2)]
    for running in pair:
        running.signal(signal.SIGCONT)
    ended = [running.wait() for running in pair]
    return [one.code for one in ended], [one.text for one in ended]


def test_two_runs_at_once(project: Trial) -> None:
    """X01: one is refused in one clear line, or waits when told to; 50 tries under `make chaos`."""
    codes, texts = both(project)
    assert sorted(codes) == [0, 1], texts
    refused = texts[codes.index(1)]
    assert re.search(r"pipeline everything is busy: process \d+ \(since .* UTC\) holds it", refused), refused
    assert "--wait" in refused
    assert TRACEBACK not in refused
    assert nothing_lost_or_doubled(project) == []


def test_a_run_waits_for_another_when_told_to(project: Trial) -> None:
    """X01."""
    before = committed(project, "raw_transaction_personal")
    codes, texts = both(project, "--wait", "120")
    assert codes == [0, 0], texts
    assert committed(project, "raw_transaction_personal") == before + 2
    assert nothing_lost_or_doubled(project) == []


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_fifty_pairs_of_runs(project: Trial) -> None:
    """X01."""
    for attempt in range(rounds(50)):
        project.add_file(f"pair-{attempt}")
        codes, texts = both(project)
        assert 0 in codes, texts
        assert set(codes) <= {0, 1}
        assert nothing_lost_or_doubled(project) == []


def test_a_dead_holder_whose_pid_lives_on(project: Trial) -> None:
    """X09: the lock files name a process that is alive and has nothing to do with them."""
    with subprocess.Popen(["sleep", "60"]) as other:
        locks = [*project.data.glob("locks/*.lock"), project.data / "warehouse" / "writer.lock"]
        assert len(locks) == 2
        for lock in locks:
            lock.write_text(f'{{"pid": {other.pid}, "since": "2026-01-01T00:00:00+00:00"}}')
        assert healed(project) == []
        other.kill()


def test_the_dead_of_a_killed_run_hold_nothing(project: Trial, finished: Trial, seeded: random.Random) -> None:
    """K13, K15: after a kill at a random instant nothing is locked and nobody lives."""
    running = still_running(project, seeded.uniform(0.1, 0.8) * finished.later_run_seconds)
    running.signal(signal.SIGKILL)
    assert running.wait().code == KILLED
    assert running.alive() == []
    assert held(project) == []
