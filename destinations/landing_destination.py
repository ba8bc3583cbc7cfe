"""What every destination does alike whose schema landing is kept over one session (destinations/landing.py).

Every step says a failure in the destination's own words: `_clear_errors` of the class that connects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from destinations.landing import Landing
from destinations.protocol import ColumnsLoaded, Loaded
from engine.errors import DestinationError
from engine.table import Table

if TYPE_CHECKING:
    from engine.lake.package import Package

Part = TypeVar("Part")


class LandingDestination(ABC):
    """A destination that one process at a time has open; its `__enter__` sets `_landing`."""

    def __init__(self, name: str) -> None:
        """`name` is the destination's in pipelines.yaml."""
        self.name = name
        self._stack = ExitStack()
        self._landing: Landing | None = None

    @abstractmethod
    def _clear_errors(self) -> AbstractContextManager[None]:
        """Turn what the client raises into a DestinationError that says what to do."""

    def cursors(self) -> Mapping[str, int]:
        """Return the sequence number of the last package loaded, by table."""
        with self._clear_errors():
            return self._opened.cursors()

    def newest(self) -> Mapping[str, str]:
        """Return the load id of the last package loaded, by table."""
        with self._clear_errors():
            return self._opened.newest()

    def arrivals(self) -> Mapping[str, int]:
        """Return when the last package of each table arrived, in milliseconds since 1970."""
        with self._clear_errors():
            return self._opened.arrivals()

    def tables(self) -> Collection[str]:
        """Return the names of the tables in schema landing."""
        with self._clear_errors():
            return self._opened.tables()

    def watch_columns(self, loaded: ColumnsLoaded) -> None:
        """Hear which columns of a table are loaded: one of them that is missing is refused, not added, empty."""
        self._opened.columns_loaded = loaded

    def set_back(self, table: Table) -> None:
        """Make a lost table, empty, and let it be loaded from its first package again."""
        with self._clear_errors():
            self._opened.set_back(table)

    def unfilled(self) -> Collection[str]:
        """Return the tables that were set back and are not filled again up to where they had been."""
        with self._clear_errors():
            return self._opened.unfilled()

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables for what is declared."""
        with self._clear_errors():
            self._opened.ensure(tables)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages in one transaction."""
        with self._clear_errors():
            return self._opened.load(table, packages)

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package: `engine replay` fills the landing tables from the lake again."""
        with self._clear_errors():
            self._opened.reset(own)

    def publish(self) -> None:  # noqa: B027 - what most do
        """Do nothing: what is committed is seen."""

    @property
    def _opened(self) -> Landing:
        return self._while_open(self._landing)

    def _while_open(self, part: Part | None) -> Part:
        """Return a part that is there while the destination is open. Raises DestinationError where it is not."""
        if part is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return part


class LandingWarehouse(LandingDestination):
    """One on which the models run."""

    def identity(self) -> str:
        """Return the random name that this warehouse was given when it was made."""
        with self._clear_errors():
            return self._opened.identity()

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the landing tables and columns that models read and nothing has landed yet."""
        with self._clear_errors():
            self._opened.provide(tables)

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: the first arrival, and the instant up to which the models may read."""
        with self._clear_errors():
            return self._opened.begin_models()

    def tables_made(self) -> None:
        """Do nothing: an empty table costs nothing."""

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Keep the results of one model run's checks."""
        with self._clear_errors():
            self._opened.note_checks(results)
