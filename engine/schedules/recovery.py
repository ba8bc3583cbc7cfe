"""What a start finds of an earlier one: runs that died with it, and times that were missed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

from engine.lateness import PUNCTUAL
from engine.ledger import Ledger
from engine.schedule import parse_schedule
from engine.schedules.deployments import is_paused
from engine.schedules.overdue import keep_newest, overdue
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
RUNNER_ENDS = "Runner is shutting down."
"""What Prefect's runner says of a run that it cancelled because it was told to end itself."""


def recover(project: Project, deployments: Mapping[str, UUID], *, own: bool) -> list[str]:
    """End what died with an earlier `engine up`, and see to it that missed times get one run each; say what was done.

    `own`: the server belongs to this data folder alone, so every run under way is one whose process is gone.
    """
    said = []
    with get_client(sync_client=True) as client:
        dead = _crash(client, list(deployments.values())) if own else 0
        if dead:
            said.append(f"{counted(dead, 'run')} of an earlier `engine up` died with it; what was landed stays")
        missed = keep_newest(client, list(deployments.values()))
        if missed:
            said.append(f"{counted(missed, 'missed run')} left to the newest of its pipeline, which takes all of it")
        for pipeline, deployment in deployments.items():
            why = _owed(client, project, pipeline, deployment)
            if why:
                client.create_flow_run_from_deployment(deployment, tags=["catch-up"])
                said.append(f"{pipeline} runs now: {why}")
    return said


def _owed(client: SyncPrefectClient, project: Project, pipeline: str, deployment: UUID) -> str:
    """Why a run is due that no scheduled run stands for any more; empty: none is."""
    cron = project.file.pipelines[pipeline].schedule
    if not cron or overdue(client, [deployment]):
        return ""
    known = client.read_deployment(deployment)
    if is_paused(known):
        return ""
    due = parse_schedule(cron).last_run(datetime.now(UTC), project.file.timezone)
    last = _last_started(client, deployment)
    if last is None or last.start_time is None:
        if _ran_since(project, pipeline, due):  # the server forgets a run that is old, as of a schedule by the month
            return ""
        return f"it missed {due:%Y-%m-%d %H:%M %Z}" if known.created and known.created < due else ""
    if _interrupted(last):
        return "its last run was interrupted"
    return f"it missed {due:%Y-%m-%d %H:%M %Z}" if last.start_time + PUNCTUAL < due else ""


def _ran_since(project: Project, pipeline: str, due: datetime) -> bool:
    standing = Ledger(project.data_dir).standing(pipeline)
    return standing is not None and datetime.fromisoformat(standing.started_at) + PUNCTUAL >= due


def _interrupted(run: FlowRun) -> bool:
    """Whether it ended with its `engine up`; one that somebody cancelled on Prefect's page is not wanted again."""
    ended_with_runner = run.state is not None and run.state.message == RUNNER_ENDS
    return run.state_type == StateType.CRASHED or (run.state_type == StateType.CANCELLED and ended_with_runner)


def _last_started(client: SyncPrefectClient, deployment: UUID) -> FlowRun | None:
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False)),
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    return found[0] if found else None


def _crash(client: SyncPrefectClient, deployments: list[UUID]) -> int:
    """Free the slots of runs whose process is gone."""
    stale = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=deployments)),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))),
    )
    for run in stale:
        ended = Cancelled if run.state_type == StateType.CANCELLING else Crashed  # somebody had asked for its end
        client.set_flow_run_state(run.id, ended(message="its process died with an earlier `engine up`"), force=True)
    return len(stale)
