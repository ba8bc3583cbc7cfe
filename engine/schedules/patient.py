"""Prefect's runner, patient with its server: Prefect's own ends, and its runs with it, after three polls in vain.

So is what asks it for runs that somebody cancelled; and an end that is told while the server is away asks nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Self

from prefect._internal.observers import FlowRunCancellingObserver
from prefect.client.orchestration import get_client
from prefect.runner import Runner, runner

from engine.schedules.failures_told import AWAY, without_tracebacks_while_away
from engine.schedules.settings import shown

log = logging.getLogger(__name__)
ANSWER_SECONDS = 3.0


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
        """End runs under way; while the server is away by a signal alone, and with no word to it of how they ended.

        Prefect asks about each first, and tells of each, for a minute.
        """
        if await self._answers():
            await super().cancel_all()
            return
        self._state_proposer.propose_crashed = _to_nobody
        await asyncio.gather(*(self._process_manager.kill(run) for run in self._process_manager.flow_run_ids()))

    async def _answers(self) -> bool:
        """Whether the server is there now; a client that has never reached it does not try again and again."""
        try:
            async with get_client(httpx_settings={"timeout": ANSWER_SECONDS}) as client:
                await client.hello()
        except AWAY:
            return False
        return True


async def _to_nobody(*_: object, **__: object) -> None:
    """Tell nobody how a run ended."""
