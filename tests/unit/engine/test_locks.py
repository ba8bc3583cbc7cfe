import errno
import multiprocessing
import os
import signal
import subprocess
import time
from types import SimpleNamespace
from unittest import mock

import pytest

from engine.errors import BusyError
from engine.locks import hold, is_held
from engine.schedules.up import up


def _hold_until_killed(path, ready):
    with hold(path, "pipeline x"):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold_until_killed, args=(tmp_path / "a.lock", ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_holder_is_refused_with_the_first_ones_pid(tmp_path, holder):
    with pytest.raises(BusyError) as refused, hold(tmp_path / "a.lock", "pipeline x"):
        pass
    assert f"process {holder.pid}" in refused.value.reason
    assert "pipeline x is busy" in refused.value.reason
    assert "--wait" in refused.value.remedy


def test_a_dead_holders_lock_is_free_at_once(tmp_path, holder):
    assert is_held(tmp_path / "a.lock")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not is_held(tmp_path / "a.lock")
    with hold(tmp_path / "a.lock", "pipeline x"):
        assert is_held(tmp_path / "a.lock")


def test_a_lock_file_that_names_a_living_stranger_does_not_hold(tmp_path):
    stranger = subprocess.Popen(["sleep", "30"])
    try:
        (tmp_path / "a.lock").write_text(f'{{"pid": {stranger.pid}, "since": "2026-01-01T00:00:00"}}')
        with hold(tmp_path / "a.lock", "pipeline x"):
            pass
    finally:
        stranger.kill()
        stranger.wait()


def test_waiting_ends_when_the_holder_lets_go(tmp_path, holder):
    started = time.monotonic()
    timer = multiprocessing.get_context("spawn").Process(target=_kill_later, args=(holder.pid,))
    timer.start()
    with hold(tmp_path / "a.lock", "pipeline x", wait_seconds=30):
        assert time.monotonic() - started < 30
    timer.join()


def _kill_later(pid):
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)


def test_a_planted_symlink_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"), hold(tmp_path / "a.lock", "pipeline x"):
        pass
    assert (tmp_path / "target").read_text() == "precious"


def test_waiting_is_said_once_and_only_when_there_is_something_to_wait_for(tmp_path, holder):
    said = []
    with hold(tmp_path / "free.lock", "pipeline y", wait_seconds=5, waiting=said.append):
        pass
    assert said == []
    with pytest.raises(BusyError), hold(tmp_path / "a.lock", "pipeline x", wait_seconds=1.5, waiting=said.append):
        pass
    [line] = said
    assert line.startswith(f"waiting up to 2 s: process {holder.pid} (since ")
    assert line.endswith("holds pipeline x")


def test_a_second_engine_up_is_told_what_it_can_do(tmp_path, holder):
    project = SimpleNamespace(
        file=SimpleNamespace(pipelines={"daily": None}), data_dir=tmp_path, path=tmp_path / "p.yaml", profile_name="x"
    )
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "up.lock").hardlink_to(tmp_path / "a.lock")
    with mock.patch.dict(os.environ), pytest.raises(BusyError) as refused:
        up(project, 4200, "x", print, lambda: project)
    assert f"`engine up` of {tmp_path} is busy: process {holder.pid} " in refused.value.reason
    assert refused.value.remedy.startswith("One runs all pipelines of a data folder")


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path, monkeypatch):
    """What is told of it is told under one."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with hold(tmp_path / "a.lock", "pipeline x"):
        assert is_held(tmp_path / "a.lock")
        with pytest.raises(BusyError, match="another process holds it"), hold(tmp_path / "a.lock", "pipeline x"):
            pass
