"""`engine deploy`: a deployment for each pipeline on a Prefect server, run by the workers of a work pool.

What the server is told: names, schedules, tags, the profile's name and the project's folder. Secrets stay with the
worker, in its environment or in the folder's .env.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.exceptions import ObjectNotFound
from prefect.runner.storage import LocalStorage
from prefect.workers.process import ProcessWorker

from engine.errors import UsageError
from engine.schedules.deployments import deployed, deployments, is_paused, take_away
from engine.schedules.flow_file import FILE_VARIABLE
from engine.schedules.named_server import asking, told
from engine.schedules.owner import owner_tag
from engine.schedules.settings import HEARTBEAT_SECONDS, shown
from engine.schedules.timetable import timetable
from engine.schedules.watchdogs import ensure_watchdogs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from engine.config.project import Project

PROCESS = ProcessWorker.type


@dataclass(frozen=True)
class Target:
    """Where pipelines are deployed: a server's API, a work pool, the folder of the project where its worker runs."""

    server: str
    pool: str
    name: str
    folder: Path


def deploy(project: Project, target: Target, say: Callable[[str], None]) -> None:
    """Deploy the file's pipelines, and remove this project's deployments that it does not name; one line each.

    Raises UsageError (another project's deployment, a pool of another type, a key, a version), TickhouseError (the
    server cannot be reached). A repeated call changes nothing.
    """
    owner = owner_tag(project)
    with asking(target.server) as client:
        before = deployed(client, project, target.name, owner)
        made, online = _pool(client, target)
        ids = {}
        paused = {name for name, one in before.pipelines.items() if is_paused(one)}
        lines = timetable(project, paused)
        for deployment in deployments(project, target.name, owner, before, **served_by(project, target)):
            with told(target.server):
                ids[str(deployment.flow_name)] = deployment.apply()
            known = "updated" if deployment.flow_name in before.pipelines else "deployed"
            say(f"{deployment.full_name}: {known}, {lines[str(deployment.flow_name)]}")
        for line in take_away(client, project, ids, before):
            say(line)
        ensure_watchdogs(client)
    pool = f"work pool {target.pool}{' (made now)' if made else ''}"
    say(f"{shown(target.server)}, {pool}: its workers run them in {target.folder}")
    if not online:
        say(f"no worker of it is online; start one: prefect worker start --pool {target.pool}")


def served_by(project: Project, target: Target) -> dict[str, Any]:
    """What a deployment for a worker says beyond one of `engine up`: pool, folder, environment."""
    environment = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
    if project.path.name != "pipelines.yaml":
        environment[FILE_VARIABLE] = project.path.name
    return {
        "work_pool_name": target.pool,
        "job_variables": {"env": environment},
        "storage": LocalStorage(str(target.folder)),
    }


def _pool(client: SyncPrefectClient, target: Target) -> tuple[bool, bool]:
    """Make the work pool if there is none; return whether it was made, and whether a worker of it is online."""
    made = False
    try:
        pool = client.read_work_pool(target.pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = client.create_work_pool(WorkPoolCreate(name=target.pool, type=PROCESS, base_job_template=template))
        made = True
    if pool.type != PROCESS:
        raise UsageError(
            f"work pool {target.pool} is of type {pool.type}: its workers do not run in a folder of a machine",
            "Name a pool of type process, or one that there is not yet: --pool NAME.",
        )
    alive = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    return made, bool(client.read_workers_for_work_pool(target.pool, worker_filter=alive))
