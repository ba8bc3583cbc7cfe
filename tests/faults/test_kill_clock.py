"""Kills while the clock stands an hour back: order comes from the log and from arrival, never from the clock."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.fake_clock import clock_env
from tests.faults.kills import kill_after
from tests.faults.oracle import healed
from tests.faults.trial import Server, Trial

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills"), pytest.mark.timeout(600)]


def test_a_kill_while_the_clock_is_an_hour_back(
    project: Trial, finished: Trial, seeded: random.Random, tmp_path: Path
) -> None:
    """T02: a run is killed and repeated an hour back, then the clock is right again: nothing is skipped or doubled."""
    newest = max(package.load_id for package in project.packages())
    server = Server(clock_env(hours=-1))
    try:
        back = Trial(project.folder, project.replay, server)
        back.add_file("back")
        killed = kill_after(back, seeded.uniform(0.2, 0.6) * finished.later_run_seconds)
        assert killed.code == -9
        assert healed(back) == []
    finally:
        server.stop()
    last = max((one for one in project.packages() if one.table == "raw_customers"), key=lambda one: one.seq)
    assert last.load_id < newest, "the clock did not go back"
    project.add_file("right again")
    assert healed(project) == []
