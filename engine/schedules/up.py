"""`engine up`: the schedules of pipelines.yaml in one process, served by Prefect, on its own server or a named one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NoReturn

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
    from engine.schedules.server import LocalServer
    from engine.schedules.serving import Serving

CLOSE_SECONDS = (10.0, 3.0, 3.0)
"""For what is still open to the server once the runs have ended; after each, one thing of it is cancelled."""
AWAY_SECONDS = (1.0,) * 6
"""The same where the server does not answer."""
SHORT_SECONDS = 2.0
"""For a server that does not answer to end by itself."""
LAST_SECONDS = 38.0
"""After the first signal, whatever holds up the end; those who end a service wait for 40 s (docker-compose.yml)."""
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
        server: LocalServer | None = None
        if named:
            say(f"Prefect's server: {shown(named).removesuffix('/api')}")
        else:
            server = stack.enter_context(local_server(folder, port, say))
            say(f"Prefect: {server.address} (its data: {folder})")
        from engine.schedules.serving import Serving  # Prefect itself: it reads its settings when it is imported

        serving = Serving(project, name, say, load, named=os.environ["PREFECT_API_URL"] if named else "")
        # what is served beside the schedules, as long as they are
        stack.enter_context(attended(lambda: serving.project, say, unread=lambda: serving.unread))
        asyncio.run(_until_told(serving, say, server))


async def _until_told(serving: Serving, say: Callable[[str], None], server: LocalServer | None) -> None:
    """Serve until the first SIGINT or SIGTERM; the second one ends at once, and children see that."""
    told = asyncio.Event()

    def tell() -> None:
        if told.is_set():
            _leave(server)
        told.set()
        last = threading.Timer(LAST_SECONDS, _leave, (server, serving))
        last.daemon = True
        last.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, tell)
    working, asking = asyncio.create_task(_serve(serving, say)), asyncio.create_task(told.wait())
    await asyncio.wait({working, asking}, return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    if not working.done():
        say("ending: runs under way stop at their next page; what was landed stays")
        await _end(serving, working, server)
    with suppress(asyncio.CancelledError):
        await working


async def _end(serving: Serving, working: asyncio.Task[None], server: LocalServer | None) -> None:
    """End the runs, and then the work; what is open to a server that does not answer is not waited for."""
    answered = await serving.end()
    if not answered:
        working.cancel()
        if server is not None:
            server.end(SHORT_SECONDS)
    for seconds in CLOSE_SECONDS if answered else AWAY_SECONDS:
        await asyncio.wait({working}, timeout=seconds)
        if working.done():
            return
        working.cancel()
    _leave(server, serving)


def _leave(server: LocalServer | None, serving: Serving | None = None) -> NoReturn:
    """End this process at once, and the server, which sees no parent go while it is stopped; the runs where given."""
    if serving is not None:
        serving.kill_runs()
    if server is not None:
        server.kill()
    os._exit(1)


async def _serve(serving: Serving, say: Callable[[str], None]) -> None:
    await serving.begin()
    for name, when in timetable(serving.project, serving.paused).items():
        say(f"  {name}: {when}")
    await serving.work()
