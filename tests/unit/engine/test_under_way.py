"""What a run asked of an API counts, however the run ends: the month's quota is spent."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import under_way
from engine.config.load import load_project
from engine.ledger import Ledger
from engine.progress import Silent
from engine.run import Runner
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.unit.engine.test_stop import PIPELINES


@pytest.fixture
def api(tmp_path):
    """An API that calls `answering` with each request; yields how to set it."""
    calls = []

    def script(asked: Asked) -> Reply:
        calls[-1](asked.path)
        return Reply([{"price": "1.5"}])

    with FakeApi(tmp_path / "asked.jsonl", script) as running:
        (tmp_path / "pipelines.yaml").write_text(PIPELINES.format(url=running.url))
        yield calls.append


def sent(tmp_path) -> int:
    return Ledger(tmp_path / ".data").requests_since(datetime.now(UTC).date().replace(day=1)).get("market", 0)


def test_a_killed_run_counts_what_it_asked(tmp_path, api):
    runs = []

    def answering(path: str) -> None:
        if path == "/third":
            runs[0].kill()
            runs[0].wait()
        else:
            time.sleep(under_way.EVERY_SECONDS)

    api(answering)
    command = [Path(sys.executable).with_name("engine"), "run", "one", "-f", tmp_path / "pipelines.yaml"]
    runs.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    runs[0].wait()
    killed = sent(tmp_path)
    assert killed >= 2
    api(lambda _: None)
    project = load_project(tmp_path / "pipelines.yaml", env={})
    Runner(project, Silent()).run("one")
    ledger = Ledger(tmp_path / ".data")
    assert [run.status for run in ledger.last("one")] == ["ok", "died"]
    assert sent(tmp_path) == killed + 3
    assert ledger.totals()["tickhouse_source_requests_total", (("source", "market"),)] == killed + 3
    landed = (("pipeline", "one"), ("resource", "first"), ("source", "market"))
    assert ledger.totals()["tickhouse_landed_rows_total", landed] == 2


def test_a_run_that_is_killed_in_a_long_wait_counts_all_that_it_asked_before(tmp_path, api):
    """Three calls within a moment, then nothing moves: a slow API, a load, models."""
    runs = []

    def answering(path: str) -> None:
        if path == "/third":
            time.sleep(2 * under_way.EVERY_SECONDS)
            runs[0].kill()
            runs[0].wait()

    api(answering)
    command = [Path(sys.executable).with_name("engine"), "run", "one", "-f", tmp_path / "pipelines.yaml"]
    runs.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    runs[0].wait()
    assert sent(tmp_path) == 3
    (run,) = Ledger(tmp_path / ".data").last("one")
    assert [r["rows"] for r in run.report["resources"] if r["source"] == "market"] == [1, 1, 0]


def test_a_run_that_leaves_in_mid_step_counts_what_it_asked(tmp_path, api, monkeypatch):
    """As a scheduler ends one, or a second Ctrl-C."""
    monkeypatch.setattr(under_way, "EVERY_SECONDS", 0.01)
    runner = Runner(load_project(tmp_path / "pipelines.yaml", env={}), Silent())

    def answering(path: str) -> None:
        if path == "/second":
            runner._note_stopped()

    api(answering)
    runner.run("one")
    (run,) = Ledger(tmp_path / ".data").last("one")
    assert run.status == "stopped"
    first, second = (r for r in run.report["resources"] if r["source"] == "market")
    assert (first["status"], first["rows"], first["requests"]) == ("landed", 1, 1)
    assert (second["rows"], second["requests"]) == (0, 1)
    assert sent(tmp_path) == 2
