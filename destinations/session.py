"""DuckDB connections of the embedded warehouses: Landing's session, extensions from packages, locked-down readers."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LEAST_SPACE = 3 << 30
"""Bytes of address space without which it does not go: libraries and threads reserve far more than they use."""
EXTENSIONS = {"ducklake": "ducklake", "sqlite": "sqlite_scanner"}
"""The package `duckdb-extension-<key>` ships the extension that DuckDB calls <value>."""


class DuckdbSession:
    """A DuckDB connection as Landing speaks to it (destinations.dialect.Session)."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        """The connection's default catalog is the warehouse."""
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; of one that changes rows, how many they were."""
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, values or None).fetchall()
        return rows

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return int(self.execute(statement, values)[0][0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold one transaction."""
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Roll back; after a failed COMMIT there is nothing left to roll back, which is as good."""
        import duckdb

        try:
            self._connection.rollback()
        except duckdb.Error:
            return


def extension_directory(data_dir: Path) -> Path:
    """Return DuckDB's extension folder below the data folder, filled from the installed packages.

    Only missing files are placed: overwriting one that a process has loaded would crash it.
    """
    import duckdb

    with duckdb.connect() as connection:
        platform = str(connection.execute("PRAGMA platform").fetchall()[0][0])
    directory = data_dir / "duckdb" / "extensions"
    version = f"v{duckdb.__version__}"
    for package, extension in EXTENSIONS.items():
        target = directory / version / platform / f"{extension}.duckdb_extension"
        if not target.exists():
            _place(_shipped(package, version), target)
    return directory


def connect(data_dir: Path, *, extensions: bool) -> DuckDBPyConnection:
    """Open an in-memory DuckDB in UTC that spills below the data folder; with `extensions`, DuckLake is loaded."""
    import duckdb

    check_room()
    spill = data_dir / "duckdb" / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill),
        "python_enable_replacements": False,
    }
    if extensions:
        config["extension_directory"] = str(extension_directory(data_dir))
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    for extension in EXTENSIONS.values() if extensions else ():
        connection.execute(f"LOAD {extension}")
    return connection


def check_room() -> None:
    """Raise TickhouseError where DuckDB would abort the process: it does where it cannot start a thread."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_SPACE:
        raise TickhouseError(
            f"this process may reserve {limit >> 20} MB of memory (ulimit -v); DuckDB needs {LEAST_SPACE >> 20} MB",
            "Set `ulimit -v unlimited`. What it really uses is less: bound that by the container or the service "
            "(MemoryMax), which DuckDB heeds.",
        )


def lock_down(connection: DuckDBPyConnection, directories: Sequence[Path]) -> None:
    """Close everything but the attached databases and these folders: no files, no network, no further settings."""
    allowed = ", ".join(literal(f"{directory}/") for directory in directories)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _shipped(package: str, version: str) -> Path:
    spec = find_spec(f"duckdb_extension_{package}")
    for root in spec.submodule_search_locations or [] if spec else []:
        path = Path(root) / "extensions" / version / f"{package}.duckdb_extension"
        if path.exists():
            return path
    raise TickhouseError(
        f"DuckDB's extension {package!r} for {version} is not installed",
        f"Install it: pip install duckdb-extension-{package}=={version.removeprefix('v')}",
    )


def _place(source: Path, target: Path) -> None:
    """Link the file under its name (a copy across devices), all at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(source, unfinished)
    except OSError:
        shutil.copyfile(source, unfinished)
    unfinished.replace(target)
