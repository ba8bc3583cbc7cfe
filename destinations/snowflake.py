"""Snowflake: schema landing, loaded from the lake's packages through an internal stage, one transaction a load.

CREATE and ALTER commit by themselves there, so they come first; then the files are put on the stage; then one
transaction copies them, notes their arrival and moves the cursor. Two runs of one machine wait for each other; those of
two machines do not: of two writers, or a stalled one and its successor, the cursor's compare-and-swap lets one commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.landing import Landing
from destinations.landing_destination import LandingWarehouse
from destinations.landing_rules import bookkeeping, landed_files, wanted_columns
from destinations.package_rows import LandedFile, fit_of_file
from destinations.protocol import Loaded
from destinations.snowflake_doctor import examine
from destinations.snowflake_failures import clear_errors
from destinations.snowflake_session import SNOWFLAKE, SnowflakeSession, connect
from destinations.snowflake_settings import SnowflakeSettings
from destinations.snowflake_stage import MAKE_STAGE, copy_files, make_external, stage_files, unstage_files
from engine.errors import DestinationError, GoneError
from engine.examined import Examined
from engine.locks import hold
from engine.sql import literal
from engine.table import Column, Table

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

    from engine.lake.package import Package

SEED_CURSOR = (
    "MERGE INTO landing._cursor AS cursors USING (SELECT %s AS table_name) AS wanted"
    " ON cursors.table_name = wanted.table_name"
    " WHEN NOT MATCHED THEN INSERT (table_name, seq) VALUES (wanted.table_name, 0)"
)
"""Two MERGEs wait for each other where two INSERTs would both make the row: Snowflake enforces no key."""


def destination(
    name: str,
    settings: SnowflakeSettings,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> SnowflakeWarehouse:
    """Build the destination from its block in pipelines.yaml."""
    if settings.private_key_file is not None:
        key = project_dir / Path(settings.private_key_file).expanduser()
        settings = settings.model_copy(update={"private_key_file": str(key)})
    lock = data_dir.absolute() / "state" / f"snowflake-{name}.writer.lock"
    return SnowflakeWarehouse(name, settings, lock, wait_seconds=wait_seconds, waiting=waiting)


class SnowflakeWarehouse(LandingWarehouse):
    """One database of a Snowflake account. `with` opens it for writing. Whoever asks it sees what is committed."""

    def __init__(
        self,
        name: str,
        settings: SnowflakeSettings,
        lock: Path,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """`lock` is held while it is open; another writer is waited for so long, which `waiting` hears.

        Raises DestinationError where the connector is missing, or the key cannot be read.
        """
        try:
            import snowflake.connector  # noqa: F401
        except ModuleNotFoundError:
            raise DestinationError(
                name, "Snowflake's client is not installed", "Install tickhouse[snowflake]: it brings the connector."
            ) from None
        super().__init__(name)
        self.where = settings.where
        self._settings = settings
        self._lock = lock
        self._wait_seconds = wait_seconds
        self._waiting = waiting
        self._session: SnowflakeSession | None = None
        self._external = False
        """Whether the external stage is known to be as `stage:` says."""

    def __enter__(self) -> Self:
        """Take the writer's lock, connect, create what is missing."""
        with ExitStack() as stack, self._clear_errors():
            what = f"destination {self.name}"
            stack.enter_context(hold(self._lock, what, wait_seconds=self._wait_seconds, waiting=self._waiting))
            connection = self._connect()
            stack.callback(connection.close, retry=False)
            session = SnowflakeSession(connection)
            for statement in (*bookkeeping(SNOWFLAKE), MAKE_STAGE):
                session.execute(statement)
            self._session = session
            self._landing = Landing(self.name, session, SNOWFLAKE, self._copy, self._put)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the session, whose open transaction is rolled back, and let the lock go."""
        self._session = self._landing = None
        self._stack.close()

    def set_back(self, table: Table) -> None:
        """Make a lost table, empty, and let it be loaded from its first package again."""
        self._check_capitals(table.name, table.columns)
        with self._clear_errors():
            self._opened.set_back(table)

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables for what is declared."""
        declared = list(tables)
        for table in declared:
            self._check_capitals(table.name, table.columns)
        with self._clear_errors():
            known = {str(row[0]) for row in self._writer.execute("SELECT table_name FROM landing._cursor")}
            for table in declared:
                if table.name not in known:
                    self._writer.execute(SEED_CURSOR, [table.name])
            self._opened.ensure(declared)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages in one transaction; then take their files off the stage."""
        self._check_capitals(table, wanted_columns(packages))
        with self._clear_errors():
            self._writer.execute(
                f"ALTER SESSION SET QUERY_TAG = {literal(f'tickhouse {packages[-1].manifest.run_id}')}"
            )
            self._writer.execute(SEED_CURSOR, [table])
            try:
                loaded = self._opened.load(table, packages)
            except GoneError:
                raise
            except DestinationError:
                at = self.cursors().get(table, 0)
                self._unstage(table, [one for one in packages if one.entry.seq <= at])  # another machine was faster
                raise
            self._unstage(table, packages)
            return loaded

    def _unstage(self, table: str, packages: Sequence[Package]) -> None:
        put = (f for f in landed_files(table, packages) if f.rows and not self._in_the_lake(f))
        unstage_files(self._writer, put)

    def _check_capitals(self, table: str, columns: Iterable[Column]) -> None:
        """Refuse a name that Snowflake, where names are in capitals, gives back as another one."""
        for column in columns:
            if (back := column.name.upper().lower()) != column.name.lower():
                raise DestinationError(
                    self.name,
                    f"landing.{table} cannot have the column {column.name!r} on Snowflake: its name is in capitals "
                    f"there, which lead back to {back!r}",
                    f"Land it under another name (columns: NAME: {{from: {column.name}}}), and if packages with it are "
                    "landed, which keep it, the resource as another `table`. Or leave this destination out of `load:` "
                    "of the pipelines that extract it: the table stays unloaded there (docs/snowflake.md, Names).",
                )

    def maintenance(self) -> None:
        """Do nothing: Snowflake keeps its own files in order."""

    def sqlmesh_connection(self) -> dict[str, Any]:
        """Return what SQLMesh's gateway is made of (engine/models/snowflake.py)."""
        return {"type": "snowflake", "settings": self._settings}

    def model_errors(self) -> tuple[type[Exception], ...]:
        """Return the errors that SQLMesh lets through from this engine's client."""
        from snowflake.connector import errors

        return (errors.Error,)

    def reader(self, *, unpublished: bool = False) -> Any:
        """Refuse: the engine's own commands read the embedded warehouses only."""
        del unpublished
        raise DestinationError(
            self.name,
            f"`engine` cannot read {self.where} yet",
            "Ask Snowflake itself: schemas landing, vault, marts and semantic of that database.",
        )

    def examine(self) -> list[Examined]:
        """Check the account for `engine doctor`, beside any writer; nothing is changed there."""
        with self._clear_errors(), self._connect() as connection:
            return list(examine(SnowflakeSession(connection), self.where))

    def row_counts(self, declared: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
        """Return how many rows were loaded into each of these tables, and how many are there (None: no table)."""
        with self._clear_errors(), self._connect() as connection:
            return Landing(self.name, SnowflakeSession(connection), SNOWFLAKE, self._copy).row_counts(declared)

    def columns(self) -> Mapping[str, Collection[str]]:
        """Return the columns of each table in schema landing."""
        with self._clear_errors(), self._connect() as connection:
            return Landing(self.name, SnowflakeSession(connection), SNOWFLAKE, self._copy).columns()

    def books(self, statement: str) -> Sequence[Sequence[Any]]:
        """Ask landing's bookkeeping beside any writer; nothing is made or changed there."""
        with self._clear_errors(), self._connect() as connection:
            return SnowflakeSession(connection).execute(statement)

    @property
    def _writer(self) -> SnowflakeSession:
        return self._while_open(self._session)

    def _connect(self) -> SnowflakeConnection:
        key = self._settings.private_key_file
        if key is not None and not Path(key).expanduser().is_file():
            raise DestinationError(
                self.name,
                f"there is no private key at {key}",
                "Correct private_key_file, or make a key as docs/snowflake.md shows.",
            )
        try:
            return connect(self._settings)
        except (ValueError, TypeError) as error:
            raise DestinationError(
                self.name,
                f"the private key {key} cannot be read ({type(error).__name__})",
                "It has to be PEM (PKCS 8); an encrypted one needs private_key_passphrase, any other none.",
            ) from None

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        with clear_errors(self.name, self.where):
            yield

    def _put(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:  # noqa: ARG002
        """Put files on the stage, before the transaction: what does not fit, or cannot be read, never gets there."""
        for file in files:
            if not file.is_csv:
                fit_of_file(self.name, file, types)
        stage_files(self._writer, self.name, [file for file in files if not self._in_the_lake(file)])
        if self._settings.stage and not self._external and any(map(self._in_the_lake, files)):
            self._writer.execute(make_external(self._settings.stage))
            self._external = True

    def _copy(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:  # noqa: ARG002
        """Copy the staged files into landing.`table`."""
        in_lake = [file for file in files if self._in_the_lake(file)]
        copy_files(self._writer, self.name, table, in_lake, external=True)
        copy_files(self._writer, self.name, table, [file for file in files if not self._in_the_lake(file)])

    def _in_the_lake(self, file: LandedFile) -> bool:
        """Whether Snowflake reads this file where it lies."""
        return self._settings.stage is not None and not file.is_csv
