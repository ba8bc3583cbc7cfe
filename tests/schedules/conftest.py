"""One Prefect server, and one `engine up` on it, for the tests of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from engine.schedules.server import local_server
from engine.schedules.settings import own_server
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.schedules.prefect_api import PrefectApi
from tests.schedules.served_project import SECRET, ServedProject, Up, free_port


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A server as `engine up` starts one."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    with mock.patch.dict(os.environ, own_server(folder, port)):
        server = local_server(folder, port, print)
        with server as started:
            yield PrefectApi(started.address)


class Shop:
    """Answers of the API by path: `rows` of every path, and how the next requests fail."""

    def __init__(self) -> None:
        self.failing: dict[str, list[Reply]] = {}
        self.asked: list[str] = []

    def __call__(self, asked: Asked) -> Reply:
        name = asked.path.strip("/")
        self.asked.append(name)
        left = self.failing.get(name, [])
        return left.pop(0) if left else Reply([{"id": len(self.asked), "name": name}])


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    """The API of the shared project, and its address."""
    answers = Shop()
    with FakeApi(tmp_path_factory.mktemp("shop") / "ledger.jsonl", answers) as api:
        yield answers, api.url


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, prefect: PrefectApi, shop: tuple[Shop, str]
) -> Iterator[tuple[ServedProject, Up]]:
    """A project whose pipelines `engine up` serves on the shared server; its log is JSON lines."""
    project = make(tmp_path_factory.mktemp("served") / "project", shop[1])
    env = {"PREFECT_API_URL": f"{prefect.address}/api", "SHOP_KEY": SECRET, "TICKHOUSE_LOG_FORMAT": "json"}
    with project.up(env=env) as up:
        up.ready()
        yield project, up


def make(folder: Path, url: str) -> ServedProject:
    """Two sources, of which one fails when it is told to, and one that takes its time."""
    project = ServedProject(folder, url)
    for name in ("steady", "moody", "slow"):
        project.source(name, auth={"type": "bearer", "token": "${SHOP_KEY}"})
    project.pipeline("plain", "steady", schedule="*/5 * * * *", tags=["money"])
    project.pipeline("mixed", "steady", "moody", retries=2)
    project.pipeline("long", "slow", retries=0)
    project.write()
    return project
