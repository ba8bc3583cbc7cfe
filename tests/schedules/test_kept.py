"""What a Prefect server of our own keeps, and for how long: its runs and its log."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest
from prefect.settings import Settings

from engine.schedules import server
from engine.schedules.settings import KEEP_DAYS, own_server


def test_runs_their_logs_and_pages_and_events_are_kept_for_a_time(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ, own_server(tmp_path, 4200)):
        settings = Settings().server
    vacuum = settings.services.db_vacuum
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period == timedelta(days=KEEP_DAYS)
    assert settings.services.event_persister.enabled
    assert settings.events.retention_period == timedelta(days=7)


def test_the_log_begins_anew_when_it_is_large_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOG_BYTES", 10)
    log, before = tmp_path / "server.log", tmp_path / "server.log.1"
    server.bound(log)
    assert not log.exists()
    with log.open("ab", buffering=0) as writing:  # as the server has it
        writing.write(b"a" * 10)
        server.bound(log)
        assert not before.exists()
        writing.write(b"b")
        server.bound(log)
        assert (log.read_bytes(), before.read_bytes()) == (b"", b"a" * 10 + b"b")
        writing.write(b"c" * 11)
        server.bound(log)
        writing.write(b"d")
    assert (log.read_bytes(), before.read_bytes()) == (b"d", b"c" * 11)


def test_a_server_that_runs_has_its_log_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOG_BYTES", 10)
    watched = server.LocalServer(tmp_path, 4200, print)
    looks = iter([False, True])
    monkeypatch.setattr(watched._ending, "wait", lambda _seconds: next(looks))
    (tmp_path / "server.log").write_bytes(b"x" * 11)
    watched._watch()
    assert (tmp_path / "server.log").read_bytes() == b""
