"""What a DuckLake warehouse keeps for its readers, and how it is tidied beside them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine.sql import literal

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READERS_LAST = timedelta(days=1)
"""A reader may go on with a published snapshot this long after the next one was published."""
TIDY_SECONDS = 60.0
"""Merging stops after this long; the next time goes on."""

SMALL_BYTES, SMALL_FILES = 8 << 20, 32
"""So many files below this size in one table are merged at the next publication: a run adds one a table."""
DELETED_SHARE = 0.1
"""A data file of which more has been deleted is written anew; as it is, it can be merged with no other."""

BOOKS = ("_cursor", "_packages", "_model_runs")
"""The engine's own tables in schema landing; every other file there is a lake package's and is never rewritten."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A snapshot that readers were shown, and since when (UTC)."""

    snapshot: int
    at: datetime


def published(path: Path) -> list[Publication]:
    """Return the publications of the last day and the one before them, oldest first; [] if there never was one.

    A file that is not readable as such counts as none: the next run publishes anew.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["published"]
        return [Publication(int(one["snapshot"]), datetime.fromisoformat(one["at"])) for one in listed]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def as_text(history: Sequence[Publication]) -> str:
    """Return published.json's text: what a reader may still use at this time."""
    kept = needed(history, datetime.now(UTC))
    return json.dumps({"published": [{"snapshot": one.snapshot, "at": one.at.isoformat()} for one in kept]}, indent=1)


def needed(history: Sequence[Publication], now: datetime) -> list[Publication]:
    """Return the publications that were current at any moment of the last day: the last one is always among them."""
    start = now - READERS_LAST
    ended = [*(following.at for following in history[1:]), now]
    return [one for one, end in zip(history, ended, strict=False) if end > start]


def last_snapshot(connection: DuckDBPyConnection) -> int:
    """Return the catalog's newest snapshot."""
    return int(connection.execute("FROM ducklake_current_snapshot('lake')").fetchall()[0][0])


COUNTED_AS_EMPTY = (
    """
    INSERT INTO __ducklake_metadata_lake.main.ducklake_table_column_stats
      (table_id, column_id, contains_null)
    SELECT made.table_id, column_id, true
    FROM __ducklake_metadata_lake.main.ducklake_table AS made
    JOIN __ducklake_metadata_lake.main.ducklake_column AS part USING (table_id)
    LEFT JOIN __ducklake_metadata_lake.main.ducklake_table_stats AS counted USING (table_id)
    WHERE made.end_snapshot IS NULL AND part.end_snapshot IS NULL AND part.parent_column IS NULL
      AND counted.table_id IS NULL
    """,
    """
    INSERT INTO __ducklake_metadata_lake.main.ducklake_table_stats
      (table_id, record_count, next_row_id, file_size_bytes)
    SELECT made.table_id, 0, 0, 0
    FROM __ducklake_metadata_lake.main.ducklake_table AS made
    LEFT JOIN __ducklake_metadata_lake.main.ducklake_table_stats AS counted USING (table_id)
    WHERE made.end_snapshot IS NULL AND counted.table_id IS NULL
    """,
)
"""What DuckLake writes itself for a table whose only row was deleted in the transaction that brought it."""


def count_empty_tables(connection: DuckDBPyConnection) -> None:
    """Give statistics to tables that never had a row: none, of nothing.

    DuckLake keeps a table's statistics in memory, but asks the catalog anew for those that are not there, about fifty
    times a statement that filters such a table: 97 ms instead of 7.
    """
    import duckdb

    connection.begin()
    try:
        for statement in COUNTED_AS_EMPTY:
            connection.execute(statement)
        connection.commit()
    except BaseException:
        with suppress(duckdb.Error):  # a failed COMMIT leaves nothing to roll back
            connection.rollback()
        raise


SCATTERED = """
SELECT schema_name, table_name
FROM __ducklake_metadata_lake.main.ducklake_data_file AS data
JOIN __ducklake_metadata_lake.main.ducklake_table AS held USING (table_id)
JOIN __ducklake_metadata_lake.main.ducklake_schema AS space USING (schema_id)
WHERE data.end_snapshot IS NULL AND held.end_snapshot IS NULL AND space.end_snapshot IS NULL
  AND data.file_size_bytes < ?
  AND (schema_name <> 'landing' OR list_contains(?, table_name))
GROUP BY ALL HAVING count(*) >= ? ORDER BY ALL
"""


def merge_small_files(connection: DuckDBPyConnection) -> None:
    """Merge what many runs added to one table, a few rows each: every statement opens each file of its table."""
    import duckdb

    for schema, table in connection.execute(SCATTERED, [SMALL_BYTES, list(BOOKS), SMALL_FILES]).fetchall():
        try:
            _merge(connection, str(schema), str(table), f", max_file_size => {SMALL_BYTES}")
        except duckdb.Error as error:  # they stay as they are: slower to read, and tried again by the next run
            why = str(error).partition("\n")[0]
            log.warning("small files of %s.%s could not be merged, the next run tries again: %s", schema, table, why)


def _merge(connection: DuckDBPyConnection, schema: str, table: str, limit: str = "") -> None:
    named = f"'lake', {literal(table)}, schema => {literal(schema)}"
    connection.execute(f"CALL ducklake_rewrite_data_files({named}, delete_threshold => {DELETED_SHARE})")
    connection.execute(f"CALL ducklake_merge_adjacent_files({named}{limit})")


def tidy(connection: DuckDBPyConnection, history: Sequence[Publication]) -> None:
    """Merge small files of the models' tables and of the books, expire old snapshots, remove what nothing refers to.

    Old is older than a day. Published snapshots of the last day stay, and so do files that were in use within it.
    """
    deadline = time.monotonic() + TIDY_SECONDS
    connection.execute("CALL ducklake_flush_inlined_data('lake')")
    for table in BOOKS:
        connection.execute(
            f"CALL ducklake_flush_inlined_data('lake', schema_name => 'landing', table_name => {literal(table)})"
        )
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = 'lake' AND (schema_name <> 'landing' OR list_contains(?, table_name)) ORDER BY ALL",
        [list(BOOKS)],
    ).fetchall()
    for schema, table in tables:
        if time.monotonic() > deadline:
            break
        _merge(connection, str(schema), str(table))
    now = datetime.now(UTC)
    before = int((now - READERS_LAST).timestamp() * 1_000_000)
    keep = [one.snapshot for one in needed(history, now)]
    old = connection.execute(
        "SELECT snapshot_id FROM ducklake_snapshots('lake') WHERE epoch_us(snapshot_time) < ? "
        "AND NOT list_contains(?::BIGINT[], snapshot_id::BIGINT) AND snapshot_id < ?",
        [before, keep, last_snapshot(connection)],
    ).fetchall()
    if old:
        versions = ", ".join(str(int(row[0])) for row in old)
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{versions}])")
    connection.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => make_timestamptz({before}))")
