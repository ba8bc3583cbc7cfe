"""What the two warehouses of this machine do alike: one process writes, through a connection of DuckDB's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from destinations import LOCK_WAIT_SECONDS
from destinations.failures import clear_errors
from destinations.landing_destination import LandingWarehouse
from engine.locks import hold

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class EmbeddedWarehouse(LandingWarehouse):
    """A warehouse at a path; its `__enter__` takes `_locked` and sets `_connection` and `_landing`."""

    kind: ClassVar[str]
    """As `type:` in pipelines.yaml."""

    def __init__(
        self,
        name: str,
        path: Path,
        data_dir: Path,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Keep the warehouse at `path`; wait `wait_seconds` for another writer, saying so by `waiting`."""
        super().__init__(name)
        self.path = path.absolute()
        self._data_dir = data_dir.absolute()
        self._wait_seconds = wait_seconds
        self._waiting = waiting
        self._connection: DuckDBPyConnection | None = None

    def columns(self) -> Mapping[str, Collection[str]]:
        """Return the columns of each table in schema landing."""
        with self._clear_errors():
            return self._opened.columns()

    def ask(self, statement: str) -> Sequence[Sequence[Any]]:
        """Ask landing's bookkeeping, while it is open."""
        with self._clear_errors():
            rows: list[tuple[Any, ...]] = self._writer.execute(statement).fetchall()
            return rows

    def row_counts(self, declared: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
        """Return how many rows were loaded into each of these tables, and how many are there (None: no table)."""
        with self._clear_errors():
            return self._opened.row_counts(declared)

    @property
    def _writer(self) -> DuckDBPyConnection:
        return self._while_open(self._connection)

    @property
    @abstractmethod
    def _lock(self) -> Path:
        """The file that the one writer locks."""

    def _locked(self) -> AbstractContextManager[None]:
        what = f"destination {self.name}"
        return hold(self._lock, what, wait_seconds=self._wait_seconds, waiting=self._waiting)

    def _clear_errors(self) -> AbstractContextManager[None]:
        return clear_errors(self.name, self.kind, self.path)
