"""What differs between SQL databases in schema `landing`: a session to speak through, and a dialect to speak in.

Landing thinks in the type words of `package_rows.SQL_TYPES` (DuckDB's own); a dialect says how its database spells them
and how its catalogue names them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.sql import identifier


class Session(Protocol):
    """One connection, whose default catalog is the destination's. Values are bound where the dialect's marks stand."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows (or [], or whatever the database says of one that has none)."""

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run an INSERT, UPDATE or DELETE; return how many rows it changed."""

    def transaction(self) -> AbstractContextManager[None]:
        """Hold one transaction: the block's end commits; an error inside it, or of the COMMIT, rolls back and goes on.

        After an error of the COMMIT itself nobody knows whether it happened: the cursor tells.
        """


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one database writes what Landing asks. Defaults are DuckDB's. `{0}` stands for an expression.

    `instant` makes an instant of an expression of microseconds since 1970, `microseconds` the other way round, both
    exactly; `now` is the clock at the moment of the statement, not at the transaction's start. `columns` lists
    (table_name, column_name, data_type) of schema landing and ends where `AND table_name = ...` may follow.
    """

    name: str = "duckdb"
    mark: str = "?"
    quote: Callable[[str], str] = identifier
    types: Mapping[str, str] = field(default_factory=dict)
    """A word of SQL_TYPES: how this database spells it. Words that are missing are spelled as they are."""
    stored: Mapping[str, str] = field(default_factory=dict)
    """What the catalogue says of a column's type: the word of SQL_TYPES. What is missing is taken as it is."""
    columns: str = (
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'landing'"
    )
    now: str = "get_current_timestamp()"
    microseconds: str = "epoch_us({0})"
    instant: str = "make_timestamptz({0})"
    retype: str = "ALTER TABLE {table} ALTER COLUMN {0} SET DATA TYPE {1}"
    """The statement that makes column {0} of {table} a {1}."""
    commits_ddl: bool = False
    """Whether CREATE and ALTER commit by themselves: they then run before the load's transaction. All of them are
    additions that a load which fails afterwards may leave behind."""

    wait_for_loads: str = ""
    """The statement that waits until loads that have moved a cursor ended: where these may come from other machines."""

    seed_cursor: str = "INSERT INTO landing._cursor VALUES ({0}, 0)"
    """The statement that puts the cursor of the table {0} before its first package, where it has none."""

    def spelled(self, word: str) -> str:
        """Return a type word of SQL_TYPES as this database spells it."""
        return self.types.get(word, word)

    def word(self, stored: str) -> str:
        """Return the type word of SQL_TYPES for what the catalogue says."""
        return self.stored.get(stored, stored)


DUCKDB = Dialect()
"""DuckDB and DuckLake."""
