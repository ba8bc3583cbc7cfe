"""A deployment for each pipeline: when it runs, one at a time, under which tags.

Runs that come due while one is going wait for its slot and are covered by the next: a queue never grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.schedules import Cron

from engine.schedules.entrypoints import MODULE
from engine.schedules.flow import flow_of

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

    from engine.config.project import Project

TAG = "tickhouse"
SLUG = "pipelines-yaml"
GRACE_SECONDS = 60
"""How long a run may take to start before its slot goes to another."""


def deployments(project: Project) -> list[RunnerDeployment]:
    """One deployment for each pipeline of the file, named after the profile."""
    return [deployment_of(project, pipeline) for pipeline in project.file.pipelines]


def deployment_of(project: Project, pipeline: str, **more: Any) -> RunnerDeployment:
    """Return the deployment of one pipeline; `more` goes to Prefect as it is."""
    block = project.file.pipelines[pipeline]
    schedule = Cron(block.schedule, timezone=project.file.timezone, slug=SLUG) if block.schedule else None
    deployment = RunnerDeployment.from_flow(
        flow_of(pipeline),
        name=project.profile_name,
        schedule=schedule,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE, grace_period_seconds=GRACE_SECONDS
        ),
        parameters={"profile": project.profile_name},
        tags=[TAG, *block.tags],
        entrypoint_type=EntrypointType.MODULE_PATH,
        **more,
    )
    deployment.entrypoint = f"{MODULE}.{pipeline}"
    return deployment


def drop_schedule(client: SyncPrefectClient, deployment: UUID) -> None:
    """Take away the schedule that an earlier file gave a deployment: to register it without one leaves it there."""
    for schedule in client.read_deployment(deployment).schedules:
        if schedule.slug == SLUG:
            client.delete_deployment_schedule(deployment, schedule.id)


def gone(client: SyncPrefectClient, project: Project) -> dict[str, UUID]:
    """Deployments of this profile whose pipeline is not in the file any more, by the pipeline's name."""
    found = client.read_deployments(
        deployment_filter=DeploymentFilter(
            name=DeploymentFilterName(any_=[project.profile_name]), tags=DeploymentFilterTags(all_=[TAG])
        )
    )
    names = {each.id: str(each.entrypoint).rpartition(".")[2] for each in found}
    return {name: each for each, name in names.items() if name not in project.file.pipelines}
