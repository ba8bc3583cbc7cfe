"""When a lag is a warning."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.lag import died, lags, worse
from engine.ledger import Ledger, RunRecord
from engine.standing import note_deployed
from tests.faults.small_project import SMALL, SmallProject


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([5, 10, 400], "growing: the last runs left 5, 10, 400"),
        ([7, 7, 7], "stuck: the last runs left 7, 7, 7"),
        ([4, None], "stuck: the last run could not read it"),
        ([None, 3, 3, 9], "growing: the last runs left 3, 3, 9"),
        ([0, 10, 400], ""),  # it was all read not long ago
        ([400, 10, 12], ""),
        ([3, 3], ""),
        ([0, 0, 0], ""),
        ([], ""),
    ],
)
def test_a_lag_is_told_when_it_does_not_shrink(left: list[int | None], said: str) -> None:
    assert worse(left) == said


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("nnn", True),
        ("ynnn", True),
        ("nnnn", True),  # the newest may be under way, the three before it are not
        ("nn", False),
        ("nny", False),
        ("nnyn", False),
        ("", False),
    ],
)
def test_runs_that_all_died_are_told(ended: str, *, told: bool) -> None:
    runs = [RunRecord(str(n), "five", "", "later" if how == "y" else None, "", {}) for n, how in enumerate(ended)]
    assert died([*runs, RunRecord("now", "five", "", None, "running", {})]) == (
        "stuck: the last 3 runs died before they ended" if told else ""
    )


TOPIC = """\
  office: {extract: [shop], load: [], transform: false, schedule: "*/5 9-17 * * 1-5"}
"""
NIGHTLY = """\
  nightly: {extract: [shop], load: [], transform: false, schedule: "0 3 * * *"}
"""
FRIDAY = "2026-03-06T"
MONDAY = "2026-03-09T"
EVENING = f"{FRIDAY}17:55:20+00:00"


def warned(folder: Path, now: str, *, read: str = EVENING, yaml: str = SMALL + TOPIC, paused: bool = False) -> str:
    """What is said of a topic with unread messages that a run has read at a time, and left nothing of."""
    folder.mkdir(exist_ok=True)
    SmallProject(folder).write(yaml)
    project = SmallProject(folder).project()
    ledger = Ledger(project.data_dir)
    note_deployed(project, ledger, None, datetime.fromisoformat(read) - timedelta(days=30))
    ledger.start("r1", "office", datetime.fromisoformat(read) - timedelta(seconds=10))
    ledger.finish("r1", datetime.fromisoformat(read), "ok", {})
    ledger.pause({"office": paused}, datetime.fromisoformat(read))
    topics = [replace(one, behind=lambda *_: {0: (5, 7)}) for one in project.resources["shop"]]
    project = replace(project, resources={**project.resources, "shop": topics})
    lake: Any = SimpleNamespace(state=lambda *_: ({}, None))
    found, notes = lags(project, lake, ledger, datetime.fromisoformat(now))
    assert notes == []
    return {partition.warning for partition in found}.pop()


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (f"{FRIDAY}18:30:00+00:00", ""),
        ("2026-03-08T12:00:00+00:00", ""),
        (f"{MONDAY}09:04:59+00:00", ""),
        (f"{MONDAY}09:05:01+00:00", "stuck: no run has read it for 2 days, 15:09:41"),
    ],
    ids=["evening", "sunday", "monday, first run under way", "monday, two missed"],
)
def test_no_run_is_missed_outside_the_hours_of_a_schedule(tmp_path: Path, now: str, said: str) -> None:
    assert warned(tmp_path, now) == said


@pytest.mark.parametrize(("now", "late"), [("12:09:59", False), ("12:10:00", True)])
def test_two_times_that_passed_without_a_run_are_told(tmp_path: Path, now: str, *, late: bool) -> None:
    assert bool(warned(tmp_path, f"{FRIDAY}{now}+00:00", read=f"{FRIDAY}12:00:10+00:00")) is late


def test_nobody_waits_for_a_pipeline_that_is_paused(tmp_path: Path) -> None:
    assert warned(tmp_path, f"{MONDAY}12:00:00+00:00", paused=True) == ""


def test_another_pipeline_that_reads_it_is_waited_for(tmp_path: Path) -> None:
    both = SMALL + TOPIC + NIGHTLY
    assert warned(tmp_path / "before", "2026-03-08T02:59:59+00:00", paused=True, yaml=both) == ""
    assert warned(tmp_path / "after", "2026-03-08T03:00:00+00:00", paused=True, yaml=both)
