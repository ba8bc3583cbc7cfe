"""A run that nobody runs any more is ended by its server; chaos: a worker that is killed, a network that is away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conformance.loopback_proxy import Proxy
from tests.faults.fake_api import Reply
from tests.kafka.processes import children
from tests.schedules.conftest import QUIET, Shop, make, running
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import SECRET, ServedProject

pytestmark = pytest.mark.xdist_group("prefect")


def slow_alone(folder: Path, url: str, pipeline: str) -> ServedProject:
    """A project with one pipeline, whose source takes its time."""
    project = make(folder, url)
    project.document["pipelines"] = {}
    project.pipeline(pipeline, "slow", retries=0)
    project.write()
    return project


def test_a_run_that_is_silent_is_crashed_and_any_other_is_left(prefect: PrefectApi, silent: str) -> None:
    other = running(prefect, "other")
    run = until(lambda: prefect.run(silent), lambda found: found["state_type"] != "RUNNING", 60)
    assert run["state_type"] == "CRASHED"
    assert run["state"]["message"].startswith("no heartbeat for 10 s: ")
    assert prefect.run(other)["state_type"] == "RUNNING"
    names = [each["name"] for each in prefect.ask("automations/filter", {}) if each["name"].startswith(QUIET)]
    assert sorted(names) == sorted(set(names)), "made twice, there once"
    assert len(names) == 2


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_o02_a_network_that_is_away_leaves_nothing_running_and_nothing_doubled(
    prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    answers, url = shop
    project = slow_alone(tmp_path / "project", url, "afar")
    answers.failing["slow"] = [Reply([{"id": 1, "name": "x"}], wire="trickle", pace=0.5)]
    with Proxy(int(prefect.address.rpartition(":")[2])) as proxy:
        env = {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api", "SHOP_KEY": SECRET}
        with project.up(env=env) as up:
            up.ready()
            run = prefect.start("afar")
            until(
                lambda: prefect.tasks(run).get("extract assets", {}).get("state_type"), lambda s: s == "COMPLETED", 60
            )
            proxy.refuse()
            assert prefect.ended(run, 300)["state_type"] == "CRASHED", "by the watchdog: nobody tells of it"
            until(up.said, lambda text: "is away, and asked again until it answers" in text, 200)
            proxy.open()
            until(up.said, lambda text: "Prefect's server answers again" in text, 120)
            again = prefect.ended(prefect.start("afar"), 120)
            assert again["state_type"] == "COMPLETED", prefect.log(again["id"])
            assert up.end() == 0
    held = project.ids("raw_slow")
    assert held == sorted(set(held))
    assert 1 <= len(held) <= 2


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_killed_engine_up_on_a_shared_server_frees_its_slot(
    prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    answers, url = shop
    project = slow_alone(tmp_path / "project", url, "zombie")
    env = {"PREFECT_API_URL": f"{prefect.address}/api", "SHOP_KEY": SECRET}
    answers.failing["slow"] = [Reply([{"id": 1, "name": "x"}], wire="trickle", pace=3)]
    with project.up(env=env, name="first") as up:
        up.ready()
        run = prefect.start("zombie")
        until(lambda: prefect.run(run)["state_type"], lambda state: state == "RUNNING", 60)
        for process in children(up.process.pid):
            os.kill(process, signal.SIGKILL)
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
    with project.up(env=env, name="second") as up:
        up.ready()
        again = prefect.start("zombie")
        assert prefect.ended(run, 300)["state_type"] == "CRASHED"
        assert prefect.ended(again, 300)["state_type"] == "COMPLETED"
    assert prefect.deployment("zombie")["global_concurrency_limit"]["active_slots"] == 0
