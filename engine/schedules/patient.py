"""Prefect's runner, patient with its server: Prefect's own ends, and its runs with it, after three polls in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import httpx
from prefect.runner import Runner

from engine.schedules.settings import shown

AWAY = (httpx.TransportError, httpx.HTTPStatusError)


class PatientRunner(Runner):  # type: ignore[misc]
    """Asks the server again and again while it is away, and says so once; runs under way go on."""

    def __init__(self, name: str, say: Callable[[str], None], server: str, limit: int) -> None:
        """Begin nothing yet; `limit` runs go on at a time."""
        super().__init__(name=name, pause_on_shutdown=False, limit=limit)
        self.handle_sigterm = lambda *_: None  # it would leave without waiting for its runs
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
