"""Scheduled runs whose time has passed: one run does what all of them would have done.

The others are deleted: they never began, and a state would make them look like runs that ended.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun

WAITING = "AwaitingConcurrencySlot"
WAIT_SECONDS = 120
"""A run that waits for a slot is scheduled again a little later each time."""
AT_A_TIME = 200
DELETED_AT_A_TIME = 50
"""What the server takes at most."""


def cover_overdue(deployment: UUID, run: UUID) -> int:
    """Let `run` stand for every scheduled run of its deployment that is due; return how many it stands for."""
    with get_client(sync_client=True) as client:
        others = [one for one in overdue(client, [deployment]) if one.id != run]
        _delete(client, others)
    return len(others)


def keep_newest(client: SyncPrefectClient, deployments: list[UUID]) -> int:
    """Of each deployment's overdue runs leave the newest; return how many were left out."""
    dropped: list[FlowRun] = []
    for deployment in deployments:
        found = overdue(client, [deployment])
        dropped += sorted(found, key=lambda one: one.expected_start_time or datetime.min.replace(tzinfo=UTC))[:-1]
    _delete(client, dropped)
    return len(dropped)


def overdue(client: SyncPrefectClient, deployments: list[UUID]) -> list[FlowRun]:
    """Runs that a schedule made, that are due and have not begun."""
    now = datetime.now(UTC)
    soon = now + timedelta(seconds=WAIT_SECONDS)
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=deployments)),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=soon),
            ),
            limit=AT_A_TIME,
            offset=len(found),
        )
        found += page
        if len(page) < AT_A_TIME:
            break
    return [one for one in found if one.auto_scheduled and _is_due(one, now)]


def _is_due(run: FlowRun, now: datetime) -> bool:
    return run.state_name == WAITING or run.next_scheduled_start_time is None or run.next_scheduled_start_time <= now


def _delete(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    ids = [str(run.id) for run in runs]
    for start in range(0, len(ids), DELETED_AT_A_TIME):
        some = ids[start : start + DELETED_AT_A_TIME]
        client.request("POST", "/flow_runs/bulk_delete", json={"flow_runs": {"id": {"any_": some}}, "limit": len(some)})
