"""Little memory, a slow disk, runs that take longer than their interval, and a retry beside the first try."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from destinations.session import LEAST_SPACE
from tests.faults.fake_clock import clock_env
from tests.faults.small_project import ENGINE, SMALL, SmallProject, clear, small_project
from tests.faults.test_resources import PEAK

pytestmark = pytest.mark.faults
FSYNC_SECONDS = 0.3


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    """Loaded once."""
    made = small_project(tmp_path)
    made.orders(1)
    assert made.run().failures == []
    return made


def slow_disk() -> list[str]:
    """Each fsync of the command that follows takes so long."""
    injected = f"inject=fsync,fdatasync:delay_enter={int(FSYNC_SECONDS * 1e6)}:when=1+"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", injected, "--"]


def started(shop: SmallProject, *words: str, wrap: list[str], **env: str) -> subprocess.Popen[str]:
    """Start the command and go on."""
    environment = {**os.environ, "COLUMNS": "200", **env}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*wrap, ENGINE, *words], cwd=shop.folder, env=environment, **pipes)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(shop: SmallProject) -> list[tuple[str, str, str]]:
    """Beginning, end and status of each run, the first one first."""
    with sqlite3.connect(shop.data / "state" / "runs.sqlite") as ledger:
        return ledger.execute("SELECT started_at, ended_at, status FROM runs ORDER BY started_at").fetchall()


def overlapping(shop: SmallProject) -> list[object]:
    return [(a, b) for a, b in pairwise(runs(shop)) if a[1] is None or b[0] < a[1]]


@pytest.mark.parametrize("kind", ["ducklake", "duckdb"])
def test_little_memory_against_a_backlog(tmp_path: Path, kind: str) -> None:
    """R05, the small one: 60 MB of packages wait. Too little says so; the least that is asked for is enough."""
    shop = SmallProject(tmp_path)
    path = "warehouse" if kind == "ducklake" else "warehouse/one.duckdb"
    shop.write(SMALL.replace("type: ducklake, path: warehouse", f"type: {kind}, path: {path}"))
    for number in range(4):
        rows = range(1500 * number, 1500 * (number + 1))
        shop.deliver(f"orders{number}", [{"id": n, "price": "1.5", "note": os.urandom(10_000).hex()} for n in rows])
        assert shop.run("land").failures == []
    ended = shop.engine("run", "daily", wrap=["prlimit", f"--as={1 << 30}", "--"])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "memory", "ulimit -v") == []
    ended = shop.engine("run", "daily", wrap=["prlimit", f"--as={LEAST_SPACE}", "--", sys.executable, "-c", PEAK])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert int(ended.stderr.rsplit("peak kB ", 1)[1]) < 1 << 20
    assert len(shop.ids()) == len(set(shop.ids())) == 6000


def test_runs_that_take_longer_than_their_interval(tmp_path: Path) -> None:
    """R12: on one core, by a clock that goes a thousand times as fast: never two at once, none is queued up."""
    shop = SmallProject(tmp_path)
    shop.write(SMALL.replace("daily: {", 'daily: {schedule: "*/5 * * * *", '))
    shop.orders(1)
    fast = {**clock_env(), "FAKETIME": "+0 x1000"}
    repeated = started(shop, "run", "daily", "--repeat", wrap=["taskset", "-c", "0"], **fast)
    for number in (2, 3):
        until((shop.data / "state" / "runs.sqlite").exists)
        done = len(runs(shop))
        shop.orders(number)
        until(lambda done=done: len(runs(shop)) > done + 1)
    repeated.send_signal(signal.SIGTERM)
    text, _ = repeated.communicate(timeout=60)
    assert "took longer than its interval" in text, text
    ended = [run for run in runs(shop) if run[2] == "ok"]
    assert len(ended) >= 3, text
    assert overlapping(shop) == []
    assert shop.run().failures == []
    assert shop.ids() == [n * 10 + i for n in (1, 2, 3) for i in range(3)]


@pytest.mark.parametrize("first", ["goes on", "is killed"])
def test_a_retry_beside_the_first_try_on_a_slow_disk(shop: SmallProject, first: str) -> None:
    """R07, X10: a run takes its time, so the orchestrator tries again, while it goes on or once it killed it."""
    shop.orders(2)
    began = time.monotonic()
    trying = started(shop, "run", "daily", wrap=slow_disk())
    until(lambda: runs(shop)[-1][2] == "running")
    beside = shop.engine("run", "daily")
    assert beside.returncode == 1
    assert clear(beside.stderr, "pipeline daily is busy", "--wait") == []
    retry = started(shop, "run", "daily", "--wait", "60", wrap=[])
    if first == "is killed":
        holder = json.loads((shop.data / "locks" / "pipeline-daily.lock").read_text())
        os.kill(holder["pid"], signal.SIGKILL)
    text, _ = trying.communicate(timeout=120)
    assert trying.returncode == (0 if first == "goes on" else -signal.SIGKILL), text
    assert time.monotonic() - began > 3 * FSYNC_SECONDS, "no fsync was slow"
    text, _ = retry.communicate(timeout=120)
    assert retry.returncode == 0, text
    assert [run[2] for run in runs(shop)] == ["ok", "ok" if first == "goes on" else "died", "ok"]
    assert first == "is killed" or "holds pipeline daily" in text, "it did not wait for the first one"
    assert shop.run().failures == []
    assert shop.ids() == [10, 11, 12, 20, 21, 22]
