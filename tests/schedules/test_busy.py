"""A run that comes due while a backfill, or a run by hand, has its pipeline: it waits, and is no failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.locks import hold
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import ServedProject, Up

pytestmark = pytest.mark.xdist_group("prefect")
Served = tuple[ServedProject, Up]
WAITS = "AwaitingConcurrencySlot"


def test_a_run_waits_for_a_pipeline_that_somebody_else_runs(prefect: PrefectApi, served: Served) -> None:
    project, up = served
    rows = len(project.ids("raw_steady"))
    with hold(project.data / "locks" / "pipeline-mixed.lock", "pipeline mixed"):
        run = prefect.start("mixed")
        waiting = until(lambda: prefect.run(run), lambda seen: seen["state_name"] == WAITS and seen["run_count"], 40)
        assert waiting["state"]["message"].startswith("pipeline mixed is busy: process ")
        assert datetime.fromisoformat(waiting["next_scheduled_start_time"]) > datetime.now(UTC) + timedelta(seconds=30)
        limit = prefect.deployment("mixed")["global_concurrency_limit"]
        assert limit["active_slots"] == 0, "whoever comes due meanwhile may look for itself"
        until(up.runs, lambda left: not left, 20)
        assert (waiting["state_type"], prefect.run(run)["state_name"]) == ("SCHEDULED", WAITS)
    now = {"type": "SCHEDULED", "name": WAITS, "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    prefect.ask(f"flow_runs/{run}/set_state", {"state": now, "force": True})  # the test need not wait for a minute
    ended = prefect.ended(run)
    assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 2), prefect.log(run)
    assert len(project.ids("raw_steady")) == rows + 1
    said = until(lambda: prefect.log(run), lambda text: "load warehouse" in text, 10)
    assert "this run waits, and looks again in 60 s" in said
    assert "is paused" not in said + up.said()
