"""A reader that asks a warehouse every 50 ms until its standard input ends, and then says what it saw.

    python -m tests.faults.reading PROJECT

One statement compares every package that has arrived with the rows of its table: a package is there whole or not at
all. It is asked of the published state (the product's reader, opened anew for every state, and now and then for none)
and of the newest committed state, which the product shows to nobody. Prints one JSON object: samples, errors, holes,
backwards, states.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from destinations.session import connect
from tests.faults.trial import warehouse

EVERY_SECONDS = 0.05
REOPEN_EVERY = 20
"""Samples after which the published state is opened anew although it is the same."""

TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_catalog = current_database() AND table_schema IN ('landing', 'marts') ORDER BY ALL
"""


def halves(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> list[Any]:
    """Packages whose rows are not those that landing._packages counts, seen by one statement."""
    parts = " UNION ALL ".join(f"SELECT '{name}' AS t, _load_id FROM landing.\"{name}\"" for name in tables)
    found: list[Any] = connection.execute(
        f"""
        SELECT coalesce(p.table_name, r.t), coalesce(p._load_id, r._load_id), p.rows, r.rows
        FROM landing._packages AS p
        FULL JOIN (SELECT t, _load_id, count(*) AS rows FROM ({parts}) GROUP BY ALL) AS r
            ON r.t = p.table_name AND r._load_id = p._load_id
        WHERE coalesce(p.rows, -1) <> coalesce(r.rows, 0)
        """
    ).fetchall()
    return found


def measures(connection: duckdb.DuckDBPyConnection, marts: Sequence[str]) -> dict[str, tuple[int, Any]]:
    """Rows and the newest load of every mart; neither may ever go back."""
    found = {}
    for name in marts:
        row = connection.execute(f'SELECT count(*), max(load_timestamp)::VARCHAR FROM marts."{name}"').fetchone()
        assert row is not None
        found[name] = (row[0], row[1] or "")
    return found


class Looks:
    """What was seen so far."""

    def __init__(self, project: Path) -> None:
        self._warehouse = warehouse(project)
        self._published = project / ".data" / "warehouse" / "published.json"
        self._catalog = project / ".data" / "warehouse" / "catalog.sqlite"
        self._data = project / ".data"
        self._state = ""
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._head: duckdb.DuckDBPyConnection | None = None
        self._last: Mapping[str, tuple[int, Any]] = {}
        self.result: dict[str, Any] = {
            "samples": 0,
            "errors": [],
            "holes": [],
            "backwards": [],
            "states": 0,
            "heads": 0,
        }
        self._versions: set[int] = set()

    def look(self) -> None:
        """Take one sample."""
        self.result["samples"] += 1
        try:
            self._look_at_published()
            self._look_at_head()
        except Exception as error:
            self.result["errors"].append(f"{type(error).__name__}: {error}")

    def _look_at_published(self) -> None:
        state = self._published.read_text()
        if self._reader is None or state != self._state or self.result["samples"] % REOPEN_EVERY == 0:
            if self._reader is not None:
                self._reader.close()
            self.result["states"] += state != self._state
            self._reader, self._state = self._warehouse.reader(), state
        assert self._reader is not None
        tables = self._reader.execute(TABLES).fetchall()
        self.result["holes"] += halves(self._reader, landed(tables))
        now = measures(self._reader, [name for schema, name in tables if schema == "marts"])
        for name, before in self._last.items():
            if now.get(name, (-1, ""))[0] < before[0] or now[name][1] < before[1]:
                self.result["backwards"].append([name, before, now.get(name)])
        self._last = now

    def _look_at_head(self) -> None:
        if self._head is None:
            self._head = connect(self._data, extensions=True)
            self._head.execute(
                f"ATTACH 'ducklake:sqlite:{self._catalog}' AS lake (DATA_PATH '{self._data / 'warehouse' / 'data'}/', "
                "OVERRIDE_DATA_PATH true, READ_ONLY, META_BUSY_TIMEOUT 5000)"
            )
            self._head.execute("USE lake")
        self.result["holes"] += halves(self._head, landed(self._head.execute(TABLES).fetchall()))
        version = self._head.execute("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')").fetchone()
        assert version is not None
        self._versions.add(version[0])
        self.result["heads"] = len(self._versions)


def landed(tables: Sequence[Sequence[str]]) -> list[str]:
    """Names of the landed tables."""
    return [name for schema, name in tables if schema == "landing" and not name.startswith("_")]


def main() -> None:
    """Look until standard input ends."""
    looks = Looks(Path(sys.argv[1]))
    looks.look()
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    while not select.select([0], [], [], 0)[0]:
        began = time.monotonic()
        looks.look()
        time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began)))
    sys.stdout.write(json.dumps(looks.result) + "\n")


if __name__ == "__main__":
    main()
