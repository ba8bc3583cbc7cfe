"""TimescaleDB: as PostgreSQL, and beside each landed table with `timeseries:` a hypertable of what each row is now.

`landing.<table>` keeps every delivery, as everywhere; `timeseries.<table>` has one row for each source and primary key,
the one delivered last, written in the transaction that lands it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.hypertables import Hypertables
from destinations.package_rows import LandedFile
from destinations.postgres import PostgresDestination
from destinations.postgres_copy import copy_file
from destinations.protocol import Loaded
from destinations.settings import TimescaledbSettings
from engine.sql import identifier, qualified
from engine.table import Table

if TYPE_CHECKING:
    from engine.lake.package import Package


def destination(
    name: str,
    settings: TimescaledbSettings,
    project_dir: Path,  # noqa: ARG001 - every destination is built alike
    data_dir: Path,  # noqa: ARG001
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> TimescaledbDestination:
    """Build the destination from its block in pipelines.yaml."""
    return TimescaledbDestination(name, settings.dsn.get_secret_value(), wait_seconds=wait_seconds, waiting=waiting)


class TimescaledbDestination(PostgresDestination):
    """One database with TimescaleDB. Without the extension it is plain PostgreSQL, and `notes` says so."""

    timescale = True

    def __init__(
        self,
        name: str,
        dsn: str,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """As PostgresDestination. `notes` has a line for each thing that a person should know."""
        super().__init__(name, dsn, wait_seconds=wait_seconds, waiting=waiting)
        self.notes: list[str] = []
        self._series: dict[str, Table] = {}
        self._declared: set[str] | None = None
        self._hypertables: Hypertables | None = None
        self._loading = 0

    def __enter__(self) -> Self:
        """Connect, become the one writer, create what is missing."""
        super().__enter__()
        try:
            with self._clear_errors():
                self._hypertables = Hypertables(self.name, self._writer, self.notes)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the session."""
        self._hypertables = None
        super().__exit__(*exc)

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables, and keep hypertables in step with what is declared."""
        tables = list(tables)
        series = {table.name: table for table in tables if table.timeseries}
        self._declared = (self._declared or set()) | series.keys()
        super().ensure(tables)
        with self._clear_errors():
            self._kept.keep(list(series.values()))
        self._series |= series

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages in one transaction."""
        self._loading = packages[-1].entry.seq
        return super().load(table, packages)

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package. The hypertables go last: who has a view on landing stops it before anything is gone."""
        super().reset(own)
        with self._clear_errors():
            self._kept.empty()

    def publish(self) -> None:
        """Bring the candles up to what is loaded; forget what was applied to tables that nobody declares any more."""
        with self._clear_errors():
            if self._declared is not None:
                self._kept.forget_all_but(self._declared)
            self._kept.refresh(list(self._series.values()))

    @property
    def _kept(self) -> Hypertables:
        assert self._writer  # noqa: S101 - says that it is not open
        assert self._hypertables is not None  # noqa: S101
        return self._hypertables

    def _make_ready(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:  # noqa: ARG002
        """Give the hypertable the columns that landing has got."""
        if (declared := self._series.get(table)) is not None:
            self._kept.add_columns(declared)

    def _add(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Copy the files' rows into landing.`table`; of a time series by way of a table in which they have an order."""
        declared = self._series.get(table)
        if declared is None:
            super()._add(table, files, types)
            return
        session = self._writer
        incoming = qualified("pg_temp", table)  # by that name the server's errors speak of it
        session.execute(f"CREATE TEMPORARY TABLE {incoming} (LIKE {qualified('landing', table)}) ON COMMIT DROP")
        for file in files:
            copy_file(session.connection, self.name, incoming, file, types)
        names = ", ".join(identifier(name) for name in types)
        session.change(f"INSERT INTO {qualified('landing', table)} ({names}) SELECT {names} FROM {incoming}")
        self._kept.take(declared, incoming, self._loading)
        session.execute(f"DROP TABLE {incoming}")
