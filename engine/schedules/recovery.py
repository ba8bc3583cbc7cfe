"""What a start finds of an earlier one: runs that died with it, and times that were missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from engine.schedules.overdue import keep_newest
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def recover(project: Project, deployments: Mapping[str, UUID], *, own: bool) -> list[str]:
    """End what died with an earlier `engine up`, and leave of missed times one run each; say what was done.

    On a server of its own every run under way is one that died: no other process serves this data folder.
    """
    del project
    said = []
    with get_client(sync_client=True) as client:
        dead = _crash(client, list(deployments.values())) if own else 0
        if dead:
            said.append(
                f"{counted(dead, 'run')} died with an earlier `engine up`; the next run of each goes on from there"
            )
        missed = keep_newest(client, list(deployments.values()))
        if missed:
            said.append(f"{counted(missed, 'missed run')} left to the newest of each pipeline, which takes all of it")
    return said


def _crash(client: SyncPrefectClient, deployments: list[UUID]) -> int:
    """Free the slots of runs whose process is gone."""
    stale = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=deployments)),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))),
    )
    for run in stale:
        client.set_flow_run_state(run.id, Crashed(message="its process died with an earlier `engine up`"), force=True)
    return len(stale)
