"""What DuckDB, SQLite and the operating system say, as one clear error each."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import Error, errors

from destinations import postgres_failures
from destinations.failures import explain
from destinations.links import link
from destinations.postgres import PostgresDestination
from engine.errors import EXIT_USAGE, DestinationError

SAID = {
    'IO Error: Could not set lock on file "/x/w.duckdb": Conflicting lock is held in /usr/bin/python3.11 (PID 4711).': (
        r"duckdb warehouse .*w.duckdb cannot be opened: process 4711 \(python3.11\) holds its lock"
    ),
    "TransactionContext Error: Failed to commit: database is locked": "another process holds its lock",
    "[Errno 28] No space left on device: '/x/data'": "no space left on the disk",
    "Failed to commit: database or disk is full": "no space left on the disk",
    "Out of Memory Error: could not allocate block of size 256.0 KiB": "not enough memory",
    "TransactionContext Error: Failed to commit: Failed to re-allocate block of 33554432 bytes (bad allocation)": (
        "not enough memory"
    ),
    "IO Error: The file is not a valid DuckDB database file!": "is damaged|are damaged|damaged",
    "TProtocolException: Invalid data": "one of its files is damaged: TProtocol",
    'Invalid Input Error: Failed to read file "/x/a": ZSTD Decompression failure': "one of its files is damaged",
    "[Errno 13] Permission denied: '/x/data'": "cannot be written: .*Permission denied",
    "Binder Error: something new\n\nLINE 1: ...": "something new",
}


@pytest.mark.parametrize("said", SAID)
def test_each_failure_has_a_reason_and_a_remedy(said: str) -> None:
    error = explain("warehouse", "duckdb", Path("/x/w.duckdb"), said)
    assert error.destination == "warehouse"
    assert error.reason.startswith("warehouse: ")
    assert error.remedy
    assert "LINE 1" not in str(error)
    with pytest.raises(type(error), match=SAID[said]):
        raise error


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (errors.CheckViolation, "a constraint or an index of yours", "DROP CONSTRAINT"),
        (errors.UniqueViolation, "a constraint or an index of yours", "DROP INDEX"),
        (errors.RaiseException, "a trigger of yours", "DROP TRIGGER"),
    ],
)
def test_what_somebody_has_built_on_landing_is_told_as_theirs(error: type[Error], reason: str, remedy: str) -> None:
    told = postgres_failures.explain("store", "PostgreSQL at h:1/x", error("new row violates what is there"))
    assert reason in told.reason
    assert "new row violates" in told.reason
    assert remedy in told.remedy


def test_a_dsn_that_libpq_cannot_read_is_a_mistake_of_the_file() -> None:
    with pytest.raises(DestinationError, match="its dsn cannot be read") as raised:
        PostgresDestination("store", "postgresql://u:canary@h/x?no_such=1")
    assert raised.value.exit_code == EXIT_USAGE
    assert "canary" not in str(raised.value)


def test_removing_a_link_leaves_the_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"rows")
    link(source, target)
    link(source, target)
    assert target.read_bytes() == b"rows"
    target.unlink()
    assert source.read_bytes() == b"rows"


def test_across_devices_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refused)
    (tmp_path / "source").write_bytes(b"rows")
    link(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"rows"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}
