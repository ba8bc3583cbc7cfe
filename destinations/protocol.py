"""The contract between the engine and a destination.

A destination keeps schema `landing`: one append-only table for each landed table, `landing._packages`
(_load_id, table_name, arrived_at, rows) and `landing._cursor` (table_name, seq). Loading packages n+1..m of a table
is ONE transaction: data, _packages rows and the cursor's compare-and-swap from n to m (new columns may come before it).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from engine.table import Table

if TYPE_CHECKING:
    from engine.lake.package import Package

ColumnsLoaded = Callable[[str, int], Collection[str]]
"""Gives the columns (lower case) that a table has got by its packages up to a number."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one transaction brought: rows and bytes, quarantined rows, and the cursor after it."""

    rows: int
    quarantined: int
    bytes: int
    seq: int


class Destination(Protocol):
    """One destination, opened for writing by one process at a time."""

    name: str

    def __enter__(self) -> Self:
        """Open; create what is missing (crash-safe: a half-made database heals at the next open)."""

    def __exit__(self, *exc: object) -> None:
        """Close; an open transaction is rolled back."""

    def cursors(self) -> Mapping[str, int]:
        """The sequence number of the last package loaded, by table. A table never loaded is missing."""

    def newest(self) -> Mapping[str, str]:
        """The load id of the package at which each table's cursor stands: it tells this lake from another."""

    def arrivals(self) -> Mapping[str, int]:
        """Return when the last package of each table arrived, in whole milliseconds since 1970 (cut off)."""

    def tables(self) -> Collection[str]:
        """Return the names of the tables in schema landing. One that has a cursor and is not there was dropped.

        A destination that can fill such a table again without a replay has `set_back(table)` too: it makes the
        table and moves its cursor, both or neither; and `unfilled()`, the tables of which that filling did not end.
        """

    def watch_columns(self, loaded: ColumnsLoaded) -> None:
        """Hear what tells which columns are loaded: one of them that a table lacks is refused, not added, empty."""

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables for what is declared, so that models find them before the first package.

        Raises DestinationError for one that it refuses; the others may be made or not.
        """

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load packages (consecutive sequence numbers after the cursor) in one transaction.

        Raises DestinationError; then nothing of them is in the destination.
        """

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package, in one transaction: cursors stand before the first, the tables are gone or empty.

        `own` names the project's tables, for one that was interrupted knows no package any more.
        """

    def publish(self) -> None:
        """Let readers see everything up to now (called once the models are finished)."""


class Counted(Protocol):
    """A destination that can be compared with what was loaded. An embedded warehouse has to be open for it."""

    def row_counts(self, declared: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
        """Return for each of these tables how many rows were loaded, and how many of them are there (None: no table).

        Tables to which no row was loaded are left out.
        """

    def columns(self) -> Mapping[str, Collection[str]]:
        """Return the columns (lower case) of each table in schema landing."""


class Sized(Protocol):
    """A destination that can tell its size without reading its tables."""

    def size_bytes(self) -> int:
        """Bytes that it takes on its disks. Raises DestinationError."""


class Server(Destination, Protocol):
    """A destination on a server, on which no models run."""

    def examine(self) -> Sequence[tuple[str, bool, str, str]]:
        """Return what `engine doctor` shows: what, whether it is right, the detail, the remedy. Changes nothing."""

    def reader(self) -> Any:
        """Return a context manager that gives a read-only connection (DB-API) beside any writer."""


class Warehouse(Destination, Protocol):
    """A destination on which the models run."""

    def identity(self) -> str:
        """A random name given when the warehouse was made: what was noted about another one is void here."""

    def maintenance(self) -> None:
        """Tidy up beside readers: nothing that one of the last day's published states needs goes. Bounded time."""

    def provide(self, tables: Iterable[Table]) -> None:
        """Create landing tables and columns that models read and nothing has landed yet; leave the others alone."""

    def set_aside(self) -> None:
        """Keep what cannot be opened, because it is damaged, under another name; the next open makes a new one."""

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived; return the first arrival and the instant up to which the models may read.

        Every later arrival lies behind that instant. None: nothing has arrived yet.
        """

    def tables_made(self) -> None:
        """Hear that a plan has made the models' tables, before they are filled."""

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Keep the results of one model run's checks, rows of `landing._checks`; old ones go (see Landing)."""

    def sqlmesh_connection(self) -> dict[str, Any]:
        """The SQLMesh connection (as in its config's `connection:`) that builds models here."""

    def reader(self, *, unpublished: bool = False) -> Any:
        """Open a read-only connection that sees the last published state and never a half-finished run.

        With `unpublished`, one that sees what is there now: what a failed run left, or one under way has done so far.
        """
