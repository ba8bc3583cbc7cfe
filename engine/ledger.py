"""The run ledger: one SQLite file in the data folder that remembers the last runs for `engine status`.

Nothing depends on it: losing it loses history for people, never data.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import TickhouseError

KEEP_RUNS = 500
"""Runs remembered for each pipeline."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `status` is running, ok, partial, failed or stopped; times are UTC, ISO 8601; `report` a RunReport."""

    run_id: str
    pipeline: str
    started_at: str
    ended_at: str | None
    status: str
    report: dict[str, Any]


class Ledger:
    """Reads and writes the ledger of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        """Open nothing yet: the file is made at the first write."""
        self._path = data_dir / "state" / "runs.sqlite"

    def start(self, run_id: str, pipeline: str, at: datetime) -> None:
        """Note that a run has begun."""
        with self._connect() as db:
            db.execute(
                "INSERT INTO runs (run_id, pipeline, started_at, status, report) VALUES (?, ?, ?, 'running', '{}')",
                (run_id, pipeline, at.isoformat()),
            )

    def finish(self, run_id: str, at: datetime, status: str, report: dict[str, Any]) -> None:
        """Note how a run ended, and forget the oldest runs of its pipeline."""
        with self._connect() as db:
            db.execute(
                "UPDATE runs SET ended_at = ?, status = ?, report = ? WHERE run_id = ?",
                (at.isoformat(), status, json.dumps(report), run_id),
            )
            db.execute(
                "DELETE FROM runs WHERE pipeline = (SELECT pipeline FROM runs WHERE run_id = ?) AND run_id NOT IN ("
                "SELECT run_id FROM runs WHERE pipeline = (SELECT pipeline FROM runs WHERE run_id = ?) "
                "ORDER BY started_at DESC LIMIT ?)",
                (run_id, run_id, KEEP_RUNS),
            )

    def last(self, pipeline: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        if not self._path.exists():
            return []
        with self._connect() as db:
            rows = db.execute(
                "SELECT run_id, pipeline, started_at, ended_at, status, report FROM runs "
                "WHERE ? IS NULL OR pipeline = ? ORDER BY started_at DESC LIMIT ?",
                (pipeline, pipeline, limit),
            ).fetchall()
        return [RunRecord(a, b, c, d, e, json.loads(report)) for a, b, c, d, e, report in rows]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._path, timeout=10)) as db, db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, "
                    "started_at TEXT NOT NULL, ended_at TEXT, status TEXT NOT NULL, report TEXT NOT NULL)"
                )
                yield db
        except sqlite3.Error as error:
            raise TickhouseError(
                f"the list of runs {self._path} cannot be used: {error}",
                "Check its disk and its rights. It holds only what `engine status` shows: it may be removed.",
            ) from error
