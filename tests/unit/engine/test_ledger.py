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


def test_a_ledger_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runs.sqlite").write_text("no database, " * 100, encoding="utf-8")
    with pytest.raises(TickhouseError, match=r"the list of runs .*runs\.sqlite cannot be used"):
        Ledger(tmp_path).last()
