"""Which deployments of a server are this project's to remove, also on `engine up`'s own; the server is a stand-in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.exceptions import ObjectNotFound

from engine.schedules.deployments import TAG, deployed, take_away

OWN, OTHER = "tickhouse:0123456789ab", "tickhouse:ba9876543210"


class Server:
    """Deployments, PIPELINE/NAME of an owner."""

    def __init__(self, *deployments: tuple[str, str]) -> None:
        self.deployments = {}
        for full_name, owner in deployments:
            pipeline, _, name = full_name.partition("/")
            self.deployments[full_name, owner] = SimpleNamespace(
                id=uuid4(),
                name=name,
                entrypoint=f"engine.schedules.entrypoints.{pipeline}",
                tags=[TAG, owner],
                parameters={"profile": "local"},
                schedules=[],
            )

    def read_deployment_by_name(self, full_name: str) -> Any:
        found = [one for (name, _), one in self.deployments.items() if name == full_name]
        if not found:
            raise ObjectNotFound(KeyError())
        return found[0]

    def read_deployments(self, deployment_filter: Any) -> list[Any]:
        wanted = set(deployment_filter.tags.all_)
        return [one for one in self.deployments.values() if wanted <= set(one.tags)]

    def delete_deployment(self, deployment: Any) -> None:
        self.deployments = {name: one for name, one in self.deployments.items() if one.id != deployment}


@pytest.mark.parametrize("alone", [True, False])
def test_only_what_is_this_project_s_and_of_this_name_is_removed(*, alone: bool) -> None:
    file = SimpleNamespace(pipelines={"here": SimpleNamespace(schedule=None)})
    project: Any = SimpleNamespace(file=file, profile_name="local", path=Path("pipelines.yaml"))
    left = [("here/local", OWN), ("here/night", OWN), ("gone/night", OWN), ("theirs/local", OTHER)]
    server: Any = Server(("gone/local", OWN), *left)
    before = deployed(server, project, "local", OWN, alone=alone)
    said = take_away(server, project, {}, before)
    assert list(server.deployments) == left
    assert said[0] == "gone/local is not in pipelines.yaml any more: its deployment is removed"
    assert said[1].startswith("gone/night, here/night: of this project too, under another name, and left alone")
