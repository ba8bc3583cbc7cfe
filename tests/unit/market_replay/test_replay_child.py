"""The replay as a child process: it answers, and it never outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from engine.errors import TickhouseError
from sources.market_replay import child

PARENT = """
import sys, time
from sources.market_replay.child import replay_process
with replay_process() as url:
    print(url, flush=True)
    time.sleep(60)
"""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_control/clock", timeout=5) as answer:  # noqa: S310 - loopback
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def test_it_serves_and_ends_with_the_block() -> None:
    with child.replay_process() as url:
        assert answers(url)
    assert not answers(url)


def test_it_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert answers(url)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)


def test_what_keeps_it_from_starting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        pytest.raises(TickhouseError, match="the market replay did not start: it says nothing"),
        child.replay_process(),
    ):
        pytest.fail("it cannot have started")
