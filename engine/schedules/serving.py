"""The deployments of a file on a server, and Prefect's runner that runs what comes due; edits are followed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL

from engine.errors import TickhouseError, UsageError
from engine.ledger import Ledger
from engine.schedules.aside import aside
from engine.schedules.deployments import Deployed, deployed, deployments, is_paused, take_away
from engine.schedules.flow_file import modified
from engine.schedules.named_server import asking, told
from engine.schedules.owner import owner_tag
from engine.schedules.patient import PatientRunner
from engine.schedules.recovery import recover
from engine.schedules.watchdogs import ensure_watchdogs

if TYPE_CHECKING:
    from engine.config.project import Project

AT_ONCE = 4
"""Pipelines that run at a time in one `engine up`."""
LOOK_SECONDS = 2.0
BEGIN_SECONDS = 5.0
PAUSES_SECONDS = 30.0
"""How often one asks what is paused: it is not late."""
log = logging.getLogger(__name__)


class Serving:
    """Serves the pipelines of `project`, which is the file as it was read last, as deployments called `name`.

    `named` is the server's address; '' where it is this process's own, and nobody else's.
    """

    def __init__(
        self, project: Project, name: str, say: Callable[[str], None], load: Callable[[], Project], *, named: str
    ) -> None:
        """Begin nothing yet."""
        self.project = project
        self.unread = ""
        """Why the file as it is now cannot be read, which keeps every run from running; '' if it can."""
        self.paused: frozenset[str] = frozenset()
        self._ids: dict[str, UUID] = {}
        self._name = name
        self._say = say
        self._load = load
        self._server = named or str(PREFECT_API_URL.value())
        self._own = not named
        self._owner = owner_tag(project)
        self._runner = PatientRunner(f"engine-up-{project.profile_name}", say, self._server, AT_ONCE)
        self._read = modified(project.path)
        self._told_of = ""
        self._working = False

    async def begin(self) -> None:
        """Register the deployments, and put in order what an earlier `engine up` left."""
        ids = await self._register()
        for line in await aside(self._recover, ids):
            self._say(line)

    async def work(self) -> None:
        """Run what comes due until `end` is called."""
        self._working = True
        following = asyncio.create_task(self._follow())
        try:
            await self._runner.start()
        finally:
            following.cancel()

    async def end(self) -> bool:
        """Let runs under way stop at their next page; whether the server was there, and knows of it.

        False as well before `work` has really begun: there is no run then, and nobody need be told.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                while self._working and not self._runner.started:  # noqa: ASYNC110 - the runner has no event for it
                    await asyncio.sleep(0.05)
        if not self._runner.started:
            return False
        await self._runner.astop()
        return bool(self._runner.answered)

    def kill_runs(self) -> None:
        """End runs under way at once."""
        self._runner.kill_runs()

    def _recover(self, ids: dict[str, UUID]) -> list[str]:
        with get_client(sync_client=True) as client:
            ensure_watchdogs(client)
        return recover(self.project, ids, own=self._own)

    async def _register(self) -> dict[str, UUID]:
        before = await aside(self._before)
        found = {name: is_paused(one) for name, one in before.pipelines.items()}
        await asyncio.to_thread(self._note_paused, dict.fromkeys(self.project.file.pipelines, False) | found)
        ids = {}
        with told(self._server):
            for each in deployments(self.project, self._name, self._owner, before, work_pool_name=None):
                ids[str(each.flow_name)] = await self._runner.aadd_deployment(each)
        for line in await aside(self._take_away, ids, before):
            self._say(line)
        self._ids = ids
        return ids

    def _before(self) -> Deployed:
        with asking(self._server) as client:
            return deployed(client, self.project, self._name, self._owner, alone=self._own)

    def _take_away(self, ids: dict[str, UUID], before: Deployed) -> list[str]:
        with asking(self._server) as client:
            return take_away(client, self.project, ids, before)

    async def _follow(self) -> None:
        """Take an edit of the file: its schedules from now on, all the rest with the next run anyway."""
        asked, behind = time.monotonic(), False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - asked >= PAUSES_SECONDS:
                behind = await self._ask_paused() or behind
                asked = time.monotonic()
            at = modified(self.project.path)
            if at != self._read:
                self._read = at
                behind = await self._read_edit() or behind
            if behind:
                behind = not await self._take_edit()

    async def _ask_paused(self) -> bool:
        """Note what is paused; whether a deployment is gone from the server."""
        names = {deployment: pipeline for pipeline, deployment in self._ids.items()}
        try:
            async with get_client() as client:  # no thread: while the server is away, an end need not wait for it
                found = await client.read_deployments(
                    deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(names)))
                )
        except Exception:  # the server is away, say: one asks again soon
            log.info("nobody asked what is paused", exc_info=True)
            return False
        now = {names[one.id]: is_paused(one) for one in found if one.id in names}
        if any(stopped != (name in self.paused) for name, stopped in now.items()):
            await asyncio.to_thread(self._note_paused, now)
        gone = sorted(set(names.values()) - now.keys())
        if gone:
            instead = f"pause it there, or take it out of {self.project.path.name}"
            self._say(f"{', '.join(gone)} was deleted on Prefect's page, and is deployed again: {instead}")
        return bool(gone)

    def _note_paused(self, found: Mapping[str, bool]) -> None:
        try:
            Ledger(self.project.data_dir).pause(found, datetime.now(UTC))
        except TickhouseError:  # a ledger that is locked or broken, say: one asks again soon
            log.info("nobody noted what is paused", exc_info=True)
        else:
            self.paused = frozenset(name for name, stopped in found.items() if stopped)

    async def _read_edit(self) -> bool:
        """Read the edited file; whether there is something to follow."""
        try:
            self.project = await asyncio.to_thread(self._load)
        except TickhouseError as error:
            self.unread = error.line
            name = self.project.path.name
            self._say(f"the edited {name} is not followed, and every run fails until then: {error.line}")
            return False
        self.unread = self._told_of = ""
        return True

    async def _take_edit(self) -> bool:
        """Give the server what the file says now; False where it is away: the edit is not forgotten."""
        name = self.project.path.name
        try:
            await self._register()
        except UsageError as error:
            self._say(f"the edited {name} is not followed: {error.line}")
        except Exception as error:  # the server is away, or somebody changes there what is just being changed here
            why = error.line if isinstance(error, TickhouseError) else f"unexpected {type(error).__name__}: {error}"
            if why != self._told_of:
                self._say(f"{name} as it is now is followed once Prefect's server takes it: {why}")
            self._told_of = why
            return False
        else:
            self._told_of = ""
            self._say(f"the schedules are as {name} says now")
        return True
