"""Pipelines as flows on a real Prefect server: the same run, retried by its parts, with its page."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.faults.fake_api import Reply
from tests.schedules.conftest import Shop
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import SECRET, ServedProject, Up

pytestmark = pytest.mark.xdist_group("prefect")
Served = tuple[ServedProject, Up]


def test_a_run_is_a_task_for_each_source_and_destination_and_leaves_a_page(prefect: PrefectApi, served: Served) -> None:
    project, up = served
    run = prefect.ended(prefect.start("plain"))
    assert run["state_type"] == "COMPLETED", prefect.log(run["id"])
    tasks = prefect.tasks(run["id"])
    assert set(tasks) == {"extract assets", "extract steady", "load warehouse"}
    assert {task["state_type"] for task in tasks.values()} == {"COMPLETED"}
    assert {"tickhouse", "money"} <= set(run["tags"])
    assert project.ids("raw_steady")
    page = prefect.pages("plain")[0]
    assert "| steady.raw\\_steady | raw\\_steady | 1 | 0 |" in page
    assert re.search(r"\| warehouse \| [1-9]", page), page  # and what tests before this one landed
    asked = re.search(
        r"\| steady \| 1 \| (\d+) \| 1,000,000 \| ([\d,]+) \| [\d,]+ calls a month; the plan allows", page
    )
    assert asked is not None, page
    assert int(asked[1]) + int(asked[2].replace(",", "")) == 1_000_000
    assert f"({prefect.address}/runs/flow-run/{run['id']})".replace("(", "(<").replace(")", ">)") in page
    assert "[Board of runs](<http://127.0.0.1:3000/d/board?pipeline=plain>)" in page
    until(lambda: prefect.log(run["id"]), lambda text: "load warehouse" in text, 10)
    assert SECRET not in page + prefect.log(run["id"]) + up.said()
    said = [json.loads(line) for line in up.said().splitlines()]
    [run_id] = {line["run_id"] for line in said if line["run_id"] and line["run_id"] in page}
    ends = {line["step"]: line for line in said if line["run_id"] == run_id and line.get("event") == "end"}
    loaded = ends["load warehouse"]
    assert (loaded["rows"] >= 1, loaded["bytes"] > 0, loaded["seconds"] >= 0) == (True, True, True)
    assert (loaded["pipeline"], loaded["message"].partition(" ")[0]) == ("plain", str(loaded["rows"]))
    [closing] = [line for line in said if line["run_id"] == run_id and line.get("event") == "run_end"]
    assert (closing["status"], closing["exit_code"], closing["level"]) == ("ok", 0, "info")
    assert {"extract steady", "load warehouse"} <= {line.get("task") for line in said if line["run_id"] == run_id}
    assert f"[run {run_id}]" not in up.said()
    steps = [line for line in prefect.log(run["id"]).splitlines() if ": " in line and "extract " in line]
    assert steps
    assert all(f"[run {run_id}]" in line for line in steps), prefect.log(run["id"])


def test_a_source_that_failed_is_tried_again_alone(prefect: PrefectApi, served: Served, shop: tuple[Shop, str]) -> None:
    project, _ = served
    answers, _url = shop
    answers.failing["moody"] = [Reply([], {"token": SECRET}, 404), Reply([], {}, 404)]
    before = list(answers.asked)
    run = prefect.ended(prefect.start("mixed"))
    asked = answers.asked[len(before) :]
    assert run["state_type"] == "COMPLETED", prefect.log(run["id"])
    assert (asked.count("moody"), asked.count("steady")) == (3, 1), "the fault fired twice, the other source was left"
    tasks = prefect.tasks(run["id"])
    assert tasks["extract moody"]["run_count"] == 3
    assert tasks["extract steady"]["run_count"] == 1
    assert len(project.ids("raw_moody")) == 1


def test_a_failure_that_no_retry_mends_is_not_retried_and_the_others_are_loaded(
    prefect: PrefectApi, served: Served, shop: tuple[Shop, str]
) -> None:
    project, up = served
    answers, _url = shop
    answers.failing["moody"] = [Reply([], {}, 410)]
    before, held = len(answers.asked), len(project.ids("raw_steady"))
    run = prefect.ended(prefect.start("mixed"))
    assert answers.failing["moody"] == [], "the fault fired"
    assert [answers.asked[before:].count(name) for name in ("moody", "steady")] == [1, 1]
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"].startswith("exit code 1 (a retry may help), partial: ")
    assert "gone for good" in run["state"]["message"]
    # the server writes a task's state from a queue, a little later
    until(lambda: prefect.tasks(run["id"])["extract moody"]["state_type"], lambda state: state == "FAILED", 30)
    assert len(project.ids("raw_steady")) > held, "this run's row, and what a pipeline had landed that loads nothing"
    assert "gone for good" in prefect.pages("mixed")[0]
    until(up.runs, lambda left: not left, 30)
    until(lambda: prefect.log(run["id"]), lambda text: "gone for good" in text, 10)
    assert re.findall("Traceback|NoneType: None", up.said()) == []
    assert "unexpected exception" not in prefect.log(run["id"]) + up.said()


def test_a_configuration_error_is_not_retried(prefect: PrefectApi, served: Served) -> None:
    run = prefect.ended(prefect.start("mixed", profile="nowhere"))
    assert served
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"].startswith("exit code 2 (do not retry): ")
    assert "nowhere" in run["state"]["message"]
    assert run["run_count"] == 1
    assert prefect.tasks(run["id"]) == {}


def test_one_run_at_a_time(prefect: PrefectApi, served: Served, shop: tuple[Shop, str]) -> None:
    assert served
    answers, _url = shop
    answers.failing["slow"] = [Reply([{"id": 1, "name": "x"}], wire="trickle_head", pace=0.05)]
    runs = [prefect.start("long") for _ in range(2)]
    seen = until(
        lambda: sorted(prefect.run(run)["state_name"] for run in runs),
        lambda names: "AwaitingConcurrencySlot" in names and "Running" in names,
        30,
    )
    assert seen == ["AwaitingConcurrencySlot", "Running"]


def test_a_run_that_takes_too_long_is_stopped_and_what_was_landed_stays(
    prefect: PrefectApi, served: Served, shop: tuple[Shop, str]
) -> None:
    project, up = served
    answers, _url = shop
    packages = list((project.data / "lake" / "prompt").rglob("manifest.json"))
    answers.failing["lame"] = [Reply([{"id": 1, "name": "x"}], wire="trickle", pace=1)]
    run = prefect.ended(prefect.start("brief"))
    assert answers.failing["lame"] == [], "the fault fired"
    assert (run["state_type"], run["state_name"]) == ("FAILED", "TimedOut")
    assert 5 < run["total_run_time"] < 20
    assert len(list((project.data / "lake" / "prompt").rglob("manifest.json"))) == len(packages) + 1
    limit = until(
        lambda: prefect.deployment("brief")["global_concurrency_limit"], lambda one: not one["active_slots"], 20
    )
    assert limit["limit"] == 1
    until(up.runs, lambda left: not left, 30)
    assert "Flow run exceeded timeout of 6.0 second(s)" in up.said()
    assert "Traceback" not in up.said()


@pytest.mark.chaos
def test_a_schedule_fires_on_its_minute_by_itself(prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path) -> None:
    project = ServedProject(tmp_path / "project", shop[1])
    project.source("calm")
    project.pipeline("punctual", "calm", schedule="* * * * *", load=[])
    project.write()
    with project.up(env={"PREFECT_API_URL": f"{prefect.address}/api"}) as up:
        up.ready()
        runs = until(lambda: [run for run in prefect.begun("punctual") if run["end_time"]], bool, 100)
    first = runs[0]
    assert first["auto_scheduled"]
    assert first["state_type"] == "COMPLETED", prefect.log(first["id"])
    due, began = (datetime.fromisoformat(first[key]) for key in ("expected_start_time", "start_time"))
    assert due.second == 0
    assert timedelta(seconds=-1) < began - due < timedelta(seconds=30)


def test_metrics_are_served_beside_the_schedules(served: Served) -> None:
    project, _ = served
    port = project.document["profiles"]["local"]["metrics"]["port"]
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20)
    assert answer.ok
    assert 'tickhouse_schedule_interval_seconds{pipeline="plain"} 300.0' in answer.text, answer.text
