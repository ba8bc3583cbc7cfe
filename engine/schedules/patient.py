"""Prefect's runner, patient with its server: Prefect's own ends, and its runs with it, after three polls in vain.

So is what asks it for runs that somebody cancelled; and an end that is told while the server is away asks nobody, and
waits for no answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

from prefect._internal.observers import FlowRunCancellingObserver
from prefect.client.orchestration import get_client
from prefect.runner import Runner, runner

from engine.schedules.failures_told import AWAY, without_tracebacks_while_away
from engine.schedules.recovery import RUNNER_ENDS
from engine.schedules.settings import shown

log = logging.getLogger(__name__)
ANSWER_SECONDS = 5.0
GRACE_SECONDS = 22.0
"""A run that was told to end does so within 20 s (engine/run.py); it is killed after these."""
TOLD_SECONDS = 26.0
"""The same, and what the server is told of it."""


class PatientObserver(FlowRunCancellingObserver):  # type: ignore[misc]
    """Looks for runs that somebody cancelled, again and again while the server is away."""

    async def _check_for_cancelled_flow_runs(self) -> None:
        try:
            await super()._check_for_cancelled_flow_runs()
        except AWAY:
            log.debug("nobody asked what is cancelled", exc_info=True)

    def _handle_polling_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():  # as an end does, of which Prefect's would make an error
            super()._handle_polling_task_done(task)


runner.FlowRunCancellingObserver = PatientObserver  # Prefect has no other way to give a runner one


class PatientRunner(Runner):  # type: ignore[misc]
    """Asks the server again and again while it is away, and says so once; runs under way go on."""

    def __init__(self, name: str, say: Callable[[str], None], server: str, limit: int) -> None:
        """Begin nothing yet; `limit` runs go on at a time."""
        super().__init__(name=name, pause_on_shutdown=False, limit=limit)
        self.handle_sigterm = lambda *_: None  # it would leave without waiting for its runs
        without_tracebacks_while_away()
        self._say = say
        self._server = server
        self._away = False
        self.answered = True
        """Whether the server was there when the end was told."""

    async def __aenter__(self) -> Self:
        """Start, with a client whose question for what is due gets an answer in any case."""
        await super().__aenter__()
        ask = self._client.get_scheduled_flow_runs_for_deployments

        async def patiently(**words: Any) -> Any:
            try:
                found = await ask(**words)
            except AWAY as error:
                if not self._away:
                    self._away = True
                    self._say(
                        f"Prefect's server {shown(self._server)} is away, and asked again until it answers: {error}"
                    )
                return []
            if self._away:
                self._away = False
                self._say("Prefect's server answers again")
            return found

        self._client.get_scheduled_flow_runs_for_deployments = patiently
        return self

    async def cancel_all(self) -> None:
        """End runs under way, all at a time; while the server is away with no word to it of how they ended.

        Prefect ends one after the other, asks about each first, and tells of each, for minutes if nobody answers.
        """
        self._end_sooner()
        runs = self._process_manager.flow_run_ids()
        self.answered = await self._answers()
        if self.answered:
            try:
                await asyncio.wait_for(asyncio.gather(*(self._cancel(run) for run in runs)), TOLD_SECONDS)
            except TimeoutError:
                log.info("the server was not told of every run how it ended")
                self.answered = False
                self._tell_nobody()
                self.kill_runs()
        else:
            self._tell_nobody()
            await asyncio.gather(*(self._process_manager.kill(run) for run in runs))

    def kill_runs(self) -> None:
        """End runs under way at once."""
        if not hasattr(self, "_process_manager"):
            return
        for run in self._process_manager.flow_run_ids():
            handle = self._process_manager.get(run)
            if handle is not None:
                with suppress(OSError):
                    handle.hard_kill()

    def _tell_nobody(self) -> None:
        self._state_proposer.propose_crashed = _to_nobody

    def _end_sooner(self) -> None:
        """Give no process more than GRACE_SECONDS from now on; Prefect gives half a minute."""
        kill = self._process_manager.kill

        async def sooner(run: UUID, grace_seconds: float = GRACE_SECONDS, **words: Any) -> None:
            await kill(run, min(grace_seconds, GRACE_SECONDS), **words)

        self._process_manager.kill = sooner

    async def _cancel(self, run: UUID) -> None:
        try:
            await self._cancellation_manager.cancel(await self._client.read_flow_run(run), state_msg=RUNNER_ENDS)
        except Exception:
            log.info("the server was not told that run %s ends", run, exc_info=True)
            await self._process_manager.kill(run)

    async def _answers(self) -> bool:
        """Whether the server is there now; the bound is on all that a client does, which tries again and again."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), get_client() as client:
                await client.hello()
        except (*AWAY, TimeoutError):
            return False
        return True


async def _to_nobody(*_: object, **__: object) -> None:
    """Tell nobody how a run ended."""
