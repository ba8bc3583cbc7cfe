"""Snapshots: files that are written to meanwhile, and what may come back."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from engine.backup import snapshot
from engine.errors import TickhouseError

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "state"
    (folder / "plans").mkdir(parents=True)
    (folder / "plans" / "daily.json").write_text('{"a": 1}')
    (folder / "produced.lock").touch()
    (folder / "rebuilding-warehouse").touch()
    (folder / "trino-warehouse.writer.machine").touch()
    (folder / "project-id").write_text("0123456789ab\n")
    (folder / "sqlmesh-cache").mkdir()
    (folder / "sqlmesh-cache" / "x").touch()
    with closing(sqlite3.connect(folder / "runs.sqlite")) as db, db:
        db.execute("CREATE TABLE runs (n INTEGER)")
        db.execute("INSERT INTO runs VALUES (1)")
    with duckdb.connect(str(folder / "sqlmesh-warehouse.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    return folder


def taken(state: Path, backup: Path, at: datetime = NOW) -> list[str]:
    return snapshot.write(backup, at, "local", {"raw_orders": 3}, snapshot.state_files(state))


def test_what_is_of_this_machine_only_is_left_out(state: Path, tmp_path: Path) -> None:
    assert taken(state, tmp_path / "backup") == []
    found = snapshot.newest(tmp_path / "backup")
    assert found is not None
    assert set(found[1].files) == {
        "state/plans/daily.json",
        "state/runs.sqlite",
        "state/sqlmesh-warehouse.duckdb",
    }
    assert found[1].lake == {"raw_orders": 3}


def test_a_database_with_an_uncommitted_write_is_copied_as_it_was_committed(state: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(state / "runs.sqlite")) as db:
        db.execute("INSERT INTO runs VALUES (2)")  # a transaction that is still open
        assert taken(state, tmp_path / "backup") == []
    folder, _ = snapshot.newest(tmp_path / "backup") or (Path(), None)
    with closing(sqlite3.connect(folder / "state" / "runs.sqlite")) as db:
        assert db.execute("SELECT n FROM runs").fetchall() == [(1,)]


def test_a_duckdb_that_is_open_with_a_log_is_copied_with_what_was_committed(state: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(state / "sqlmesh-warehouse.duckdb")) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert (state / "sqlmesh-warehouse.duckdb.wal").exists()
        assert taken(state, tmp_path / "backup") == []
    folder, _ = snapshot.newest(tmp_path / "backup") or (Path(), None)
    assert [path.name for path in (folder / "state").glob("*.wal")] == []
    with duckdb.connect(str(folder / "state" / "sqlmesh-warehouse.duckdb"), read_only=True) as copied:
        assert copied.sql("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,)]


def test_a_duckdb_that_is_written_to_all_the_while_is_left_out_and_told(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "TRIES", 5)
    monkeypatch.setattr(snapshot, "PAUSE_SECONDS", 0.01)
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.005):
            (state / "sqlmesh-warehouse.duckdb").touch()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        notes = taken(state, tmp_path / "backup")
    finally:
        ended.set()
        writer.join()
    assert len(notes) == 1
    assert "sqlmesh-warehouse.duckdb is not in this backup: a run was writing to it" in notes[0]
    found = snapshot.newest(tmp_path / "backup")
    assert found is not None
    assert "state/sqlmesh-warehouse.duckdb" not in found[1].files


def test_a_snapshot_that_died_is_none_and_the_newest_few_are_kept(state: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    half = backup / "snapshots" / ".making-20990101T000000000000Z"
    half.mkdir(parents=True)
    (half / "snapshot.json").write_text("{}")
    assert snapshot.newest(backup) is None
    for day in range(snapshot.KEPT + 2):
        taken(state, backup, NOW + timedelta(days=day))
    assert not half.exists()
    names = sorted(path.name for path in (backup / "snapshots").iterdir())
    assert len(names) == snapshot.KEPT
    found = snapshot.newest(backup)
    assert found is not None
    assert found[0].name == names[-1] == f"{NOW + timedelta(days=snapshot.KEPT + 1):%Y%m%dT%H%M%S%fZ}"


def test_only_what_is_missing_comes_back(state: Path, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")
    found = snapshot.newest(tmp_path / "backup")
    assert found is not None
    (state / "runs.sqlite").unlink()
    (state / "plans" / "daily.json").write_text("newer")
    back, kept = snapshot.put_back(*found, state)
    assert back == ["runs.sqlite"]
    assert kept == ["plans/daily.json", "sqlmesh-warehouse.duckdb"]
    assert (state / "plans" / "daily.json").read_text() == "newer"
    with closing(sqlite3.connect(state / "runs.sqlite")) as db:
        assert db.execute("SELECT n FROM runs").fetchall() == [(1,)]


def test_a_copy_elsewhere_is_another_owner_of_deployments(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "IDENTITY", "")  # as earlier versions wrote them
    taken(state, tmp_path / "backup")
    monkeypatch.undo()
    found = snapshot.newest(tmp_path / "backup")
    assert found is not None
    assert "state/project-id" in found[1].files
    back, kept = snapshot.put_back(*found, tmp_path / "copy" / "state")
    assert (len(back), kept) == (3, [])
    assert not (tmp_path / "copy" / "state" / "project-id").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "newer Tickhouse .version 2"),
        ({"files": {"state/../../evil": "0"}}, "outside of the state"),
        ({"files": {"state/plans/gone.json": "0"}}, "missing or was changed"),
        ({"unheard": 1}, "cannot be read"),
    ],
)
def test_what_cannot_be_right_is_refused(state: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    taken(state, tmp_path / "backup")
    folder, _ = snapshot.newest(tmp_path / "backup") or (Path(), None)
    record = json.loads((folder / snapshot.NAME).read_text())
    (folder / snapshot.NAME).write_text(json.dumps(record | change))
    with pytest.raises(TickhouseError, match=message):  # noqa: PT012 - either step may refuse
        found = snapshot.newest(tmp_path / "backup")
        assert found is not None
        snapshot.put_back(*found, tmp_path / "new")
    assert not (tmp_path / "evil").exists()
