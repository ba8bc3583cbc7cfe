"""A Prefect server that is away: what asks it goes on asking, and an end leaves no traceback and no run behind."""

from __future__ import annotations

import asyncio
import logging
import sys
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


@pytest.mark.parametrize("answers", [True, False])
def test_an_end_ends_runs_of_which_the_server_cannot_be_asked(
    answers: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a signal, and with no word to the server: Prefect goes on for a minute with each."""
    patient = PatientRunner("up", print, "http://127.0.0.1:1/api", 4)
    done: list[object] = []

    async def kill(run: UUID) -> None:
        done.append(run)

    async def prefects_own() -> None:
        done.append("Prefect's own")

    async def tells(**_: Any) -> None:
        done.append("told")

    class Client:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def hello(self) -> None:
            if not answers:
                raise httpx.ConnectError("nobody listens")

    monkeypatch.setattr(patient_runner, "get_client", lambda **_: Client())
    runs = {uuid4(), uuid4()}
    patient._process_manager = SimpleNamespace(flow_run_ids=lambda: runs, kill=kill)
    patient._cancellation_manager = SimpleNamespace(cancel_all=prefects_own)
    patient._state_proposer = SimpleNamespace(propose_crashed=tells)

    async def end() -> None:
        await patient.cancel_all()
        await patient._state_proposer.propose_crashed(flow_run=None, message="")

    asyncio.run(end())
    assert set(done) == ({"Prefect's own", "told"} if answers else runs)


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
