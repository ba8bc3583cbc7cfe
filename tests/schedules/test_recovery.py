"""What a start runs of itself: neither what somebody paused nor what somebody cancelled. The server is a stand-in."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.runner._cancellation_manager import CancellationManager

from engine.ledger import Ledger
from engine.schedules import recovery
from engine.schedules.deployments import SLUG
from engine.schedules.recovery import RUNNER_ENDS, recover
from engine.schedules.timetable import timetable

PIPELINES = {"daily": SimpleNamespace(schedule="0 4 * * *"), "asked": SimpleNamespace(schedule=None)}
NOWHERE = Path("/nonexistent")
PROJECT: Any = SimpleNamespace(file=SimpleNamespace(pipelines=PIPELINES, timezone="UTC"), data_dir=NOWHERE)


class Server:
    """A server with one deployment; `last` is its newest run that began, `going` those that are under way."""

    def __init__(self, *, paused: bool = False, active: bool = True) -> None:
        schedules = [SimpleNamespace(slug=SLUG, active=active)]
        created = datetime.now(UTC) - timedelta(days=9)
        self.deployment = SimpleNamespace(paused=paused, schedules=schedules, created=created)
        self.last: list[Any] = []
        self.going: list[Any] = []
        self.started: list[UUID] = []
        self.ended: list[StateType] = []

    def ran(self, ago: timedelta, state: StateType, message: str = "") -> Server:
        ended = State(type=state, message=message)
        self.last = [SimpleNamespace(start_time=datetime.now(UTC) - ago, state_type=state, state=ended)]
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_deployment(self, _: UUID) -> Any:
        return self.deployment

    def read_flow_runs(self, flow_run_filter: Any, **_: Any) -> list[Any]:
        return self.last if flow_run_filter.start_time else self.going if flow_run_filter.state else []

    def set_flow_run_state(self, _: UUID, state: Any, **__: Any) -> None:
        self.ended.append(state.type)

    def create_flow_run_from_deployment(self, deployment: UUID, **_: Any) -> None:
        self.started.append(deployment)


@pytest.fixture(autouse=True)
def _no_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "overdue", lambda *_: [])
    monkeypatch.setattr(recovery, "keep_newest", lambda *_: 0)


def restart(server: Server, monkeypatch: pytest.MonkeyPatch, project: Any = PROJECT) -> list[str]:
    """What a start says, and therefore does."""
    monkeypatch.setattr(recovery, "get_client", lambda **_: server)
    said = recover(project, {"daily": uuid4()}, own=True)
    assert len(server.started) == sum("runs now" in line for line in said)
    return said


@pytest.mark.parametrize("how", [{"paused": True}, {"active": False}])
@pytest.mark.parametrize("ended", [StateType.COMPLETED, StateType.CRASHED, None])
def test_what_is_paused_is_not_run_by_a_restart(
    how: dict[str, bool], ended: StateType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, going = Server(**how), Server()
    for each in (server, going) if ended else ():
        each.ran(timedelta(days=3), ended or StateType.CRASHED)
    (said,) = restart(going, monkeypatch)
    assert said.startswith("daily runs now: it")
    assert restart(server, monkeypatch) == []


@pytest.mark.parametrize(
    ("state", "message", "again"),
    [
        (StateType.CANCELLED, "Flow run was cancelled successfully.", False),
        (StateType.CANCELLED, RUNNER_ENDS, True),
        (StateType.CRASHED, "its process died", True),
        (StateType.COMPLETED, "", False),
    ],
)
def test_a_run_that_somebody_cancelled_is_not_begun_again(
    state: StateType, message: str, *, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server().ran(timedelta(seconds=-60), state, message)  # behind every time that was due
    assert restart(server, monkeypatch) == (["daily runs now: its last run was interrupted"] if again else [])


@pytest.mark.parametrize(("early", "owed"), [(0.1, False), (10, True)])
def test_a_run_that_began_a_moment_before_its_time_is_the_run_of_that_time(
    monkeypatch: pytest.MonkeyPatch, *, early: float, owed: bool
) -> None:
    """Prefect starts some a tenth of a second early: a restart did those again, and said that they were missed."""
    due = datetime(2026, 5, 1, 4, tzinfo=UTC)
    server = Server().ran(timedelta(), StateType.COMPLETED)
    server.last[0].start_time = due - timedelta(seconds=early)
    monkeypatch.setattr(recovery, "parse_schedule", lambda _: SimpleNamespace(last_run=lambda *_: due))
    monkeypatch.setattr(recovery, "overdue", lambda *_: [])
    known: Any = server
    assert bool(recovery._owed(known, PROJECT, "daily", uuid4())) is owed


@pytest.mark.parametrize(("ago", "missed"), [(timedelta(0), False), (timedelta(days=2), True)])
def test_a_run_that_the_server_has_forgotten_is_not_begun_again(
    ago: timedelta, *, missed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger(tmp_path).start("r1", "daily", datetime.now(UTC) - ago)
    project = SimpleNamespace(file=PROJECT.file, data_dir=tmp_path)
    assert len(restart(Server(), monkeypatch, project)) == missed


def test_a_cancellation_that_was_under_way_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server().ran(timedelta(seconds=-60), StateType.COMPLETED)
    server.going = [SimpleNamespace(id=uuid4(), state_type=each) for each in (StateType.CANCELLING, StateType.RUNNING)]
    restart(server, monkeypatch)
    assert server.ended == [StateType.CANCELLED, StateType.CRASHED]


def test_prefect_says_so_of_runs_that_it_cancels_because_it_ends() -> None:
    assert inspect.signature(CancellationManager.cancel_all).parameters["state_msg"].default == RUNNER_ENDS


def test_the_timetable_has_no_next_time_of_what_is_paused() -> None:
    lines = timetable(PROJECT, {"daily"})
    assert lines == {"daily": "0 4 * * * (paused on Prefect's page, and stays so)", "asked": "on request"}
    assert "next at" in timetable(PROJECT)["daily"]
