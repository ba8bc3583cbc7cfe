"""`engine up`: the schedules of pipelines.yaml in one process, served by Prefect, on its own server or a named one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from engine.attend import attended
from engine.errors import UsageError
from engine.locks import hold
from engine.logs import PrefectConsole, current
from engine.schedules.flow_file import FILE_VARIABLE
from engine.schedules.server import local_server
from engine.schedules.settings import named_server, own_server, server_address, shown
from engine.schedules.timetable import timetable

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.schedules.serving import Serving

ONE = "One runs all pipelines of a data folder, and follows edits by itself: end that one if this is to take its place."


def up(project: Project, port: int, name: str, say: Callable[[str], None], load: Callable[[], Project]) -> None:
    """Serve every pipeline until SIGINT or SIGTERM; `load` reads the file anew when it was edited.

    Deployments are called `name`. Raises UsageError without pipelines, BusyError beside another `engine up` of the data
    folder; of a named server, what `engine.schedules.named_server` says of it.
    """
    if not project.file.pipelines:
        raise UsageError("there is no pipeline to serve", f"Add one to {project.path.name}.")
    folder = project.data_dir / "prefect"
    named = server_address() if os.environ.get("PREFECT_API_URL") else ""
    os.environ[FILE_VARIABLE] = str(project.path.resolve())
    os.environ["ENGINE_PROFILE"] = project.profile_name
    if current() is not None:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"] = f"{PrefectConsole.__module__}.{PrefectConsole.__name__}"
    os.environ.update(named_server(named) if named else own_server(folder, port))
    lock = hold(project.data_dir / "locks" / "up.lock", f"`engine up` of {project.data_dir}", remedy=ONE)
    with lock, ExitStack() as stack:
        if named:
            say(f"Prefect's server: {shown(named).removesuffix('/api')}")
        else:
            server = stack.enter_context(local_server(folder, port, say))
            say(f"Prefect: {server.address} (its data: {folder})")
        from engine.schedules.serving import Serving  # Prefect itself: it reads its settings when it is imported

        serving = Serving(project, name, say, load, named=os.environ["PREFECT_API_URL"] if named else "")
        # what is served beside the schedules, as long as they are
        stack.enter_context(attended(lambda: serving.project, say, unread=lambda: serving.unread))
        asyncio.run(_until_told(serving, say))


async def _until_told(serving: Serving, say: Callable[[str], None]) -> None:
    """Serve until the first SIGINT or SIGTERM; the second one ends at once, and children see that."""
    told = asyncio.Event()

    def tell() -> None:
        if told.is_set():
            os._exit(1)
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, tell)
    await serving.begin()
    for name, when in timetable(serving.project, serving.paused).items():
        say(f"  {name}: {when}")
    working, asking = asyncio.create_task(serving.work()), asyncio.create_task(told.wait())
    await asyncio.wait({working, asking}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        say("ending: runs under way stop at their next page; what was landed stays")
        await serving.end()
    asking.cancel()
    await working
