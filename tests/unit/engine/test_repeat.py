"""`engine run --repeat`: by the schedule, never two at once, one run for all the times that were missed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import repeat
from engine.errors import BusyError, UsageError

START = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)


class Clock:
    """A clock that only runs and waits move; it stands in for the runner's stop event too."""

    def __init__(self, rounds: int) -> None:
        self.now = START
        self.rounds = rounds
        self.ran_at: list[str] = []

    def run(self, minutes: float) -> None:
        self.ran_at.append(f"{self.now:%H:%M:%S}")
        self.now += timedelta(minutes=minutes)

    def is_set(self) -> bool:
        return len(self.ran_at) >= self.rounds

    def wait(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Clock]:
    def make(rounds: int) -> Clock:
        made = Clock(rounds)
        monkeypatch.setattr(repeat, "datetime", SimpleNamespace(now=lambda _zone: made.now))
        return made

    return make


def runner(stop: Any, schedule: str | None = "*/5 * * * *") -> Any:
    pipelines = {"five": SimpleNamespace(schedule=schedule)}
    file = SimpleNamespace(pipelines=pipelines, timezone="UTC")
    made = SimpleNamespace(project=SimpleNamespace(file=file, path=Path("pipelines.yaml")), stop=stop)
    made.follow = lambda project: setattr(made, "project", project)
    return made


def unread() -> Any:
    """Load the file, which nobody has edited."""
    raise AssertionError("it was not edited")


def test_runs_follow_the_schedule(clock: Callable[[int], Clock]) -> None:
    time = clock(3)
    repeat.repeated(runner(time), "five", lambda: time.run(1), lambda _text: None, unread)
    assert time.ran_at == ["12:00:01", "12:05:00", "12:10:00"]


def test_a_run_of_seventeen_minutes_is_followed_by_one_not_by_three(clock: Callable[[int], Clock]) -> None:
    time, said = clock(3), []
    minutes = iter([17, 1, 1])
    repeat.repeated(runner(time), "five", lambda: time.run(next(minutes)), said.append, unread)
    assert time.ran_at == ["12:00:01", "12:17:01", "12:20:00"]
    assert "longer than its interval" in said[0]


def test_a_run_that_is_refused_is_said_and_tried_again(clock: Callable[[int], Clock]) -> None:
    time, said = clock(2), []

    def refused() -> None:
        time.run(0)
        raise BusyError("pipeline five is busy", "Let it finish.")

    repeat.repeated(runner(time), "five", refused, said.append, unread)
    assert len(time.ran_at) == 2
    assert "pipeline five is busy" in said[0]


def test_whatever_a_run_meets_is_said_and_tried_again(clock: Callable[[int], Clock]) -> None:
    time, said = clock(2), []

    def full() -> None:
        time.run(0)
        raise OSError("No space left on device")

    repeat.repeated(runner(time), "five", full, said.append, unread)
    assert len(time.ran_at) == 2
    assert "unexpected OSError" in said[0]
    assert "No space left on device" in said[0]


def test_a_pipeline_without_a_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="no schedule"):
        repeat.repeated(runner(threading.Event(), None), "five", lambda: None, lambda _text: None, unread)


def test_an_edit_is_followed_and_one_that_cannot_be_read_is_said(clock: Callable[[int], Clock], tmp_path: Path) -> None:
    time, said = clock(4), []
    running = runner(time)
    running.project.path = path = tmp_path / "pipelines.yaml"
    path.write_text("first")
    edits = iter(["broken", "mended", None, None])

    def once() -> None:
        time.run(1)
        if text := next(edits):
            path.write_text(text)
            os.utime(path, ns=(len(time.ran_at), len(time.ran_at)))

    def load() -> Any:
        if path.read_text() == "broken":
            raise UsageError("line 3 is broken", "Mend it.")
        edited = runner(time, "*/10 * * * *").project
        edited.path = path
        return edited

    repeat.repeated(running, "five", once, said.append, load)
    assert time.ran_at == ["12:00:01", "12:05:00", "12:10:00", "12:20:00"]
    assert [text for text in said if "edited" in text] == [
        "the edited pipelines.yaml is not followed: line 3 is broken\n  Mend it.",
        "pipelines.yaml was edited: from here on as it says now",
    ]


def test_an_edit_that_is_not_followed_changes_no_schedule(clock: Callable[[int], Clock], tmp_path: Path) -> None:
    time, said = clock(3), []
    running = runner(time)
    running.project.path = path = tmp_path / "pipelines.yaml"

    def once() -> None:
        time.run(1)
        path.write_text("edited")

    def elsewhere(_project: Any) -> None:
        raise UsageError("its data lies in another folder", "Start it anew.")

    running.follow = elsewhere
    repeat.repeated(running, "five", once, said.append, lambda: runner(time, "*/30 * * * *").project)
    assert time.ran_at == ["12:00:01", "12:05:00", "12:10:00"]
    assert any("another folder" in text for text in said)


def test_an_edit_that_takes_the_schedule_away_is_said_and_not_followed(
    clock: Callable[[int], Clock], tmp_path: Path
) -> None:
    time, said = clock(2), []
    running = runner(time)
    running.project.path = path = tmp_path / "pipelines.yaml"

    def once() -> None:
        time.run(1)
        path.write_text("edited")

    repeat.repeated(running, "five", once, said.append, lambda: runner(time, None).project)
    assert time.ran_at == ["12:00:01", "12:05:00"]
    assert any("is not followed: five has no schedule" in text for text in said)
