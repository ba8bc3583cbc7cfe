"""Processes that load a lake into a warehouse until SIGKILL reaches them; the imports are done once, then each forks.

    python -m tests.conformance.load_until_killed KIND DATA_DIR LAKE.pickle JOBS.json

A job is {"path": warehouse, or a DSN} and either "at": [function, nth] (the nth call of module:attribute or
module:Class.method kills the process before it does anything), or "after": seconds, or neither; "seen": FILE makes it
stop after its third publish until the file exists (a reader has seen that state). Prints {"signals": [...]}: 9 for a
kill.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

from destinations.duckdb import DuckdbWarehouse
from destinations.ducklake import DucklakeWarehouse
from destinations.postgres import PostgresDestination
from engine import load
from tests.conformance.landed_packages import PRICES, FolderLake

WAITS_AFTER = 3
PATIENCE = 60.0


def kill_at(point: str, nth: int) -> None:
    module_name, _, dotted = point.partition(":")
    owner = importlib.import_module(module_name)
    *classes, attribute = dotted.split(".")
    for name in classes:
        owner = getattr(owner, name)
    original = getattr(owner, attribute)
    calls = 0

    def counted(*args: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **named)

    setattr(owner, attribute, counted)


def build(kind: str, path: str, data_dir: Path) -> DuckdbWarehouse | DucklakeWarehouse | PostgresDestination:
    """Build the destination; on a server, its path is a DSN."""
    if kind == "postgres":
        return PostgresDestination("warehouse", path)
    made = DucklakeWarehouse if kind == "ducklake" else DuckdbWarehouse
    return made("warehouse", Path(path), data_dir)


def load_everything(kind: str, path: str, data_dir: Path, lake: FolderLake, seen: Path | None = None) -> None:
    """Load two packages a transaction, publishing each."""
    published = 0

    def publish(_said: str) -> None:
        nonlocal published
        opened.publish()
        published += 1
        deadline = time.monotonic() + PATIENCE
        while seen is not None and published == WAITS_AFTER and not seen.exists():
            assert time.monotonic() < deadline, "no reader saw what was published"
            time.sleep(0.01)

    load.BATCH_PACKAGES = 2
    with build(kind, path, data_dir) as opened:
        report = load.catch_up(opened, lake, [PRICES], publish)
    assert report.errors == [], report.errors


def run(job: dict[str, Any], kind: str, data_dir: Path, lake: FolderLake) -> int:
    """Run one job in a process of its own and return the signal that ended it; 0 if it ended well, -1 if not."""
    child = os.fork()
    if not child:
        try:
            if "at" in job:
                kill_at(*job["at"])
            load_everything(kind, job["path"], data_dir, lake, Path(job["seen"]) if "seen" in job else None)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    if "after" in job:
        time.sleep(job["after"])
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return -os.waitstatus_to_exitcode(status)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    kind, data_dir, lake_file, jobs_file = sys.argv[1:]
    lake = pickle.loads(Path(lake_file).read_bytes())  # noqa: S301 - written by the test
    say("ready")
    jobs = json.loads(Path(jobs_file).read_text())
    say(json.dumps({"signals": [run(job, kind, Path(data_dir), lake) for job in jobs]}))


if __name__ == "__main__":
    main()
