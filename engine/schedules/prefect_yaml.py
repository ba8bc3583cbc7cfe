"""prefect.yaml: the same deployments as `engine deploy` makes, for whoever deploys with `prefect deploy --all`.

No address, no folder of a machine and no secret is in it: it may be committed, and belongs to no project's tag.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import prefect
import yaml
from prefect.client.schemas.schedules import CronSchedule

from engine.schedules.deploy import Target, served_by
from engine.schedules.deployments import VERSION, deployments

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

    from engine.config.project import Project

HERE = "{{ $PWD }}"
"""Prefect puts in the folder in which `prefect deploy` is called."""
STEP = "prefect.deployments.steps.set_working_directory"
HEAD = """\
# Generated from {file} (profile {profile}) by `engine deploy --write`: edit that file, not this one.
# `prefect deploy --all` deploys it, in this folder; the work pool has to be there. `engine deploy` needs no such file.
"""


def prefect_yaml(project: Project, target: Target) -> str:
    """Return the file's text."""
    made = deployments(project, target.name, "", None, **served_by(project, target))
    content = {
        "name": "tickhouse",
        "prefect-version": prefect.__version__,
        "build": None,
        "push": None,
        "pull": [{STEP: {"directory": HERE}}],
        "deployments": [_entry(each) for each in made],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return HEAD.format(file=project.path.name, profile=project.profile_name) + text


def _entry(deployment: RunnerDeployment) -> dict[str, Any]:
    options = deployment.concurrency_options
    return {
        "name": deployment.name,
        "flow_name": deployment.flow_name,
        "description": deployment.description,
        "version_type": VERSION,
        "entrypoint": deployment.entrypoint,
        "tags": list(deployment.tags),
        "parameters": dict(deployment.parameters),
        "schedules": [
            {"cron": each.schedule.cron, "timezone": each.schedule.timezone, "slug": each.slug}
            for each in deployment.schedules or ()
            if isinstance(each.schedule, CronSchedule)
        ],
        "concurrency_limit": {"limit": deployment.concurrency_limit, **options.model_dump(mode="json")},
        "work_pool": {"name": deployment.work_pool_name, "job_variables": deepcopy(deployment.job_variables)},
    }
