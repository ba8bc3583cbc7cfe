"""How a pipeline stands while a run of it begins, ends, dies, or leaves because it was told to."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal

from engine import run as run_module
from engine.ledger import Ledger
from engine.locks import hold
from engine.progress import Silent
from engine.run import Runner
from engine.standing import last_run, state_of
from tests.faults.small_project import SMALL, SmallProject

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    project = SmallProject(tmp_path)
    project.write(SMALL)
    project.orders(1)
    return project


class Ending(Ledger):
    """The ledger of a run that ends while somebody reads: just behind the first look."""

    def last(self, pipeline: str | None = None, limit: int = 20) -> Any:
        found = super().last(pipeline, limit)
        self._end()
        return found

    def standing(self, pipeline: str) -> Any:
        found = super().standing(pipeline)
        self._end()
        return found

    def _end(self) -> None:
        if super().last("land", 1)[0].status == "running":
            self.finish("r1", START, "ok", {})


def shown(shop: SmallProject) -> tuple[str | None, bool]:
    """The status of `land`, and whether it has died."""
    project, ledger = shop.project(), Ledger(shop.data)
    return last_run(project, ledger, "land")[1], state_of(project, ledger, "land").died


def test_a_run_that_ends_meanwhile_has_not_died(shop: SmallProject) -> None:
    Ledger(shop.data).start("r1", "land", START)
    run, status = last_run(shop.project(), Ending(shop.data), "land")
    assert (status, run and run.status) == ("ok", "ok")


def test_no_state_says_that_a_run_which_ends_meanwhile_has_died(shop: SmallProject) -> None:
    Ledger(shop.data).start("r1", "land", START)
    state = state_of(shop.project(), Ending(shop.data), "land")
    assert (state.died, state.standing and state.standing.status) == (False, "ok")


@pytest.mark.parametrize("backfill", [False, True])
def test_a_run_is_running_while_it_holds_the_lock_and_has_died_after(shop: SmallProject, *, backfill: bool) -> None:
    assert shown(shop) == (None, False)
    Ledger(shop.data).start("r1", "land", START, backfill=backfill)
    with hold(shop.data / "locks" / "pipeline-land.lock", "a run"):
        assert shown(shop) == ("running", False)
    assert shown(shop) == ("died", not backfill)


class Raising:
    """Steps in whose midst something is raised, as by a scheduler in the thread that waits for them."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def side_by_side(self, *_: Any, **__: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TerminationSignal(15), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (TimeoutError("it took too long"), "failed"),
        (GeneratorExit(), "died"),
    ],
    ids=["signal", "interrupt", "timeout", "other"],
)
def test_how_a_run_that_leaves_in_mid_step_is_noted(shop: SmallProject, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        Runner(shop.project(), Silent(), steps=Raising(error)).run("land")
    assert shown(shop)[0] == status
    standing = Ledger(shop.data).standing("land")
    assert standing is not None
    assert standing.failed_in_a_row == (status == "failed")


class Hanging:
    """Steps that nobody sees the end of: the run is told to end, and leaves when its grace is over."""

    runner: Runner

    def __init__(self, left: threading.Event) -> None:
        self.left = left

    def side_by_side(self, *_: Any, **__: Any) -> Any:
        self.runner.stop.set()
        self.runner.end_soon(0.01)
        assert self.left.wait(20)
        raise RuntimeError("the process would be gone")


class NobodyReads(io.StringIO):
    """Standard error of a process whose parent, which read it, is gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("read", [True, False], ids=["somebody reads its words", "nobody does"])
def test_a_run_that_has_to_leave_what_hangs_was_stopped(
    read: bool,  # noqa: FBT001 - pytest calls by name
    shop: SmallProject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = threading.Event()
    monkeypatch.setattr(run_module.os, "_exit", lambda _code: left.set())
    if not read:
        monkeypatch.setattr(run_module.sys, "stderr", NobodyReads())
    steps = Hanging(left)
    steps.runner = Runner(shop.project(), Silent(), steps=steps)
    with pytest.raises(RuntimeError, match="would be gone"):
        steps.runner.run("land")
    run, status = last_run(shop.project(), Ledger(shop.data), "land")
    assert status == "stopped"
    assert run is not None
    assert run.report["failures"] == ["the run was stopped: what was landed stays, the next run goes on from there"]
