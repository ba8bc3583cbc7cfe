"""The run ledger: one SQLite file in the data folder that remembers the last runs, and what all runs together did.

Nothing depends on it: losing it loses history for people, never data. Counters then begin anew, as Prometheus expects.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.errors import TickhouseError
from engine.totals import Labels, totals_of

LEDGER = "runs.sqlite"
KEEP_RUNS = 500
"""Runs remembered for each pipeline, and those on which its standing rests, however old they are."""
KEEP_DAYS = 62
"""Days for which the requests to each source are remembered: this month's and the last one's."""
COLUMNS = "run_id, pipeline, started_at, ended_at, status, report, run_id IN (SELECT run_id FROM backfills)"
OF_NOW = "run_id NOT IN (SELECT run_id FROM backfills)"
"""Runs that bring what is new, as a schedule wants them."""
TABLES = """
    CREATE TABLE IF NOT EXISTS runs (
        run_id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, status TEXT NOT NULL,
        report TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS runs_of_pipeline ON runs (pipeline, started_at);
    CREATE TABLE IF NOT EXISTS backfills (run_id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS schedules (pipeline TEXT PRIMARY KEY, schedule TEXT NOT NULL, since TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS paused (pipeline TEXT PRIMARY KEY, since TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS totals (name TEXT, labels TEXT, value REAL NOT NULL, PRIMARY KEY (name, labels));
    CREATE TABLE IF NOT EXISTS requests (source TEXT, day TEXT, requests INTEGER NOT NULL, PRIMARY KEY (source, day))
"""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `status` is running, ok, partial, failed, stopped or died (which the next run notes).

    Times are UTC, ISO 8601; `report` is a RunReport; `backfill`: it asked for a past range, not for what is new.
    """

    run_id: str
    pipeline: str
    started_at: str
    ended_at: str | None
    status: str
    report: dict[str, Any]
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a pipeline stands. `ended` is its newest run that ended, `ok_at` when the last one that went well did.

    `failed_in_a_row` counts what failed, went well in part or died since then; what was stopped does not count. No
    backfill counts, except as `ended`: the run that a schedule wants is still to come.
    """

    started_at: str
    status: str
    ended: RunRecord | None
    ok_at: str | None
    failed_in_a_row: int


class Ledger:
    """Reads and writes the ledger of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        """Open nothing yet: the file is made at the first write."""
        self._path = data_dir / "state" / LEDGER

    def start(self, run_id: str, pipeline: str, at: datetime, *, backfill: bool = False) -> list[datetime]:
        """Note that a run has begun, under the pipeline's lock; one that is still noted as running has died.

        Return when those began, but for backfills.
        """
        with self._connect() as db:
            running = "WHERE pipeline = ? AND status = 'running'"
            died = [_record(row) for row in db.execute(f"SELECT {COLUMNS} FROM runs {running}", (pipeline,))]
            for run in died:
                _count(db, pipeline, "died", run.report, datetime.fromisoformat(run.started_at))
            db.execute(f"UPDATE runs SET status = 'died' {running}", (pipeline,))
            db.execute(
                "INSERT INTO runs (run_id, pipeline, started_at, status, report) VALUES (?, ?, ?, 'running', '{}')",
                (run_id, pipeline, at.isoformat()),
            )
            if backfill:
                db.execute("INSERT INTO backfills VALUES (?)", (run_id,))
        return [datetime.fromisoformat(run.started_at) for run in died if not run.backfill]

    def note(self, run_id: str, report: Mapping[str, Any]) -> None:
        """Note what a run that is under way has done so far: that is what counts of it if it dies."""
        with self._connect() as db:
            db.execute(
                "UPDATE runs SET report = ? WHERE run_id = ? AND status = 'running'", (json.dumps(report), run_id)
            )

    def finish(self, run_id: str, at: datetime, status: str, report: Mapping[str, Any]) -> None:
        """Note how a run ended, once, and forget the oldest runs of its pipeline."""
        with self._connect() as db:
            ended = db.execute(
                "UPDATE runs SET ended_at = ?, status = ?, report = ? WHERE run_id = ? AND ended_at IS NULL "
                "RETURNING pipeline",
                (at.isoformat(), status, json.dumps(report), run_id),
            ).fetchall()
            for (pipeline,) in ended:
                _count(db, pipeline, status, report, at)
                _forget(db, pipeline)

    def leave(self, at: datetime, why: str) -> None:
        """Note that runs which this ledger takes for under way are not, as far as anybody here will ever know."""
        with self._connect() as db:
            left = db.execute("SELECT run_id, report FROM runs WHERE status = 'running'").fetchall()
        for run_id, report in left:
            self.finish(run_id, at, "stopped", {**json.loads(report), "failures": [why]})

    def last(self, pipeline: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        if not self._path.exists():
            return []
        with self._connect() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM runs {'' if pipeline is None else 'WHERE pipeline = ?'} "
                "ORDER BY started_at DESC LIMIT ?",
                (limit,) if pipeline is None else (pipeline, limit),
            ).fetchall()
        return [_record(row) for row in rows]

    def standing(self, pipeline: str) -> Standing | None:
        """Return how a pipeline stands; None: it never ran."""
        if not self._path.exists():
            return None
        with self._connect() as db:
            newest = db.execute(
                f"SELECT started_at, status FROM runs WHERE pipeline = ? AND {OF_NOW} ORDER BY started_at DESC LIMIT 1",
                (pipeline,),
            ).fetchone()
            if newest is None:
                return None
            ok = db.execute(
                f"SELECT max(started_at), max(ended_at) FROM runs WHERE pipeline = ? AND status = 'ok' AND {OF_NOW}",
                (pipeline,),
            ).fetchone()
            (failed,) = db.execute(
                "SELECT count(*) FROM runs WHERE pipeline = ? AND started_at > ? "
                f"AND status IN ('partial', 'failed', 'died') AND {OF_NOW}",
                (pipeline, ok[0] or ""),
            ).fetchone()
            row = db.execute(
                f"SELECT {COLUMNS} FROM runs WHERE pipeline = ? AND ended_at IS NOT NULL "
                "ORDER BY started_at DESC LIMIT 1",
                (pipeline,),
            ).fetchone()
        return Standing(newest[0], newest[1], _record(row) if row else None, ok[1], failed)

    def deploy(self, schedules: Mapping[str, str], at: datetime, *, others_end: bool) -> None:
        """Note that these pipelines are run by these schedules, from `at` on unless they were before.

        `others_end`: no other pipeline is.
        """
        rows = [(pipeline, schedule, at.isoformat()) for pipeline, schedule in schedules.items()]
        with self._connect() as db:
            db.executemany(
                "INSERT INTO schedules VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET schedule = excluded.schedule, "
                "since = excluded.since WHERE schedule <> excluded.schedule",
                rows,
            )
            if others_end:
                known = [name for (name,) in db.execute("SELECT pipeline FROM schedules").fetchall()]
                gone = [(name,) for name in known if name not in schedules]
                db.executemany("DELETE FROM schedules WHERE pipeline = ?", gone)

    def deployed_since(self, pipeline: str, schedule: str) -> datetime | None:
        """Return since when a process that stays has run a pipeline by this schedule; None: by none, or by another."""
        if not self._path.exists():
            return None
        with self._connect() as db:
            row = db.execute(
                "SELECT since FROM schedules WHERE pipeline = ? AND schedule = ?", (pipeline, schedule)
            ).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def pause(self, paused: Mapping[str, bool], at: datetime) -> None:
        """Note which pipelines somebody has paused; one that goes on is waited for from `at`."""
        with self._connect() as db:
            for pipeline, stopped in paused.items():
                if stopped:
                    db.execute("INSERT OR IGNORE INTO paused VALUES (?, ?)", (pipeline, at.isoformat()))
                elif db.execute("DELETE FROM paused WHERE pipeline = ?", (pipeline,)).rowcount:
                    db.execute("UPDATE schedules SET since = ? WHERE pipeline = ?", (at.isoformat(), pipeline))

    def paused_since(self, pipeline: str) -> datetime | None:
        """Return when a pipeline was first seen to be paused; None: it is not."""
        if not self._path.exists():
            return None
        with self._connect() as db:
            row = db.execute("SELECT since FROM paused WHERE pipeline = ?", (pipeline,)).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def totals(self) -> dict[tuple[str, Labels], float]:
        """Return what all runs together did, by counter and labels."""
        if not self._path.exists():
            return {}
        with self._connect() as db:
            rows = db.execute("SELECT name, labels, value FROM totals").fetchall()
        return {(name, tuple(sorted(json.loads(labels).items()))): value for name, labels, value in rows}

    def requests_since(self, day: date) -> dict[str, int]:
        """Return how many requests each source was sent from a day (UTC) on, by runs under way too."""
        if not self._path.exists():
            return {}
        with self._connect() as db:
            sent = db.execute("SELECT source, requests FROM requests WHERE day >= ?", (day.isoformat(),)).fetchall()
            for (report,) in db.execute(
                "SELECT report FROM runs WHERE status = 'running' AND started_at >= ?", (day.isoformat(),)
            ):
                sent += _requests(json.loads(report))
        found: Counter[str] = Counter()
        for source, requests in sent:
            found[source] += requests
        return dict(found)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._path, timeout=10)) as db, db:
                for table in TABLES.split(";"):
                    db.execute(table)
                yield db
        except sqlite3.Error as error:
            raise TickhouseError(
                f"the list of runs {self._path} cannot be used: {error}",
                "Check its disk and its rights. It holds only what `engine status` shows: it may be removed.",
            ) from error


def _record(row: Sequence[Any]) -> RunRecord:
    run_id, pipeline, started_at, ended_at, status, report, backfill = row
    return RunRecord(run_id, pipeline, started_at, ended_at, status, json.loads(report), bool(backfill))


def _forget(db: sqlite3.Connection, pipeline: str) -> None:
    """Remove the oldest runs of a pipeline, but for what `standing` tells: the newest, that ended, that went well."""
    newest = "SELECT run_id FROM runs WHERE pipeline = :pipeline{} ORDER BY started_at DESC LIMIT {}"
    kept = [newest.format("", KEEP_RUNS)]
    kept += [newest.format(f" AND {OF_NOW}{but}", 1) for but in ("", " AND ended_at NOT NULL", " AND status = 'ok'")]
    among = " UNION ALL ".join(f"SELECT run_id FROM ({one})" for one in kept)
    db.execute(f"DELETE FROM runs WHERE pipeline = :pipeline AND run_id NOT IN ({among})", {"pipeline": pipeline})
    db.execute("DELETE FROM backfills WHERE run_id NOT IN (SELECT run_id FROM runs)")


def _add(db: sqlite3.Connection, increments: Mapping[tuple[str, Labels], float]) -> None:
    db.executemany(
        "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
        [(name, json.dumps(dict(labels)), value) for (name, labels), value in increments.items()],
    )


def _count(db: sqlite3.Connection, pipeline: str, status: str, report: Mapping[str, Any], at: datetime) -> None:
    """Count what a run did; its requests on the day (UTC) it ended, or died: then, that it began."""
    _add(db, totals_of(pipeline, status, report))
    day = at.astimezone(UTC).date()
    db.executemany(
        "INSERT INTO requests VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
        [(source, day.isoformat(), requests) for source, requests in _requests(report)],
    )
    db.execute("DELETE FROM requests WHERE day < ?", ((day - timedelta(days=KEEP_DAYS)).isoformat(),))


def _requests(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(r["source"], r["requests"]) for r in report.get("resources", ()) if r["requests"]]
