"""A deployment for each pipeline: when it runs, one at a time, under which tags, whose it is.

Runs that come due while one is going wait for its slot and are covered by the next: a queue never grows. What an
operator paused on Prefect's page stays paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.exceptions import ObjectNotFound

from engine.errors import UsageError
from engine.schedules.entrypoints import MODULE
from engine.schedules.flow import flow_of
from engine.schedules.owner import PREFIX

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from engine.config.project import Project

TAG = "tickhouse"
SLUG = "pipelines-yaml"
GRACE_SECONDS = 60
"""How long a run may take to start before its slot goes to another."""
VERSION = "prefect:simple"
"""Else Prefect asks git, and sends the address of its remote, which may hold a token."""


@dataclass(frozen=True)
class Deployed:
    """What a server has of a project's deployments of one name.

    `gone` are those of no pipeline of the file (PIPELINE/NAME: id), `renamed` those of another name (PIPELINE/NAME).
    """

    pipelines: dict[str, DeploymentResponse] = field(default_factory=dict)
    gone: dict[str, UUID] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)


def deployments(
    project: Project, name: str, owner: str, before: Deployed | None = None, **more: Any
) -> list[RunnerDeployment]:
    """One deployment for each pipeline of the file, called `name`; `more` are further fields, as Prefect names them."""
    known = before.pipelines if before else {}
    return [
        _deployment(project, pipeline, name, owner, known.get(pipeline), more) for pipeline in project.file.pipelines
    ]


def _deployment(
    project: Project,
    pipeline: str,
    name: str,
    owner: str,
    before: DeploymentResponse | None,
    more: dict[str, Any],
) -> RunnerDeployment:
    block = project.file.pipelines[pipeline]
    schedules = []
    if block.schedule:
        cron = CronSchedule(cron=block.schedule, timezone=project.file.timezone)
        paused = before is not None and any(one.slug == SLUG and not one.active for one in before.schedules)
        schedules.append(DeploymentScheduleCreate(schedule=cron, slug=SLUG, active=not paused))
    deployment = RunnerDeployment.from_flow(
        flow_of(pipeline),
        name=name,
        schedules=schedules,
        paused=before is not None and before.paused,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE, grace_period_seconds=GRACE_SECONDS
        ),
        parameters={"profile": project.profile_name},
        tags=[TAG, *([owner] if owner else []), *block.tags],
        version_type=VERSION,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.entrypoint = f"{MODULE}.{pipeline}"
    for key, value in more.items():
        setattr(deployment, key, value)
    return deployment


def is_paused(deployment: DeploymentResponse) -> bool:
    """Whether somebody paused it on Prefect's page, or its schedule."""
    return bool(deployment.paused) or any(one.slug == SLUG and not one.active for one in deployment.schedules)


def deployed(client: SyncPrefectClient, project: Project, name: str, owner: str, *, alone: bool = False) -> Deployed:
    """Ask the server what it has; `alone`: it is this data folder's own, and a name on it is ours to take.

    Raises UsageError where another project has a deployment of the same name: it would be taken from it.
    """
    found: dict[str, DeploymentResponse] = {}
    for pipeline in project.file.pipelines:
        try:
            found[pipeline] = client.read_deployment_by_name(f"{pipeline}/{name}")
        except ObjectNotFound:
            continue
        others = [tag for tag in found[pipeline].tags if tag.startswith(PREFIX) and tag != owner]
        if others and not alone:
            raise UsageError(
                f"this server has {pipeline}/{name} already, of another project or data folder (tag {others[0]})",
                "Give these deployments another name: --name NAME. Or remove that one on Prefect's page, if it is to "
                "be replaced.",
            )
    tagged = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG, owner])))
    kept = {one.id for one in found.values()}
    ours = [one for one in tagged if one.id not in kept and one.parameters.get("profile") == project.profile_name]
    return Deployed(
        found,
        gone={_full_name(one): one.id for one in ours if one.name == name},
        renamed=sorted(_full_name(one) for one in ours if one.name != name),
    )


def _full_name(deployment: DeploymentResponse) -> str:
    return f"{str(deployment.entrypoint).rpartition('.')[2]}/{deployment.name}"


def take_away(client: SyncPrefectClient, project: Project, ids: dict[str, UUID], before: Deployed) -> list[str]:
    """Remove what the file has no more: schedules, and deployments; say which of the latter, and what has two names."""
    for pipeline, deployment in ids.items():
        if not project.file.pipelines[pipeline].schedule:
            _drop_schedule(client, deployment)
    for deployment in before.gone.values():
        client.delete_deployment(deployment)
    removed = [f"{name} is not in {project.path.name} any more: its deployment is removed" for name in before.gone]
    both = f"{', '.join(before.renamed)}: of this project too, under another name, and left alone; remove what is not "
    return removed + ([f"{both}meant to run beside these on Prefect's page"] if before.renamed else [])


def _drop_schedule(client: SyncPrefectClient, deployment: UUID) -> None:
    """Take away the schedule that an earlier file gave a deployment: to register it without one leaves it there."""
    for schedule in client.read_deployment(deployment).schedules:
        if schedule.slug == SLUG:
            client.delete_deployment_schedule(deployment, schedule.id)
