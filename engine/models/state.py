"""SQLMesh's state file: whether it can be used, and putting it aside when a kill or a full disk left it half-made.

Nothing is lost with it: it says which intervals are built, and a plan builds them anew from the landed rows.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BusyError, TickhouseError
from engine.sql import identifier

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)
GLANCE_SECONDS = 2.0
"""For how long a state that is held is asked for again: `engine plan` holds it for an instant."""
BROKEN = (
    "Corrupt database file",
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "checksum",
    "erializ",
    "replaying WAL",
    "WAL file",
    "INTERNAL Error",
    "Could not read from file",
)
"""DuckDB's words for a file that is not what it wrote; any other error (rights, memory, disk) leaves the file alone."""


def heal(state: Path) -> bool:
    """Whether the state is there and readable to its last row; a broken file is kept under another name.

    Raises BusyError when another process has it open, TickhouseError when it cannot be read for now.
    """
    import duckdb

    if not state.exists():
        return False
    try:
        with opened(state) as connection:
            found = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'sqlmesh'"
            ).fetchall()
            for (table,) in found:
                connection.execute(f"SELECT * FROM sqlmesh.{identifier(table)}").fetchall()
    except duckdb.Error as error:
        if "set lock" in str(error):
            raise BusyError("SQLMesh's state is held by another process", "Let it finish, then run again.") from None
        if not any(words in str(error) for words in BROKEN):
            raise _unopened(state, str(error)) from error
        _put_aside(state, "broken")
        log.warning("%s cannot be read; it is kept under another name beside it and made anew", state)
        return False
    return bool(found)


def opened(state: Path, *, read_only: bool = False) -> DuckDBPyConnection:
    """Open the state's file; one that is held for an instant is waited for. Raises duckdb.Error."""
    import duckdb

    deadline = time.monotonic() + GLANCE_SECONDS
    while True:
        try:
            return duckdb.connect(str(state), read_only=read_only)
        except duckdb.Error as error:
            if "set lock" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


def on_trial(state: Path) -> list[str]:
    """Names of the virtual environments that have not expired and in which a model is not as production has it."""
    import duckdb

    if not state.exists():
        return []
    try:
        with opened(state, read_only=True) as connection:
            rows = connection.execute("SELECT name, snapshots, expiration_ts FROM sqlmesh._environments").fetchall()
    except duckdb.CatalogException:  # made, and nothing in it yet
        return []
    except duckdb.Error as error:
        if "set lock" in str(error):
            raise BusyError("SQLMesh's state is held by another process", "Let it finish, then run again.") from None
        raise _unopened(state, str(error)) from error
    made_of = {name: _fingerprints(snapshots) for name, snapshots, _ in rows}
    now = time.time() * 1000
    return sorted(
        name
        for name, _, expires in rows
        if name != "prod" and (expires is None or expires > now) and made_of[name] != made_of.get("prod")
    )


def _fingerprints(snapshots: str) -> dict[str, str]:
    return {found["name"]: json.dumps(found["fingerprint"], sort_keys=True) for found in json.loads(snapshots)}


def _unopened(state: Path, message: str) -> TickhouseError:
    first = next((line.strip() for line in message.splitlines() if line.strip()), "unknown error")
    return TickhouseError(
        f"SQLMesh's state {state.name} cannot be opened: {first[:300]}",
        f"Check rights, memory, open files (ulimit -n) and space, then run again. If nothing helps, move {state.name} "
        "away: every model is then built anew.",
    )


def start_over(state: Path) -> None:
    """Put the state aside before every model is built anew; environments are forgotten with it, which is said."""
    if state.exists():
        trials = on_trial(state)
        _put_aside(state, "replayed")
        if trials:
            log.warning("environments are gone with the rebuild: %s; apply them again", ", ".join(trials))


def forget(state: Path) -> None:
    """Put a state aside that describes a warehouse which is gone."""
    if state.exists():
        _put_aside(state, "other-warehouse")


def _put_aside(state: Path, why: str) -> None:
    """Rename the file and its log, which would be replayed into the new one."""
    mark = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for path in (state, state.with_name(f"{state.name}.wal")):
        if path.exists():
            path.replace(path.with_name(f"{path.name}.{why}-{mark}"))
