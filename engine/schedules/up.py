"""`engine up`: the schedules of pipelines.yaml in one process, served by Prefect, on its own server or a named one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.attend import attended
from engine.errors import UsageError
from engine.locks import hold
from engine.schedule import parse_schedule
from engine.schedules.flow_file import FILE_VARIABLE
from engine.schedules.server import local_server
from engine.schedules.settings import client, own_server, put

if TYPE_CHECKING:
    from engine.config.project import Project

AT_ONCE = 4
"""Pipelines that run at a time in one `engine up`."""


def up(project: Project, port: int, say: Callable[[str], None]) -> None:
    """Serve every pipeline until SIGINT or SIGTERM. Raises UsageError without pipelines, BusyError beside another."""
    if not project.file.pipelines:
        raise UsageError("there is no pipeline to serve", f"Add one to {project.path.name}.")
    folder = project.data_dir / "prefect"
    named = os.environ.get("PREFECT_API_URL")
    os.environ[FILE_VARIABLE] = str(project.path.resolve())
    os.environ["ENGINE_PROFILE"] = project.profile_name
    put(client(folder) if named else own_server(folder, port))
    with hold(project.data_dir / "locks" / "up.lock", "engine up"), ExitStack() as stack:
        if named:
            say(f"Prefect's server: {named.removesuffix('/api')}")
        else:
            server = stack.enter_context(local_server(folder, port, say))
            say(f"Prefect: {server.address} (its data: {folder})")
        stack.enter_context(attended(lambda: project, say))
        asyncio.run(_serve(project, say, own=not named))


async def _serve(project: Project, say: Callable[[str], None], *, own: bool) -> None:
    """Register the deployments, put in order what an earlier `engine up` left, and run what comes due until told."""
    from engine.schedules.deployments import deployments
    from engine.schedules.recovery import recover

    told = _when_told()
    runner = _runner(f"engine-up-{project.profile_name}")
    ids = {str(each.flow_name): await runner.aadd_deployment(each) for each in deployments(project)}
    for line in [*await asyncio.to_thread(recover, project, ids, own=own), *timetable(project)]:
        say(line)
    serving = asyncio.create_task(runner.start())
    asking = asyncio.create_task(told.wait())
    await asyncio.wait({serving, asking}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        say("ending: runs under way stop at their next page; what was landed stays")
        await runner.astop()
    asking.cancel()
    await serving


def _when_told() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets; the second one ends at once, and children see that."""
    told = asyncio.Event()

    def tell() -> None:
        if told.is_set():
            os._exit(1)
        told.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell)
    return told


def _runner(name: str) -> Any:
    """Prefect's runner, which leaves signals to this module, and schedules as they are when it ends."""
    from prefect.runner import Runner

    runner = Runner(name=name, pause_on_shutdown=False, limit=AT_ONCE)
    runner.handle_sigterm = lambda *_: None  # it would leave without waiting for its runs
    return runner


def timetable(project: Project) -> list[str]:
    """One line a pipeline: when it runs next."""
    now = datetime.now(UTC)
    lines = []
    for name, block in project.file.pipelines.items():
        if block.schedule:
            due = parse_schedule(block.schedule).next_runs(now, project.file.timezone)[0]
            lines.append(f"  {name}: {block.schedule}, next at {due:%Y-%m-%d %H:%M %Z}")
        else:
            lines.append(f"  {name}: on request")
    return lines
