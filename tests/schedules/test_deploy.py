"""`engine deploy` on a real Prefect server: what it registers, twice over, beside another project; who refuses it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.config.load import load_project
from engine.errors import TickhouseError, UsageError
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.schedules.conftest import Shop
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import SECRET, ServedProject, free_port

pytestmark = pytest.mark.xdist_group("prefect")


def make(folder: Path, url: str, *pipelines: str) -> ServedProject:
    project = ServedProject(folder, url)
    project.source("steady", auth={"type": "bearer", "token": "${SHOP_KEY}"})
    for name in pipelines:
        project.pipeline(name, "steady", schedule="30 4 * * *", tags=["money"])
    project.document["timezone"] = "Asia/Ho_Chi_Minh"
    project.write()
    return project


@contextmanager
def talking_to(address: str) -> Iterator[None]:
    """Have this process's client of Prefect ask that API."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: address}):
        yield


def deploy(project: ServedProject, address: str, name: str = "local", pool: str = "yard") -> list[str]:
    """What `engine deploy --pool POOL` does and says."""
    from engine.schedules import deploy as steps

    with pytest.MonkeyPatch.context() as patch, talking_to(address):
        patch.setenv("ENGINE_FILE", str(project.folder / "pipelines.yaml"))
        patch.setenv("SHOP_KEY", SECRET)
        loaded = load_project(project.folder / "pipelines.yaml")
        said: list[str] = []
        steps.deploy(loaded, steps.Target(address, pool, name, project.folder), said.append)
    return said


def serve(project: ServedProject, address: str) -> None:
    """Register the project's deployments as `engine up` does: for itself, for no worker."""
    from prefect.client.orchestration import get_client

    from engine.schedules.deployments import deployed, deployments
    from engine.schedules.owner import owner_tag

    with pytest.MonkeyPatch.context() as patch, talking_to(address), get_client(sync_client=True) as client:
        patch.setenv("ENGINE_FILE", str(project.folder / "pipelines.yaml"))
        patch.setenv("SHOP_KEY", SECRET)
        loaded = load_project(project.folder / "pipelines.yaml")
        owner = owner_tag(loaded)
        before = deployed(client, loaded, "local", owner)
        for deployment in deployments(loaded, "local", owner, before, work_pool_name=None):
            deployment.apply()


def deployment_names(prefect: PrefectApi) -> set[str]:
    return {f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}" for each in prefect.ask("deployments/filter", {})}


def test_deployments_are_the_file_s_and_another_project_keeps_its_own(
    prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    address = f"{prefect.address}/api"
    one, other = make(tmp_path / "one", shop[1], "north", "south"), make(tmp_path / "other", shop[1], "east")
    first, second, where, worker = deploy(one, address, pool="dock")
    assert first.startswith("north/local: deployed, 30 4 * * *, next at ")
    assert second.startswith("south/local: deployed, ")
    assert where == f"{address}, work pool dock (made now): its workers run them in {one.folder}"
    assert worker == "no worker of it is online; start one: prefect worker start --pool dock"
    north = prefect.deployment("north")
    (schedule,) = north["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("30 4 * * *", "Asia/Ho_Chi_Minh")
    assert north["global_concurrency_limit"]["limit"] == 1
    assert north["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert north["parameters"] == {"profile": "local"}
    assert {"tickhouse", "money"} < set(north["tags"])
    assert north["work_pool_name"] == "dock"
    steps: Any = north["pull_steps"]
    assert steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(one.folder)}}]
    assert SECRET not in json.dumps(prefect.ask("deployments/filter", {}))

    deploy(other, address)
    prefect.ask(f"deployments/{north['id']}/pause_deployment", {})
    del one.document["pipelines"]["south"]
    one.write()
    first, second, *_ = deploy(one, address, pool="dock")
    assert first.startswith("north/local: updated, ")
    assert first.endswith("(paused on Prefect's page, and stays so)")
    assert second == "south/local is not in pipelines.yaml any more: its deployment is removed"
    again = prefect.deployment("north")
    assert (again["id"], again["paused"], len(again["schedules"])) == (north["id"], True, 1)
    assert {"north/local", "east/local"} <= deployment_names(prefect)
    assert "south/local" not in deployment_names(prefect)

    make(other.folder, shop[1], "east", "north")
    with pytest.raises(UsageError, match="this server has north/local already, of another project or data folder"):
        deploy(other, address)
    assert prefect.deployment("north")["pull_steps"] == steps
    left = "east/local: of this project too, under another name, and left alone; remove what is not "
    assert [line for line in deploy(other, address, "other") if line.startswith(left)]
    assert {"north/local", "east/local", "north/other", "east/other"} <= deployment_names(prefect)

    serve(one, address)
    north = prefect.deployment("north")
    assert (north["work_pool_name"], north["pull_steps"], north["job_variables"]) == (None, None, {})
    assert (north["id"], north["paused"]) == (again["id"], True)


@pytest.mark.parametrize(
    ("status", "answer", "error", "says"),
    [
        (401, {"detail": "Unauthorized"}, UsageError, "refuses the key"),
        (200, '"4.0.1"', UsageError, "is of version 4.0.1, and this is 3."),
        (200, '"3.0.0"', UsageError, "is of version 3.0.0, and this is 3."),
        (404, {"detail": "Not Found"}, UsageError, "is no API of Prefect"),
        (500, {"detail": "its database is away"}, TickhouseError, "answers 500"),
        (0, "", TickhouseError, "cannot be reached"),
    ],
)
def test_a_server_that_will_not_do_is_one_line(
    status: int, answer: Any, error: type[TickhouseError], says: str, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    project = make(tmp_path / "project", shop[1], "west")
    asked: list[str] = []

    def reply(request: Asked) -> Reply:
        asked.append(request.path)
        return Reply([], answer, status)

    with FakeApi(tmp_path / "ledger.jsonl", reply) as api:
        address = f"http://u:{SECRET.replace('%', '')}@127.0.0.1:{free_port()}" if not status else api.url
        with pytest.raises(error) as raised:
            deploy(project, f"{address}/api")
    assert type(raised.value) is error
    assert says in raised.value.reason
    assert raised.value.remedy
    assert "canary" not in raised.value.line
    assert asked == (["/api/admin/version"] if status else [])


def test_no_server_is_named(shop: tuple[Shop, str], tmp_path: Path) -> None:
    done = make(tmp_path / "project", shop[1], "west").engine("deploy", env={"SHOP_KEY": "a key"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "no Prefect server is named"
    assert "PREFECT_API_URL" in done.stderr


@contextmanager
def worker(prefect: PrefectApi, project: ServedProject, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A worker of Prefect's for the pool, and its log; it is started outside of the project's folder."""
    own = {"PREFECT_API_URL": f"{prefect.address}/api", "PREFECT_HOME": str(folder / "home"), "SHOP_KEY": SECRET}
    log = folder / "worker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", "yard"],
            cwd=folder,
            env=project.environment({**own, "PREFECT_WORKER_QUERY_SECONDS": "1"}),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_a_worker_runs_what_is_deployed(prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path) -> None:
    project = make(tmp_path / "project", shop[1], "worked")
    deploy(project, f"{prefect.address}/api")
    with worker(prefect, project, tmp_path) as (process, log):
        run = prefect.ended(prefect.start("worked"), 90)
        assert run["state_type"] == "COMPLETED", prefect.log(run["id"]) + log.read_text()
        assert set(prefect.tasks(run["id"])) == {"extract assets", "extract steady", "load warehouse"}
        assert len(project.ids("raw_steady")) == 1
        assert len(deploy(project, f"{prefect.address}/api")) == 2, "nothing to say of workers: one is online"
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) is not None
    assert SECRET not in log.read_text() + prefect.log(run["id"])


@pytest.mark.chaos
def test_a_killed_worker_leaves_nothing_stuck(prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path) -> None:
    answers, url = shop
    project = make(tmp_path / "project", url, "orphaned")
    deploy(project, f"{prefect.address}/api")
    answers.failing["steady"] = [Reply([{"id": 1, "name": "x"}], wire="trickle", pace=1)]
    with worker(prefect, project, tmp_path) as (process, _log):
        run = prefect.start("orphaned")
        until(lambda: prefect.run(run)["state_type"], lambda state: state == "RUNNING", 90)
        process.kill()
        assert prefect.ended(run, 200)["state_type"] == "CRASHED"
    with worker(prefect, project, tmp_path):
        again = prefect.ended(prefect.start("orphaned"), 120)
        assert again["state_type"] == "COMPLETED", prefect.log(again["id"])
    held = project.ids("raw_steady")
    assert held == sorted(set(held))
