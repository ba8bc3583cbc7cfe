"""One Prefect server, and one `engine up` on it, for the tests of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from engine.schedules.server import local_server
from engine.schedules.settings import own_server
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import SECRET, ServedProject, Up, free_port


@pytest.fixture(scope="package")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A server as `engine up` starts one."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    with mock.patch.dict(os.environ, own_server(folder, port)):
        server = local_server(folder, port, print)
        with server as started:
            yield PrefectApi(started.address)


QUIET = "quiet"


@pytest.fixture(scope="package")
def silent(prefect: PrefectApi) -> str:
    """A run that began and has sent nothing since, under watchdogs with less patience; its id.

    It is made before `engine up`, whose start is time enough for most of its silence.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from engine.schedules import watchdogs

    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: f"{prefect.address}/api"}):
        patch.setattr(watchdogs, "TAG", QUIET)
        patch.setattr(watchdogs, "SILENT", timedelta(seconds=10))
        with get_client(sync_client=True) as client:
            watchdogs.ensure_watchdogs(client)
            run = running(prefect, QUIET)
            until(lambda: prefect.events(run), lambda seen: "prefect.flow-run.Running" in seen, 30)
            watchdogs.ensure_watchdogs(client)  # as the next `engine up` does, with this run still watched
    return run


def running(prefect: PrefectApi, tag: str) -> str:
    """A run of nothing that a server believes to be going on; its id."""
    flow = prefect.ask("flows/", {"name": f"nothing-{tag}"})["id"]
    run: str = prefect.ask("flow_runs/", {"flow_id": flow, "tags": [tag], "state": {"type": "PENDING"}})["id"]
    prefect.ask(f"flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}})
    return run


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


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    """The API of the shared project, and its address."""
    answers = Shop()
    with FakeApi(tmp_path_factory.mktemp("shop") / "ledger.jsonl", answers) as api:
        yield answers, api.url


@pytest.fixture(scope="package")
def served(
    tmp_path_factory: pytest.TempPathFactory, prefect: PrefectApi, shop: tuple[Shop, str], silent: str
) -> Iterator[tuple[ServedProject, Up]]:
    """A project whose pipelines `engine up` serves on the shared server; its log is JSON lines."""
    project = make(tmp_path_factory.mktemp("served") / "project", shop[1])
    env = {"PREFECT_API_URL": f"{prefect.address}/api", "SHOP_KEY": SECRET, "TICKHOUSE_LOG_FORMAT": "json"}
    with project.up(env=env) as up:
        up.ready()
        yield project, up


def make(folder: Path, url: str) -> ServedProject:
    """Pipelines that tests share in any order: what a test leaves of one, another test does not read.

    None comes due by itself while tests run: a run in between would be counted, and would take what others need.
    """
    far = (datetime.now(UTC).hour + 12) % 24
    project = ServedProject(folder, url)
    local = project.document["profiles"]["local"]
    local["metrics"] = {"port": free_port()}
    local["links"] = {"Board of runs": "http://127.0.0.1:3000/d/board?pipeline={pipeline}"}
    for name in ("steady", "moody", "slow", "prompt", "lame", "calm", "edited"):
        key = {"type": "bearer", "token": "${SHOP_KEY}"}
        project.source(name, auth=key, limits={"per_minute": 6_000, "per_month": 1_000_000})
    project.pipeline("plain", "steady", schedule=f"*/5 {far} * * *", tags=["money"])
    project.pipeline("mixed", "steady", "moody", retries=2)
    project.pipeline("long", "slow", retries=0)
    project.pipeline("brief", "prompt", "lame", retries=0, timeout_seconds=6)
    project.pipeline("minutely", "calm", schedule=f"* {far} * * *", load=[])
    project.pipeline("queued", "steady", schedule=f"0 {far} * * *", load=[], timeout_seconds=40)
    project.pipeline("edited", "edited", schedule=f"*/5 {far} * * *")
    project.write()
    return project
