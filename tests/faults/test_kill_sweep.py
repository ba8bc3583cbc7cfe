"""A run killed anywhere, then ONE ordinary run: every row exactly once, and the marts as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.kills import RENAMES, WRITES, calls_made, kill_after, kill_at_call, rounds
from tests.faults.oracle import healed, no_dlt_package, rebuilds_equal
from tests.faults.trial import Trial

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills"), pytest.mark.timeout(900)]
KILLED = -9


def kill_at_random(trial: Trial, draw: random.Random, length: float, part: tuple[int, int], name: str) -> float:
    """Kill a run at an instant drawn from one of equal parts of its length; draw again if the run was quicker."""
    number, parts = part
    trial.add_file(name)
    for _ in range(10):
        at = length * (number + draw.random()) / parts
        if kill_after(trial, at).code == KILLED:
            return at
        length *= 0.7  # it was measured on a busier machine
    raise AssertionError("no kill came in time")


def test_random_kills_lose_and_double_nothing(
    project: Trial, finished: Trial, seeded: random.Random, tmp_path: Path
) -> None:
    """K02, K19: six instants over a run's length, three before each ordinary run."""
    for number, part in enumerate(seeded.sample(range(6), 6)):
        at = kill_at_random(project, seeded, finished.later_run_seconds, (part, 6), f"kill-{number}")
        if number % 3 == 2:
            assert healed(project) == [], f"killed after {at:.2f} of {finished.later_run_seconds:.2f} s"
    assert no_dlt_package(project) == []
    assert rebuilds_equal(project, tmp_path / "fresh") == []


def test_kills_in_the_first_run_of_all(empty_project: Trial, finished: Trial, seeded: random.Random) -> None:
    """K18: catalog, state and lake are being made; two kills in a row, then one run."""
    for part in (0, 1):
        kill_at_random(empty_project, seeded, finished.first_run_seconds, (part, 2), f"kill-{part}")
    assert healed(empty_project) == []


def test_kills_at_calls_of_the_system(project: Trial, seeded: random.Random) -> None:
    """K01, K02: a rename or link and a write or sync, each the n-th of some thread; every n under `make chaos`."""
    fired = []
    for calls in (RENAMES, WRITES):
        for nth in seeded.sample(range(1, 12), 4):
            project.add_file(f"{nth}-{len(calls)}")
            if kill_at_call(project, calls, nth).code == KILLED:
                fired.append((calls, nth))
                break
    assert len(fired) == 2, fired
    assert healed(project) == [], fired


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_fifty_random_kills(project: Trial, seeded: random.Random, tmp_path: Path) -> None:
    """K02, K19: one ordinary run after each of fifty kills."""
    length = project.run().seconds
    for number, part in enumerate(seeded.sample(range(50), rounds(50))):
        at = kill_at_random(project, seeded, length, (part, 50), f"kill-{number}")
        assert healed(project) == [], f"kill {number}, after {at:.2f} of {length:.2f} s"
    assert no_dlt_package(project) == []
    assert rebuilds_equal(project, tmp_path / "fresh") == []


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_thirty_kills_in_first_runs(
    finished: Trial, tmp_path: Path, seeded: random.Random, new_project: Callable[[Path], Trial]
) -> None:
    """K18: each on a machine that has nothing yet."""
    for number in seeded.sample(range(30), rounds(30)):
        trial = new_project(tmp_path / str(number))
        at = kill_at_random(trial, seeded, finished.first_run_seconds, (number, 30), "again")
        assert healed(trial) == [], f"killed after {at:.2f} s"
        trial.remove()


@pytest.mark.chaos
@pytest.mark.timeout(14_400)
def test_every_rename(project: Trial, tmp_path: Path, seeded: random.Random) -> None:
    """K01: the n-th rename or link of any thread, n = 1, 2, 3 ... until a run is no longer killed."""
    fired, most = 0, rounds(1000)
    for nth in range(1, most + 1):
        trial = project.copy(tmp_path / str(nth))
        trial.add_file("again")
        if kill_at_call(trial, RENAMES, nth).code != KILLED:
            break
        fired += 1
        assert healed(trial) == [], f"killed at rename {nth}"
        if seeded.random() < 0.2:
            assert rebuilds_equal(trial, tmp_path / "fresh") == []
            Trial.remove_folder(tmp_path / "fresh")
        trial.remove()
    assert fired >= min(most, 10)


@pytest.mark.chaos
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("which", ["later run", "first run"])
def test_sampled_writes(
    project: Trial, tmp_path: Path, seeded: random.Random, new_project: Callable[[Path], Trial], which: str
) -> None:
    """K02, K18: sixty writes and syncs drawn from those that a run makes."""
    trial = new_project(tmp_path / "clean") if which == "first run" else project.copy(tmp_path / "clean")
    made = calls_made(trial, WRITES, tmp_path / "calls")
    fired = 0
    points = seeded.sample(range(1, made + 1), rounds(min(60, made)))
    for nth in points:
        trial = new_project(tmp_path / str(nth)) if which == "first run" else project.copy(tmp_path / str(nth))
        trial.add_file("again")
        fired += kill_at_call(trial, WRITES, nth).code == KILLED
        assert healed(trial) == [], f"killed at write {nth} of {made}"
        trial.remove()
    assert fired >= len(points) // 4, f"{fired} of {len(points)} kills fired"
