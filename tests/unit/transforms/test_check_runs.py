"""Checks in a run: a warning is told, a blocking failure is not published, both are remembered and shown."""

from __future__ import annotations

from typing import Any

import pytest

from engine.query import query
from engine.status import status
from engine.summary import summary

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("model runs"),
]
PRICES = (
    "SELECT table_name FROM duckdb_tables() "
    "WHERE schema_name = 'sqlmesh__marts' AND table_name LIKE '%fct_asset_prices%'"
)


def failed(project: Any) -> list[dict[str, Any]]:
    """What `engine status` shows of the checks."""
    [shown] = status(project._project())["checks"]
    assert shown["passed"] >= 5
    failures: list[dict[str, Any]] = shown["failed"]
    return failures


def test_a_blocking_check_keeps_the_run_from_being_published(project: Any) -> None:
    [(table,)] = project.query(PRICES)
    before = project.prices()
    project.write(
        f"INSERT INTO sqlmesh__marts.{table} SELECT * REPLACE (get_current_timestamp() AS _arrived_at) "
        f"FROM sqlmesh__marts.{table} WHERE asset_symbol = 'ETH'"
    )
    project.price("new", "7", hour=1)
    report = project.run()
    [transformed] = report.transforms
    assert transformed.status == "failed"
    assert report.status != "ok"
    assert "marts.fct_asset_prices: check key_sound failed for 1 row (duplicate key)" in transformed.error
    assert project.prices() == before
    assert transformed.error in summary(report).replace("\n", " ")
    [told] = [check for check in failed(project) if check["blocking"]]
    assert (told["model"], told["check"], told["status"], told["failed_rows"]) == (
        "marts.fct_asset_prices",
        "key_sound",
        "failed",
        1,
    )
    assert f'engine query --unpublished "{told["look"]}"' in transformed.remedy
    rows = query(project._warehouse(), told["look"], unpublished=True).rows
    assert len(rows) == 2
    assert query(project._warehouse(), told["look"]).rows == rows[:1]

    project.write(
        f"DELETE FROM sqlmesh__marts.{table} WHERE asset_symbol = 'ETH' "
        f"AND _arrived_at = (SELECT max(_arrived_at) FROM sqlmesh__marts.{table} WHERE asset_symbol = 'ETH')"
    )
    assert project.build().error is None
    assert project.prices() == [("BTC", "1", 0), ("BTC", "7", 1), ("ETH", "5", 0)]
    [told] = [check for check in failed(project) if check["blocking"]]
    assert told["status"] == "passed"  # and still shown: it failed within the last day
    assert told["failed_at"] < told["checked_at"]


def test_a_warning_is_told_and_remembered(project: Any) -> None:
    row = {"base_currency": "BTC", "open_time": "2026-05-01T01:00:00Z", "close_time": "2026-05-01T01:59:59Z",
           "open": "1", "high": "3", "low": "1", "close": "4"}  # fmt: skip
    project.deliver("candles_odd", [row])
    report = project.run()
    [transformed] = report.transforms
    told = "marts.fct_asset_candles: check ohlc_sane failed for 1 row (high is not the highest)"
    assert (transformed.error, report.status) == (None, "ok")
    assert told in transformed.warnings
    [check] = [check for check in failed(project) if check["check"] == "ohlc_sane"]
    assert (check["blocking"], check["status"], check["problem"]) == (False, "failed", "high is not the highest")
    assert project.query(f"SELECT close FROM ({check['look']})") == project.query(
        "SELECT close FROM marts.fct_asset_candles"
    )


def test_results_of_old_runs_go_and_failures_stay_for_a_week(project: Any) -> None:
    from datetime import UTC, datetime, timedelta

    from destinations.landing import CHECKED_RUNS

    start = datetime(2100, 1, 1, tzinfo=UTC)
    with project._warehouse() as warehouse:
        for run in range(2 * CHECKED_RUNS):
            at = start + timedelta(days=run / 4)
            rows = [("passed", 0), ("failed", 1)]
            warehouse.note_checks(
                [(f"run {run:03}", at, "m", audit, False, audit, count, "[]", None) for audit, count in rows]
            )
        warehouse.publish()
    kept = project.query(
        "SELECT status, count(*), epoch(max(checked_at) - min(checked_at)) / 86400 FROM landing._checks "
        "WHERE run_id LIKE 'run%' GROUP BY ALL ORDER BY ALL"
    )
    assert [(name, count) for name, count, _ in kept] == [("failed", 29), ("passed", CHECKED_RUNS)]
    assert kept[0][2] == 7
