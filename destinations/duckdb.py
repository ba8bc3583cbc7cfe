"""One DuckDB file. A writer shuts readers out of a DuckDB file, so readers get a copy that `publish` makes.

<path>                     the database         <path>.writer.lock     held by the one writer
<path>.published-<n>       what readers open    <path>.published.json  which copy is the current one
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.dialect import DUCKDB
from destinations.embedded import EmbeddedWarehouse
from destinations.failures import keep_aside
from destinations.landing import Landing
from destinations.landing_rules import bookkeeping
from destinations.links import replace_text, sync_directory, sync_file
from destinations.package_rows import LandedFile, csv_rows, fit_of_file
from destinations.session import DuckdbSession, check_room, connect, lock_down
from destinations.settings import DuckdbSettings
from engine.errors import DestinationError, NotPublishedError
from engine.sql import identifier, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


REPUBLISHED_MEANWHILE = 5
"""How often a reader asks again which copy is current, when its copy was replaced before it could open it."""

COPY = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"


def destination(
    name: str,
    settings: DuckdbSettings,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> DuckdbWarehouse:
    """Build the destination from its block in pipelines.yaml."""
    return DuckdbWarehouse(name, project_dir / settings.path, data_dir, wait_seconds=wait_seconds, waiting=waiting)


class DuckdbWarehouse(EmbeddedWarehouse):
    """The one-file warehouse. `with` opens it for writing; `reader()` works at any time, on the published copy."""

    kind = "duckdb"

    def __enter__(self) -> Self:
        """Take the writer's lock, open the file; make it if it is missing."""
        import duckdb

        with ExitStack() as stack, self._clear_errors():
            stack.enter_context(self._locked())
            check_room()
            if not self.path.exists():
                self._create()
            # no configuration here: SQLMesh opens the same file in this process, which DuckDB allows only if both agree
            connection = duckdb.connect(str(self.path))
            stack.callback(connection.close)
            connection.execute("SET TimeZone = 'UTC'")
            for statement in bookkeeping(DUCKDB):
                connection.execute(statement)
            self._connection = connection
            self._landing = Landing(self.name, DuckdbSession(connection), DUCKDB, self._add)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection (an open transaction is rolled back) and let the lock go."""
        self._connection = self._landing = None
        with self._clear_errors():
            self._stack.close()

    def set_aside(self) -> None:
        """Keep a file that cannot be opened under another name: the next open makes a new one. Readers' copy stays."""
        with self._clear_errors(), self._locked():
            keep_aside([self._beside("wal"), self.path])

    def publish(self) -> None:
        """Copy the file for readers, all at once; copies that readers still have open live until they close them."""
        with self._clear_errors():
            self._writer.execute("CHECKPOINT")
            state = self._state()
            written = self.path.stat().st_mtime_ns
            if state.get("written") == written and self._copy(state["copy"]).exists():
                return
            number = int(state.get("copy", 0)) + 1
            self._remove(f"{self.path.name}.copying-*")
            copy, unfinished = self._copy(number), self._beside(f"copying-{os.getpid()}")
            # another process copies: a file descriptor of this file closed here would drop DuckDB's own POSIX lock
            done = subprocess.run(  # noqa: S603 - this interpreter, these two paths
                [sys.executable, "-I", "-S", "-c", COPY, str(self.path), str(unfinished)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                unfinished.unlink(missing_ok=True)
                raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the copy failed")
            sync_file(unfinished)
            unfinished.replace(copy)
            now = datetime.now(UTC).isoformat()
            replace_text(self._pointer, json.dumps({"copy": number, "written": written, "at": now}))
            self._remove(f"{self.path.name}.published-*", but=copy)

    def maintenance(self) -> None:
        """Write the log into the file and remove what a killed publish left."""
        with self._clear_errors():
            self._writer.execute("CHECKPOINT")
            state = self._state()
            self._remove(f"{self.path.name}.published-*", but=self._copy(state["copy"]) if state else None)

    def sqlmesh_connection(self) -> dict[str, Any]:
        """Return SQLMesh's connection. DuckDB shares the open file between the connections of one process."""
        return {"type": "duckdb", "database": str(self.path), "connector_config": {"TimeZone": "UTC"}}

    def reader(self, *, unpublished: bool = False) -> DuckDBPyConnection:
        """Open the last published copy read-only, under the database's own name; no files, no network, no settings.

        With `unpublished`, the file itself: only while no other process writes to it.
        """
        if unpublished and self.path.exists():
            with self._clear_errors():
                connection = self._open_copy(self.path)
                if connection is not None:
                    return connection
        state = self._state()
        if not state:
            raise NotPublishedError(self.name)
        with self._clear_errors():
            for _ in range(REPUBLISHED_MEANWHILE):
                connection = self._open_copy(self._copy(state["copy"]))
                if connection is not None:
                    return connection
                state = self._state()
        raise DestinationError(
            self.name,
            f"the published copy {self._copy(state['copy'])} is missing",
            "Run a pipeline: it publishes a new one.",
        )

    def size_bytes(self) -> int:
        """Bytes of the file, what was not yet merged into it, and the published copies."""
        with self._clear_errors():
            return sum(path.stat().st_size for path in self.path.parent.glob(f"{self.path.name}*"))

    @property
    def _pointer(self) -> Path:
        return self._beside("published.json")

    @property
    def _lock(self) -> Path:
        return self._beside("writer.lock")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _copy(self, number: int) -> Path:
        return self._beside(f"published-{number}")

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._pointer.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def _remove(self, pattern: str, *, but: Path | None = None) -> None:
        for path in self.path.parent.glob(pattern):
            if path != but:
                path.unlink(missing_ok=True)

    def _create(self) -> None:
        """Make the file under another name, then rename it: a kill leaves all of it or nothing."""
        import duckdb

        self._remove(f"{self.path.name}.creating-*")
        unfinished = self._beside(f"creating-{os.getpid()}")
        with duckdb.connect(str(unfinished)) as connection:
            for statement in bookkeeping(DUCKDB):
                connection.execute(statement)
            connection.execute("CHECKPOINT")
        sync_file(unfinished)
        unfinished.replace(self.path)
        sync_directory(self.path.parent)

    def _open_copy(self, copy: Path) -> DuckDBPyConnection | None:
        """Attach a copy as what the original is called (views name it); None if it was replaced just now."""
        import duckdb

        connection = connect(self._data_dir, extensions=False)
        try:
            alias = identifier(self.path.stem)
            connection.execute(f"ATTACH {literal(str(copy))} AS {alias} (READ_ONLY)")
            connection.execute(f"USE {alias}")
            lock_down(connection, [])
        except duckdb.Error:
            connection.close()
            if copy.exists():
                raise
            return None
        return connection

    def _add(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Insert the files' rows: Parquet files together, CSV files one by one."""
        target = f"landing.{identifier(table)}"
        parquet = [file for file in files if not file.is_csv]
        for file in parquet:
            fit_of_file(self.name, file, types)
        if parquet:
            paths = ", ".join(literal(str(file.path)) for file in parquet)
            self._writer.execute(
                f"INSERT INTO {target} BY NAME SELECT * FROM read_parquet([{paths}], union_by_name = true)"
            )
        for file in files:
            if file.is_csv:
                self._writer.register("incoming", csv_rows(self.name, file))
                try:
                    self._writer.execute(f"INSERT INTO {target} BY NAME SELECT * FROM incoming")
                finally:
                    self._writer.unregister("incoming")
