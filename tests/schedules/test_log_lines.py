"""A run that Prefect starts writes the objects that `engine run` writes; its log in Prefect has lines for people."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.states import Completed, Crashed, Failed, State

from engine import logs
from engine.errors import UsageError
from engine.logs import JsonLog
from engine.progress import JsonProgress, Progress
from engine.schedules.failures_told import _is_news
from engine.schedules.flow import _refused
from engine.schedules.tasks import RunLog

SECRET = "pw-planted-0451"  # noqa: S105


def hidden(text: str) -> str:
    return text.replace(SECRET, "***")


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    made = io.StringIO()
    monkeypatch.setattr(logs, "_current", JsonLog(made, hidden))
    return made


@pytest.fixture
def page(out: io.StringIO) -> Iterator[tuple[logging.Logger, list[str]]]:
    """A flow run's logger, whose records go to the console in JSON and to Prefect's page, and the page."""
    shown: list[str] = []

    class Page(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(f"{record.levelname} {record.getMessage()}")

    logger = logging.getLogger("a flow run's")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    log = logs.current()
    assert log is not None
    logger.handlers = [logs._Records(log), Page()]
    yield logger, shown
    logger.handlers = []


def objects(out: io.StringIO) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in json.loads(line).items() if key != "time"} for line in out.getvalue().splitlines()
    ]


def report_to(progress: Progress) -> None:
    progress.say("pipeline daily", "waits")
    progress.of_run("r1", "daily")
    progress.begin("load store")
    progress.update("load store", "12 rows")  # too soon behind the one before
    progress.end("load store", f"3 rows, {SECRET}", rows=3, bytes=40, seconds=0.5)
    progress.end("load other", "away", ok=False, seconds=1.5)


def test_the_steps_of_a_scheduled_run_are_the_objects_of_any_run(
    out: io.StringIO, page: tuple[logging.Logger, list[str]]
) -> None:
    logger, shown = page
    by_hand = io.StringIO()
    report_to(JsonProgress(JsonLog(by_hand, hidden)))
    report_to(RunLog(logger, hidden))
    assert objects(out) == objects(by_hand)
    assert objects(out)[-2] == {
        "level": "info",
        "run_id": "r1",
        "pipeline": "daily",
        "step": "load store",
        "event": "end",
        "rows": 3,
        "bytes": 40,
        "seconds": 0.5,
        "message": "3 rows, ***",
    }
    assert shown == [
        "INFO pipeline daily: waits",
        "INFO load store: 3 rows, ***  [run r1]",
        "ERROR load other: away  [run r1]",
    ]


def test_a_refusal_is_one_object(out: io.StringIO, page: tuple[logging.Logger, list[str]]) -> None:
    logger, shown = page
    state = _refused(UsageError("there is no pipeline x", "Name another."), hidden, logger)
    assert state.message == "exit code 2 (do not retry): there is no pipeline x — Name another."
    assert objects(out) == [
        {
            "level": "error",
            "run_id": None,
            "event": "error",
            "exit_code": 2,
            "remedy": "Name another.",
            "message": "there is no pipeline x",
        }
    ]
    assert shown == ["ERROR there is no pipeline x\n  Name another."]


def test_a_line_of_prefect_s_has_its_task(out: io.StringIO, page: tuple[logging.Logger, list[str]]) -> None:
    logger, _ = page
    logger.info("Task run failed", extra={"task_run_name": "extract shop"})
    [line] = objects(out)
    assert (line["task"], line["message"], line["logger"]) == ("extract shop", "Task run failed", "a flow run's")


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (Failed(message="exit code 1"), "ERROR"),
        (Failed(name="TimedOut", message="too long\nby far"), "ERROR"),
        (Crashed(message="stopped"), "ERROR"),
        (Completed(message="ok: 'Finished in state Failed(', none"), "INFO"),
    ],
)
def test_the_last_line_of_a_run_that_failed_is_an_error(state: State, level: str) -> None:
    record = logging.LogRecord("prefect.flow_runs", logging.INFO, "", 0, f"Finished in state {state}", None, None)
    assert _is_news(record)
    assert record.levelname == level
