"""DuckLake: a SQLite catalog and Parquet data in one folder. Lake files become table data without a copy.

<path>/catalog.sqlite   the catalog (WAL)      <path>/published.json   the snapshots that readers see
<path>/data/            the data               <path>/writer.lock      held by the one writer
<path>/loading.json     the links of a load under way (see _sweep)
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations import ducklake_housekeeping as housekeeping
from destinations.dialect import DUCKDB
from destinations.embedded import EmbeddedWarehouse
from destinations.failures import keep_aside
from destinations.landing import Landing
from destinations.landing_rules import bookkeeping
from destinations.links import link, put_back, replace_text, sync_directory, sync_file
from destinations.package_rows import LandedFile, csv_rows, fit_of_file
from destinations.protocol import Loaded
from destinations.session import DuckdbSession, connect, extension_directory, lock_down
from destinations.settings import DucklakeSettings
from engine.errors import NotPublishedError
from engine.sql import identifier, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from engine.lake.package import Package

INLINED_ROWS = 0
"""Rows that DuckLake keeps in the catalog instead of a file: where it keeps some, every commit makes it read all of its
tables anew and every statement asks for them, half of the time of a run. Small files are merged instead."""


def destination(
    name: str,
    settings: DucklakeSettings,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> DucklakeWarehouse:
    """Build the destination from its block in pipelines.yaml."""
    return DucklakeWarehouse(name, project_dir / settings.path, data_dir, wait_seconds=wait_seconds, waiting=waiting)


class DucklakeWarehouse(EmbeddedWarehouse):
    """The default warehouse. `with` opens it for writing; `reader()` works at any time, beside a writer too."""

    kind = "ducklake"

    def __enter__(self) -> Self:
        """Take the writer's lock, create what is missing, remove what a killed load left."""
        with ExitStack() as stack, self._clear_errors():
            stack.enter_context(self._locked())
            connection = connect(self._data_dir, extensions=True)
            stack.callback(connection.close)
            for leftover in self.path.glob(".creating-*"):
                shutil.rmtree(leftover)
            if not self._catalog.exists():
                self._create(connection)
            self._attach(connection, self._catalog, "META_BUSY_TIMEOUT 5000")
            for statement in bookkeeping(DUCKDB):
                connection.execute(statement)
            self._connection = connection
            self._landing = Landing(self.name, DuckdbSession(connection), DUCKDB, self._add)
            self._sweep()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection (an open transaction is rolled back) and let the lock go."""
        self._connection = self._landing = None
        self._stack.close()

    def set_aside(self) -> None:
        """Keep a catalog that cannot be opened under another name: the next open makes a new one. Data stays."""
        with self._clear_errors(), self._locked():
            beside = [self._catalog.with_name(f"{self._catalog.name}{suffix}") for suffix in ("-wal", "-shm")]
            keep_aside([*beside, self._intent, self._published, self._catalog])

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages in one transaction; their Parquet files become the table's data as they are."""
        with self._clear_errors():
            try:
                loaded = self._opened.load(table, packages)
            except BaseException:
                self._sweep()
                raise
            self._settle()
            return loaded

    def put_back(self, packages: Iterable[Package]) -> int:
        """Take the files of sound packages again where the table's own are not the same any more; return how many."""
        with self._clear_errors():
            return put_back(self._data / "landing", packages)

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: the first arrival, and the instant up to which the models may read."""
        with self._clear_errors():
            housekeeping.count_empty_tables(self._writer)
        return super().begin_models()

    def tables_made(self) -> None:
        """Give the models' new tables statistics: without them, each statement that reads one asks for them again."""
        with self._clear_errors():
            housekeeping.count_empty_tables(self._writer)

    def publish(self) -> None:
        """Let readers see the catalog's last snapshot."""
        with self._clear_errors():
            housekeeping.merge_small_files(self._writer)
            snapshot = housekeeping.last_snapshot(self._writer)
            history = housekeeping.published(self._published)
            if not history or history[-1].snapshot != snapshot:
                history.append(housekeeping.Publication(snapshot, datetime.now(UTC)))
                replace_text(self._published, housekeeping.as_text(history))

    def maintenance(self) -> None:
        """Merge small files, expire what no reader of the last day can need. Lake packages are never rewritten."""
        with self._clear_errors():
            housekeeping.tidy(self._writer, housekeeping.published(self._published))

    def sqlmesh_connection(self) -> dict[str, Any]:
        """Return SQLMesh's connection: the same catalog and data, no INSTALL (DuckDB loads the placed extensions).

        No comments on tables and columns: each would be a commit of its own, half of all commits of a first plan.
        """
        return {
            "type": "duckdb",
            "register_comments": False,
            "catalogs": {
                "lake": {
                    "type": "ducklake",
                    "path": f"sqlite:{self._catalog}",
                    "data_path": f"{self._data}/",
                    "override_data_path": True,
                    "data_inlining_row_limit": INLINED_ROWS,
                }
            },
            "connector_config": {
                "extension_directory": str(extension_directory(self._data_dir)),
                "TimeZone": "UTC",
            },
        }

    def reader(self, *, unpublished: bool = False) -> DuckDBPyConnection:
        """Open a read-only connection at the last published snapshot; no files, no network, no settings.

        With `unpublished`, at the last snapshot of all: a failed run's, or a moment of one that is under way.
        """
        history = housekeeping.published(self._published)
        if not history and not (unpublished and self._catalog.exists()):
            raise NotPublishedError(self.name)
        with self._clear_errors():
            connection = connect(self._data_dir, extensions=True)
            try:
                at = "" if unpublished else f"SNAPSHOT_VERSION {history[-1].snapshot}, "
                self._attach(connection, self._catalog, f"READ_ONLY, {at}META_BUSY_TIMEOUT 5000")
                lock_down(connection, [self._data])
            except BaseException:
                connection.close()
                raise
            return connection

    def size_bytes(self) -> int:
        """Bytes of the published tables' files, as the catalog has them, and of the catalog."""
        with self.reader() as connection, self._clear_errors():
            sizes = "sum(file_size_bytes + delete_file_size_bytes)"
            found = connection.execute(f"SELECT {sizes} FROM ducklake_table_info(current_database())").fetchone()
            return int(found[0] or 0 if found else 0) + self._catalog.stat().st_size

    @property
    def _catalog(self) -> Path:
        return self.path / "catalog.sqlite"

    @property
    def _data(self) -> Path:
        return self.path / "data"

    @property
    def _intent(self) -> Path:
        return self.path / "loading.json"

    @property
    def _published(self) -> Path:
        return self.path / "published.json"

    @property
    def _lock(self) -> Path:
        return self.path / "writer.lock"

    def _attach(self, connection: DuckDBPyConnection, catalog: Path, options: str) -> None:
        """Attach as catalog `lake`, whatever folder the project was in when the catalog was made."""
        data = literal(f"{self._data}/")
        connection.execute(
            f"ATTACH {literal(f'ducklake:sqlite:{catalog}')} AS lake "
            f"(DATA_PATH {data}, OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT {INLINED_ROWS}, {options})"
        )
        connection.execute("USE lake")

    def _create(self, connection: DuckDBPyConnection) -> None:
        """Make the catalog under another name, then rename it: a kill leaves all of it or nothing.

        The books come in one transaction: each commit of its own would take as long as all of them together.
        """
        folder = self.path / f".creating-{os.getpid()}"
        folder.mkdir()
        self._data.mkdir(exist_ok=True)
        self._attach(connection, folder / "catalog.sqlite", "META_JOURNAL_MODE 'WAL'")
        connection.begin()
        for statement in bookkeeping(DUCKDB):
            connection.execute(statement)
        connection.commit()
        connection.execute("CALL lake.set_option('auto_compact', false, schema => 'landing')")
        connection.execute("USE memory")
        connection.execute("DETACH lake")
        sync_file(folder / "catalog.sqlite")
        (folder / "catalog.sqlite").replace(self._catalog)
        sync_directory(self.path)
        shutil.rmtree(folder)

    def _add(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Register Parquet files of the table's own types; insert the rows of the others (CSV, widened columns)."""
        registered = []
        for file in files:
            if not file.is_csv and fit_of_file(self.name, file, types) == "same":
                registered.append(file)
            else:
                self._insert(table, file)
        if registered:
            self._register(table, registered)

    def _insert(self, table: str, file: LandedFile) -> None:
        if not file.is_csv:
            source = f"read_parquet({literal(str(file.path))})"
        else:
            source = "incoming"
            self._writer.register(source, csv_rows(self.name, file))
        try:
            self._writer.execute(f"INSERT INTO landing.{identifier(table)} BY NAME SELECT * FROM {source}")
        finally:
            if source == "incoming":
                self._writer.unregister(source)

    def _register(self, table: str, files: Sequence[LandedFile]) -> None:
        """Link the files into the table's folder, their names noted first so that a kill leaves nothing behind."""
        folder = self._data / "landing" / table
        folder.mkdir(parents=True, exist_ok=True)
        # no name is used twice: DuckLake removes a dropped table's files later, by name
        token = secrets.token_hex(4)
        targets = [folder / f"{file.load_id}.{token}.{file.name}" for file in files]
        noted = self._noted()
        replace_text(self._intent, json.dumps(noted + [str(path.relative_to(self._data)) for path in targets]))
        for file, target in zip(files, targets, strict=True):
            link(file.path, target)
        sync_directory(folder)
        paths = ", ".join(literal(str(target)) for target in targets)
        self._writer.execute(
            f"CALL ducklake_add_data_files('lake', {literal(table)}, [{paths}], "
            "schema => 'landing', allow_missing => true)"
        )

    def _noted(self) -> list[str]:
        """Names of the links of a load under way; a damaged note names none (its links are then only idle files)."""
        try:
            noted = json.loads(self._intent.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return []
        return [name for name in noted if isinstance(name, str) and ".." not in Path(name).parts]

    def _settle(self) -> None:
        """After a commit every link that was noted is the table's: the catalog need not be asked about them."""
        self._intent.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove the links of a load that did not commit, or of which nobody knows whether it did."""
        if not self._intent.exists():
            return
        noted = [self._data / name for name in self._noted() if Path(name).parts[:1] == ("landing",)]
        names = [path.name for path in noted]
        rows = self._writer.execute(
            "SELECT path FROM __ducklake_metadata_lake.ducklake_data_file "
            "WHERE parse_filename(path) IN (SELECT unnest(?))",
            [names],
        ).fetchall()
        committed = {Path(str(row[0])).name for row in rows}
        for path in noted:
            if path.name not in committed:
                path.unlink(missing_ok=True)
        self._intent.unlink()
