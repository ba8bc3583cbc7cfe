import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import ledger as module
from engine.errors import TickhouseError
from engine.ledger import Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_empty_ledger_has_no_runs_and_makes_no_file(tmp_path):
    assert Ledger(tmp_path).last() == []
    assert not list(tmp_path.iterdir())


def test_a_run_is_remembered_with_its_report(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.start("r1", "prices", START)
    assert [run.status for run in ledger.last("prices")] == ["running"]
    ledger.finish("r1", START + timedelta(seconds=3), "ok", {"failures": []})
    (run,) = ledger.last("prices")
    assert (run.run_id, run.status, run.report) == ("r1", "ok", {"failures": []})
    assert ledger.last("other") == []


def test_old_runs_of_a_pipeline_are_forgotten_and_others_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEEP_RUNS", 3)
    ledger = Ledger(tmp_path)
    ledger.start("other", "b", START)
    ledger.finish("other", START, "ok", {})
    for number in range(6):
        at = START + timedelta(minutes=number)
        ledger.start(f"r{number}", "a", at)
        ledger.finish(f"r{number}", at, "ok", {})
    assert [run.run_id for run in ledger.last("a")] == ["r5", "r4", "r3"]
    assert [run.run_id for run in ledger.last("b")] == ["other"]


def many(ledger: Ledger, count: int, status: str, *, backfill: bool = False, first: int = 1) -> None:
    for number in range(first, first + count):
        at = START + timedelta(minutes=number)
        ledger.start(f"{status}{number}", "a", at, backfill=backfill)
        ledger.finish(f"{status}{number}", at, status, {})


def test_the_last_success_is_kept_however_many_runs_failed_since(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEEP_RUNS", 3)
    ledger = Ledger(tmp_path)
    many(ledger, 2, "ok")
    many(ledger, 6, "failed", first=3)
    assert [run.run_id for run in ledger.last("a")] == ["failed8", "failed7", "failed6", "ok2"]
    standing = ledger.standing("a")
    assert (standing.ok_at, standing.failed_in_a_row) == ((START + timedelta(minutes=2)).isoformat(), 3)
    many(ledger, 1, "ok", first=9)
    assert [run.run_id for run in ledger.last("a")] == ["ok9", "failed8", "failed7"]


def test_the_last_runs_that_bring_what_is_new_outlive_backfills(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEEP_RUNS", 2)
    ledger = Ledger(tmp_path)
    many(ledger, 1, "ok")
    many(ledger, 1, "failed", first=2)
    ledger.start("died", "a", START + timedelta(minutes=3))
    many(ledger, 4, "ok", backfill=True, first=10)
    assert [run.run_id for run in ledger.last("a")] == ["ok13", "ok12", "died", "failed2", "ok1"]
    standing = ledger.standing("a")
    assert (standing.started_at, standing.status) == ((START + timedelta(minutes=3)).isoformat(), "died")
    assert (standing.ended.run_id, standing.failed_in_a_row) == ("ok13", 2)
    assert standing.ok_at == (START + timedelta(minutes=1)).isoformat()


def test_questions_about_a_pipeline_read_its_runs_alone(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    many(ledger, 1, "ok")
    asked = []

    def traced(*args, **options):
        db = connect(*args, **options)
        db.set_trace_callback(asked.append)
        return db

    connect = sqlite3.connect
    monkeypatch.setattr(module.sqlite3, "connect", traced)
    ledger.last("a", 1)
    ledger.standing("a")
    with closing(connect(tmp_path / "state" / "runs.sqlite")) as db:
        read = [sql for sql in asked if sql.startswith("SELECT")]
        plans = [[step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {sql}")] for sql in read]
    assert len(plans) == 5
    assert [step for plan in plans for step in plan if "runs" in step and "runs_of_pipeline" not in step] == []


def test_a_ledger_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runs.sqlite").write_text("no database, " * 100, encoding="utf-8")
    with pytest.raises(TickhouseError, match=r"the list of runs .*runs\.sqlite cannot be used"):
        Ledger(tmp_path).last()


def asked(source: str, requests: int) -> dict:
    """A report of a run whose one resource sent this many requests."""
    resource = {"source": source, "resource": "r", "status": "landed", "rows": 2, "quarantined": 0, "bytes": 9}
    return {"resources": [{**resource, "requests": requests, "retries": 0, "waited_seconds": 0.0, "seconds": 1.0}]}


def test_what_a_run_had_done_when_it_died_is_counted_once(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.start("r1", "a", START)
    ledger.note("r1", asked("coins", 7))
    assert ledger.requests_since(START.date()) == {"coins": 7}
    assert ledger.requests_since(START.date() + timedelta(days=1)) == {}
    assert ledger.totals() == {}
    ledger.start("r2", "a", START + timedelta(days=40))
    ledger.note("r2", asked("coins", 5))
    assert ledger.requests_since(START.date()) == {"coins": 12}
    ledger.finish("r2", START + timedelta(days=40), "ok", asked("coins", 6))
    assert ledger.requests_since(START.date()) == {"coins": 13}
    assert ledger.requests_since(START.date() + timedelta(days=1)) == {"coins": 6}
    assert ledger.totals()["tickhouse_source_requests_total", (("source", "coins"),)] == 13
    assert ledger.totals()["tickhouse_runs_total", (("pipeline", "a"), ("status", "died"))] == 1


def test_the_end_of_a_run_is_noted_once(tmp_path):
    """As where it leaves in mid-step, and was just done."""
    ledger = Ledger(tmp_path)
    ledger.start("r1", "a", START)
    ledger.finish("r1", START, "ok", asked("coins", 4))
    ledger.finish("r1", START, "stopped", asked("coins", 4))
    ledger.note("r1", {})
    assert [(run.status, run.report) for run in ledger.last("a")] == [("ok", asked("coins", 4))]
    assert ledger.requests_since(START.date()) == {"coins": 4}
