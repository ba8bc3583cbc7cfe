"""Times that passed while nothing ran, runs that died: one run each, nothing stuck, an edit counts."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.faults.fake_api import Reply
from tests.kafka.processes import children
from tests.schedules.conftest import Shop, make
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import ServedProject, Up, free_port

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.faults]
Served = tuple[ServedProject, Up]
DAY = timedelta(days=1)


def waiting(prefect: PrefectApi, pipeline: str) -> list[str]:
    """Runs that are due and have neither begun nor ended."""
    now = datetime.now(UTC).isoformat()
    return [
        run["id"]
        for run in prefect.runs(pipeline)
        if run["state_type"] == "SCHEDULED" and run["expected_start_time"] < now
    ]


def pause(prefect: PrefectApi) -> None:
    """Pause a deployment, and a schedule, as the switches on Prefect's page do."""
    prefect.ask(f"deployments/{prefect.deployment('minutely')['id']}/pause_deployment", {})
    plain = prefect.deployment("plain")
    (schedule,) = plain["schedules"]
    prefect.ask(f"deployments/{plain['id']}/schedules/{schedule['id']}", {"active": False}, "PATCH")


def test_o01_a_day_of_missed_schedules_is_one_run(prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path) -> None:
    project = ServedProject(tmp_path / "project", shop[1])
    project.source("steady")
    project.pipeline("daylong", "steady", schedule="*/5 * * * *")
    project.write()
    named = {"PREFECT_API_URL": f"{prefect.address}/api"}
    with project.up(env=named, name="first") as up:
        up.ready()
        assert up.end() == 0, up.said()
    now = datetime.now(UTC)
    prefect.make_due("daylong", now - DAY, now, 288)
    missed = waiting(prefect, "daylong")
    assert len(missed) >= 288, "the fault fired"
    with project.up(env=named, name="second") as up:
        up.ready()
        assert "missed runs left to the newest of its pipeline" in up.said()
        until(up.said, lambda text: "Finished in state Completed" in text, 40)
        until(lambda: waiting(prefect, "daylong"), lambda left: not left, 40)
        prefect.ended(prefect.begun("daylong")[0]["id"])
        time.sleep(2)  # its process has to be gone: what is told to end while it reports is cancelled
        assert up.end() == 0
    begun = prefect.begun("daylong")
    assert 1 <= len(begun) <= 3
    assert begun[0]["state_type"] == "COMPLETED"
    assert begun[0]["id"] in missed
    assert len(project.ids("raw_steady")) == len(begun)


def test_runs_that_come_due_together_are_one_run_beside_a_going_one(
    prefect: PrefectApi, served: Served, shop: tuple[Shop, str]
) -> None:
    project, _up = served
    prefect.ended(prefect.start("plain"))
    before = {run["id"] for run in prefect.begun("plain")}
    held = len(project.ids("raw_steady"))
    now = datetime.now(UTC)
    prefect.make_due("plain", now - DAY, now, 12)
    until(lambda: waiting(prefect, "plain"), lambda left: not left, 60)
    until(lambda: prefect.begun("plain"), lambda runs: all(run["end_time"] for run in runs), 60)
    begun = [run for run in prefect.begun("plain") if run["id"] not in before]
    assert 1 <= len(begun) <= 2
    assert len(project.ids("raw_steady")) == held + len(begun)
    log = until(lambda: prefect.log(begun[0]["id"]), lambda text: "load warehouse" in text, 10)
    assert "that came due too: it takes all that has come meanwhile" in log


def test_an_edit_counts_without_a_restart(prefect: PrefectApi, served: Served) -> None:
    project, up = served
    project.document["pipelines"]["edited"]["schedule"] = "7 3 * * *"
    project.document["pipelines"]["added"] = {"extract": ["steady"], "load": [], "transform": False}
    project.write()
    until(up.said, lambda text: "the schedules are as pipelines.yaml says now" in text, 30)
    (schedule,) = prefect.deployment("edited")["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("7 3 * * *", "UTC")
    assert prefect.deployment("added")["schedules"] == []
    del project.document["pipelines"]["edited"]["schedule"], project.document["pipelines"]["added"]
    project.write()
    until(lambda: prefect.deployment("edited")["schedules"], lambda left: not left, 30)
    until(  # what the file names no more is taken away behind the rest
        lambda: [each["entrypoint"] for each in prefect.ask("deployments/filter", {})],
        lambda found: not any(each.endswith(".added") for each in found),
        10,
    )


@pytest.mark.chaos
def test_o02_a_killed_server_and_a_killed_engine_up_leave_nothing_stuck(shop: tuple[Shop, str], tmp_path: Path) -> None:
    answers, url = shop
    project, port = make(tmp_path / "project", url), free_port()
    project.pipeline("long", "slow", schedule="0 0 1 1 *", retries=0)
    project.pipeline("minutely", "calm", schedule="* * * * *", load=[])
    project.pipeline("plain", "steady", schedule="*/5 * * * *")
    project.write()
    env = {"SHOP_KEY": "a key"}
    prefect = PrefectApi(f"http://127.0.0.1:{port}")
    answers.failing["slow"] = [
        Reply([{"id": 1, "name": "x"}], wire="trickle", pace=0.3),
        Reply([{"id": 2, "name": "y"}], wire="trickle_head", pace=0.2),
    ]
    with project.up("--port", str(port), env=env, name="first") as up:
        up.ready()
        pause(prefect)
        run = prefect.start("long")
        until(lambda: prefect.run(run)["state_type"], lambda state: state == "RUNNING", 30)
        os.kill(server_of(up), signal.SIGKILL)
        until(up.said, lambda text: "Prefect's server ended by itself; it is started again" in text, 20)
        until(lambda: answers_at(prefect), bool, 40)
        ended = prefect.ended(run, 90)
        assert ended["state_type"] == "COMPLETED", ended["state"]
        assert project.ids("raw_slow") == [1]
        run = prefect.start("long")
        until(lambda: prefect.run(run)["state_type"], lambda state: state == "RUNNING", 30)  # it was given the slot
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
    with project.up("--port", str(port), env=env, name="second") as up:
        up.ready()
        assert "long runs now: its last run was interrupted" in up.said()
        assert "minutely runs now" not in up.said(), "what is paused is not made up for"
        assert "plain runs now" not in up.said()
        assert prefect.run(run)["state_type"] == "CRASHED"
        assert prefect.deployment("minutely")["paused"], "what an operator paused stays so through a restart"
        assert [each["active"] for each in prefect.deployment("plain")["schedules"]] == [False]
        again = until(lambda: prefect.begun("long"), lambda runs: runs[-1]["state_type"] == "COMPLETED", 60)
        assert [each["state_type"] for each in again] == ["COMPLETED", "CRASHED", "COMPLETED"]
        assert up.end() == 0, up.said()
    assert len(project.ids("raw_slow")) == 2, "nothing is lost, nothing doubled"
    assert not _listens(port), "the server ended with it"


def server_of(up: Up) -> int:
    """The process that serves Prefect's API."""
    (found,) = [
        each for each in children(up.process.pid) if b"server_process" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]
    return found


def answers_at(prefect: PrefectApi) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{prefect.address}/api/health", timeout=5).ok
    return False


def _listens(port: int) -> bool:
    from engine.schedules.server import is_taken

    return is_taken(port)
