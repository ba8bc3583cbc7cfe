"""A run that comes due while a backfill, or a run by hand, has its pipeline: it waits, and is no failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.locks import hold
from tests.schedules.prefect_api import PrefectApi, until
from tests.schedules.served_project import ServedProject, Up
from tests.schedules.test_missed_times import waiting

pytestmark = pytest.mark.xdist_group("prefect")
Served = tuple[ServedProject, Up]
WAITS = "AwaitingConcurrencySlot"


def looks_now(prefect: PrefectApi, run: str) -> dict[str, Any]:
    """Have a run that waits look again at once, not in half a minute; how it ended."""
    now = {"type": "SCHEDULED", "name": WAITS, "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    prefect.ask(f"flow_runs/{run}/set_state", {"state": now, "force": True})
    return prefect.ended(run)


def test_a_run_waits_for_a_pipeline_that_somebody_else_runs(prefect: PrefectApi, served: Served) -> None:
    project, up = served
    with hold(project.data / "locks" / "pipeline-queued.lock", "pipeline queued"):
        run = prefect.start("queued")
        waiting = until(lambda: prefect.run(run), lambda seen: seen["state_name"] == WAITS and seen["run_count"], 40)
        assert waiting["state"]["message"].startswith("pipeline queued is busy: process ")
        assert datetime.fromisoformat(waiting["next_scheduled_start_time"]) > datetime.now(UTC) + timedelta(seconds=15)
        limit = prefect.deployment("queued")["global_concurrency_limit"]
        assert limit["active_slots"] == 0, "whoever comes due meanwhile may look for itself"
        until(up.runs, lambda left: not left, 20)
        assert (waiting["state_type"], prefect.run(run)["state_name"]) == ("SCHEDULED", WAITS)
    ended = looks_now(prefect, run)
    assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 2), prefect.log(run)
    assert set(prefect.tasks(run)) == {"extract assets", "extract steady"}
    said = until(lambda: prefect.log(run), lambda text: "extract steady" in text, 10)
    assert "pipeline queued: waiting up to 10 s: process " in said
    assert "this run waits, and looks again in 30 s" in said
    assert "is paused" not in said + up.said()


@pytest.mark.chaos
def test_what_comes_due_meanwhile_is_one_run_in_the_end(prefect: PrefectApi, served: Served) -> None:
    project, up = served
    now = datetime.now(UTC)

    def one_waits(others: set[str]) -> set[str]:
        """The run that waits; nobody else does, nor is under way, nor failed."""

        def alone(seen: list[dict[str, Any]]) -> bool:
            return len(seen) == 1 and seen[0]["state_name"] == WAITS and seen[0]["run_count"] > 0

        def look() -> list[dict[str, Any]]:
            left = set(waiting(prefect, "queued"))
            going = [run for run in prefect.begun("queued") if not run["end_time"]]
            return [run for run in prefect.runs("queued") if run["id"] in left | {each["id"] for each in going}]

        seen = until(look, lambda seen: alone(seen) and seen[0]["id"] not in others, 60)
        return {run["id"] for run in seen}

    with hold(project.data / "locks" / "pipeline-queued.lock", "pipeline queued"):
        ended = prefect.states("queued")["FAILED"]
        prefect.make_due("queued", now - timedelta(days=9), now - timedelta(days=5), 4)
        first = one_waits(set())
        prefect.make_due("queued", now - timedelta(days=4), now, 4)
        [last] = one_waits(first)
        assert prefect.states("queued")["FAILED"] == ended
        until(up.runs, lambda left: not left, 20)
    assert looks_now(prefect, last)["state_type"] == "COMPLETED"
    assert waiting(prefect, "queued") == []
