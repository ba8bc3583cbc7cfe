"""What is remembered of time series in their database, `timeseries._settings`: which are ours, and what was applied.

Of a table that nobody declares any more the row stays, without settings: the table is no stranger's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from destinations.chunks import CHUNKS, SCHEMA
from destinations.postgres_session import PostgresSession
from destinations.relations import columns_of
from engine.sql import literal, qualified

SETTINGS = f"""
    CREATE TABLE IF NOT EXISTS {SCHEMA}._settings
        (table_name text PRIMARY KEY, settings text NOT NULL, filled bigint, filenode bigint)
"""
LATER = {
    "_settings": {"filled": "bigint", "filenode": "bigint"},
    "_chunks": {"dropped": "boolean NOT NULL DEFAULT false"},
}
"""Columns that an older release did not make."""
KEPT = "WHERE settings <> 'null'"
"""Tables that somebody declares."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Of one table: what was applied (None: it was given up), the last package whose rows it has, and its file."""

    settings: Mapping[str, Any] | None = None
    filled: int | None = None
    filenode: int | None = None


class Books:
    """The books of one database, through its writer's session."""

    def __init__(self, session: PostgresSession) -> None:
        """Make nothing yet."""
        self._session = session

    def schema_is_there(self) -> bool:
        """Whether the database has schema timeseries."""
        return bool(self._session.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [SCHEMA]))

    def keep(self) -> None:
        """Make what is missing of them."""
        self._session.execute(SETTINGS)
        self._session.execute(CHUNKS)
        for table, columns in LATER.items():
            known = columns_of(self._session, SCHEMA, table)
            for name, what in columns.items():
                if name not in known:
                    self._session.execute(f"ALTER TABLE {SCHEMA}.{table} ADD COLUMN {name} {what}")

    def noted(self) -> dict[str, Noted]:
        """Return what is remembered, by table."""
        rows = self._session.execute(f"SELECT table_name, settings, filled, filenode FROM {SCHEMA}._settings")
        return {table: Noted(json.loads(settings), filled, filenode) for table, settings, filled, filenode in rows}

    def declared(self) -> Collection[str]:
        """Return the tables that somebody declares."""
        return [table for (table,) in self._session.execute(f"SELECT table_name FROM {SCHEMA}._settings {KEPT}")]

    def note(self, table: str, settings: Mapping[str, Any]) -> None:
        """Remember what was applied to a table."""
        self._session.change(
            f"INSERT INTO {SCHEMA}._settings (table_name, settings) VALUES (%s, %s)"
            " ON CONFLICT (table_name) DO UPDATE SET settings = excluded.settings",
            [table, json.dumps(settings)],
        )

    def note_filled(self, table: str, seq: int) -> None:
        """Remember that a table has the rows up to this package, and in which file."""
        file = f"pg_relation_filenode({literal(qualified(SCHEMA, table))}::regclass)::bigint"
        self._session.change(
            f"UPDATE {SCHEMA}._settings SET filled = %s, filenode = {file}"
            f" WHERE table_name = %s AND (filled, filenode) IS DISTINCT FROM (%s, {file})",
            [seq, table, seq],
        )

    def note_empty(self) -> None:
        """Remember that every table is to be filled again."""
        self._session.execute(f"UPDATE {SCHEMA}._settings SET filled = 0 {KEPT}")

    def give_up(self, table: str) -> None:
        """Forget what was applied to a table."""
        self._session.change(
            f"UPDATE {SCHEMA}._settings SET settings = 'null', filled = NULL WHERE table_name = %s", [table]
        )
