"""A Prefect server that is away: what asks it goes on asking, and an end leaves no traceback and no run behind."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.runner import runner
from prefect.utilities.services import critical_service_loop

from engine.schedules import patient as patient_runner
from engine.schedules.failures_told import _in_short
from engine.schedules.patient import PatientObserver, PatientRunner


class Away:
    """A client of a server that is away until it has been asked `times` times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0

    async def read_flow_runs(self, **_: Any) -> list[Any]:
        self.asked += 1
        if self.asked <= self.times:
            raise httpx.ConnectError("All connection attempts failed")
        return []


def test_cancelled_runs_are_asked_for_when_the_server_is_back_and_an_end_is_no_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client, errors = Away(8), list[Any]()

    async def outage() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        observer = runner.FlowRunCancellingObserver(on_cancelling=lambda _: None)
        assert isinstance(observer, PatientObserver), "Prefect's runner makes itself a patient one"
        observer._client = client
        polling = asyncio.create_task(critical_service_loop(observer._check_for_cancelled_flow_runs, interval=0.01))
        polling.add_done_callback(observer._handle_polling_task_done)
        while client.asked < 12:
            await asyncio.sleep(0.01)
            assert not polling.done()
        polling.cancel()
        await asyncio.sleep(0.05)

    asyncio.run(outage())
    assert errors == []
    assert "Traceback" not in "".join(capsys.readouterr())


class Ending:
    """A PatientRunner with two runs, and what was done to end them; its server `answers`, is "away", or is "hung"."""

    def __init__(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patient = PatientRunner("up", print, "http://127.0.0.1:1/api", 4)
        self.runs = {uuid4(), uuid4()}
        self.done: list[object] = []
        self.server = server
        ending = self

        class Client:
            async def __aenter__(self) -> Self:
                return self

            async def __aexit__(self, *_: object) -> None:
                pass

            async def hello(self) -> None:
                if ending.server == "away":
                    raise httpx.ConnectError("nobody listens")
                await ending.hang()

            async def read_flow_run(self, run: UUID) -> UUID:
                await ending.hang()
                return run

        monkeypatch.setattr(patient_runner, "get_client", lambda **_: Client())
        killed = SimpleNamespace(hard_kill=lambda: self.done.append("killed"))
        processes = SimpleNamespace(flow_run_ids=lambda: self.runs, kill=self.kill, get=lambda _: killed)
        self.patient._client = Client()
        self.patient._process_manager = processes
        self.patient._cancellation_manager = SimpleNamespace(cancel=self.cancel)
        self.patient._state_proposer = SimpleNamespace(propose_crashed=self.tell)

    async def hang(self) -> None:
        if self.server == "hung":
            await asyncio.sleep(60)

    async def kill(self, run: UUID, grace_seconds: float = 30) -> None:
        self.done.append((run, grace_seconds))

    async def cancel(self, run: UUID, state_msg: str) -> None:
        self.done.append((run, state_msg))
        begun = len(self.done)
        await asyncio.sleep(0.01)
        assert begun == 1 or len(self.done) > 1, "one does not wait for another"

    async def tell(self, **_: Any) -> None:
        self.done.append("told")

    def end(self) -> float:
        """End, and say then how a run ended; the seconds that the end took."""

        async def end() -> float:
            began = time.monotonic()
            await self.patient.cancel_all()
            took = time.monotonic() - began
            await self.patient._state_proposer.propose_crashed(flow_run=None, message="")
            return took

        return asyncio.run(end())


def test_an_end_ends_all_runs_at_a_time_and_tells_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words by which the next start knows them."""
    ending = Ending("answers", monkeypatch)
    ending.end()
    assert set(ending.done) == {"told"} | {(run, "Runner is shutting down.") for run in ending.runs}
    assert ending.patient.answered


@pytest.mark.parametrize("server", ["away", "hung"])
def test_an_end_ends_runs_of_which_the_server_cannot_be_asked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a signal, and with no word to the server: Prefect goes on for minutes with each."""
    monkeypatch.setattr(patient_runner, "ANSWER_SECONDS", 0.1)
    ending = Ending(server, monkeypatch)
    assert ending.end() < 5
    assert set(ending.done) == {(run, patient_runner.GRACE_SECONDS) for run in ending.runs}
    assert not ending.patient.answered


def test_a_server_that_hangs_in_mid_end_holds_it_up_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_runner, "TOLD_SECONDS", 0.1)
    ending = Ending("answers", monkeypatch)
    hello = ending.patient._answers

    async def answers() -> bool:
        found = await hello()
        ending.server = "hung"
        return found

    monkeypatch.setattr(ending.patient, "_answers", answers)
    assert ending.end() < 5
    assert ending.done == ["killed", "killed"]
    assert not ending.patient.answered


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (httpx.ConnectError("nobody listens"), "not cancelled: x (ConnectError: nobody listens)"),
        (ValueError("a mistake of ours"), "not cancelled: x"),
    ],
)
def test_a_server_that_is_away_is_a_line_and_a_mistake_a_traceback(error: Exception, shown: str) -> None:
    try:
        raise error
    except Exception:
        record = logging.LogRecord("prefect", logging.ERROR, "", 0, "not cancelled: %s", ("x",), sys.exc_info())
    assert _in_short(record)
    assert (record.getMessage(), bool(record.exc_info)) == (shown, isinstance(error, ValueError))
