"""Trino over an Iceberg catalog: the lake's files become table data without being read; the models run on Trino.

Trino has no transaction over several tables, so a load has ONE commit point, a single statement on a single table: the
rows of `landing._packages`. That table is the cursor too (`landing._cursor` is a view: the highest number of each
table), so arrival and cursor cannot part. The order of a load, and what a kill after each step leaves:

1. The files are linked (on S3: copied) to where the tables' files lie. *Killed:* files that nobody reads; the next
   attempt replaces them.
2. `ALTER TABLE ... EXECUTE add_files` makes a package's files rows of landing.<table>, in one commit of the table; then
   those of the quarantine. *Killed:* the rows are in the table, and count for nobody: every model reads landed rows
   through their package's row in `_packages`. The next attempt counts them: all there, they stay; else they are taken
   out, and the files are added anew. By rows, not by files: merging small files gives theirs to a file of another name.
3. `MERGE INTO landing._packages` adds the packages' rows, provided that the table's highest number, the last arrival
   and the fence of the last model run are still what they were. *Killed before its commit:* as after 2. *After it, or
   its answer lost:* the packages are loaded, and the cursor, which is these very rows, says so: nothing is lost or
   loaded twice.

A stalled old writer that wakes up after another one has loaded the same packages adds nothing: their rows are there,
and its MERGE finds another number. Of two MERGE statements that run at the same moment one is refused: Trino validates
what a MERGE has read against what was committed since, and both want to add the package behind the cursor. That two
machines do not add the same files at one moment, and that no fence is set while another machine's packages are about to
arrive behind it, is the lease's to see to (destinations/trino_lease.py); on one machine a lock keeps others out while
the destination is open.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from destinations import LOCK_WAIT_SECONDS
from destinations.landing_rules import AGAIN, check_sequence, landed_files, loaded, wanted_columns
from destinations.package_rows import LandedFile
from destinations.postgres_doctor import Examined
from destinations.protocol import Loaded
from destinations.trino_doctor import examine
from destinations.trino_files import Files, open_files, place
from destinations.trino_lease import Lease
from destinations.trino_session import EXISTS, Session, listed, model_errors
from destinations.trino_settings import S3, TrinoSettings
from destinations.trino_tables import Tables
from engine.errors import DestinationError, GoneError, NotPublishedError
from engine.locks import hold
from engine.sql import identifier, literal
from engine.table import QUARANTINE, Table

if TYPE_CHECKING:
    from engine.lake.package import Package

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FOLDERS = 8
"""Up to so many packages have a folder and an add_files each, under a name that never changes; more share one: each
add_files is a commit of a third of a second."""
SMALL = "16MB"
"""Files below this size are merged once a day."""


def destination(
    name: str,
    settings: TrinoSettings,
    project_dir: Path,
    data_dir: Path,
    *,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    waiting: Callable[[str], None] | None = None,
) -> TrinoWarehouse:
    """Build the destination from its block in pipelines.yaml."""
    return TrinoWarehouse(name, settings, project_dir, data_dir, wait_seconds=wait_seconds, waiting=waiting)


class TrinoWarehouse:
    """A warehouse in Trino. Whoever asks Trino sees tables as they are: a run's changes one after the other."""

    def __init__(
        self,
        name: str,
        settings: TrinoSettings,
        project_dir: Path,
        data_dir: Path,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Connect when opened; wait at most `wait_seconds` for another writer, saying so by `waiting`."""
        self.name = name
        self._settings = settings
        self._project_dir = project_dir
        self._lock = data_dir.absolute() / "state" / f"trino-{name}.writer.lock"
        self._wait_seconds = wait_seconds
        self._waiting = waiting
        self._stack = ExitStack()
        self._session: Session | None = None
        self._tables: Tables | None = None
        self._lease: Lease | None = None
        self._files: Files | None = None

    def __enter__(self) -> Self:
        """Take the writer's lock, connect, create what is missing."""
        with ExitStack() as stack:
            what = f"destination {self.name}"
            stack.enter_context(hold(self._lock, what, wait_seconds=self._wait_seconds, waiting=self._waiting))
            session = Session(self.name, self._settings)
            stack.callback(session.close)
            tables = Tables(session, self._settings.catalog)
            tables.open()
            self._session, self._tables = session, tables
            self._files = open_files(self._settings, self._project_dir)
            self._lease = Lease(session, self._lock, wait_seconds=self._wait_seconds, waiting=self._waiting)
            stack.callback(self._lease.give_back)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection and let the lock go."""
        self._session = self._tables = self._files = self._lease = None
        self._stack.close()

    def cursors(self) -> Mapping[str, int]:
        """Return the sequence number of the last package loaded, by table."""
        asked = self._ask("SELECT table_name, MAX(seq) FROM landing._packages GROUP BY table_name")
        return {str(table): int(seq) for table, seq in asked}

    def newest(self) -> Mapping[str, str]:
        """Return the load id of the last package loaded, by table."""
        asked = self._ask("SELECT table_name, MAX_BY(_load_id, seq) FROM landing._packages GROUP BY table_name")
        return {str(table): str(load_id) for table, load_id in asked}

    def arrivals(self) -> Mapping[str, int]:
        """Return when the last package of each table arrived, in milliseconds since 1970 (cut off)."""
        asked = self._ask("SELECT table_name, MAX(arrived_at) FROM landing._packages GROUP BY table_name")
        return {str(table): _micros(instant) // 1000 for table, instant in asked}

    def identity(self) -> str:
        """Return what tells this warehouse from another at the same place."""
        ask = "SELECT MIN(identity) FROM landing._identity"
        if self._opened.one(ask) is None:
            self._ask(f"INSERT INTO landing._identity VALUES ({literal(secrets.token_hex(16))})")
        return str(self._opened.one(ask))

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create landing tables for what is declared."""
        self._landing.ensure(tables)

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the landing tables and columns that models read and nothing has landed yet."""
        self._landing.provide(tables)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages of one table; they count with the last statement, all at once."""
        first, last = packages[0].entry.seq, packages[-1].entry.seq
        self._alone.take()
        held, arrived, fence = self._standing(table)
        check_sequence(self.name, table, held, packages)
        self._landing.prepare(table, wanted_columns(packages))
        files = list(landed_files(table, packages))
        for target in (table, QUARANTINE):
            into = [file for file in files if file.table == target and file.rows]
            for folder, members in _folders(target, into, f"{table}-{first}-{last}"):
                self._add(target, folder, members)
        self._arrive(table, packages, arrived, fence)
        return loaded(packages)

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: the first arrival, and the instant up to which the models may read.

        By the lease's holder alone: a package of another machine could arrive behind the fence, and be read by no run.
        """
        self._alone.take()
        ((first, arrived, fence),) = self._ask(
            "SELECT (SELECT MIN(arrived_at) FROM landing._packages), (SELECT MAX(arrived_at) FROM landing._packages), "
            "(SELECT MAX(until) FROM landing._model_runs)"
        )
        if first is None:
            return None
        before = max(_micros(instant) for instant in (arrived, fence) if instant)
        until_ms = max(before + 1, _micros(datetime.now(UTC))) // 1000 + 1
        until = EPOCH + timedelta(milliseconds=until_ms)
        self._ask(f"INSERT INTO landing._model_runs VALUES ({_instant(until)})")
        return first.astimezone(UTC), until

    def tables_made(self) -> None:
        """Do nothing: an empty table costs nothing in Iceberg."""

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Keep the results of one model run's checks."""
        if results:
            body = listed([[_value(value) for value in row] for row in results])
            self._ask(f"INSERT INTO landing._checks VALUES {body}")

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package: none counts from the first statement on, whatever dies; then tables go, then files.

        A table that is not among the project's `own`, and to which nothing was loaded, is somebody else's: it stays.
        """
        self._alone.take()
        loaded = {str(table) for (table,) in self._ask("SELECT DISTINCT table_name FROM landing._packages")}
        tables = sorted(loaded | set(own))
        self._ask("DELETE FROM landing._packages")
        self._landing.empty(tables)
        for table in (*tables, QUARANTINE):
            self._placed.remove(table)

    def publish(self) -> None:
        """Do nothing: readers ask Trino, which shows each table as it is."""

    def maintenance(self) -> None:
        """Merge small files and let go of snapshots and checks that are older than a week."""
        self._alone.take()
        self._ask("DELETE FROM landing._checks WHERE checked_at < current_timestamp - INTERVAL '7' DAY")
        newest = self._opened.one("SELECT MAX(until) FROM landing._model_runs")
        if newest:
            self._ask(f"DELETE FROM landing._model_runs WHERE until < {_instant(newest)}")
        catalog = identifier(self._settings.catalog)
        for schema, table in self._ask(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            "AND (table_schema = 'landing' OR table_schema LIKE 'sqlmesh!_!_%' ESCAPE '!')"
        ):
            name = f"{catalog}.{identifier(schema)}.{identifier(table)}"
            self._ask(f"ALTER TABLE {name} EXECUTE optimize(file_size_threshold => '{SMALL}')")
            self._ask(f"ALTER TABLE {name} EXECUTE expire_snapshots(retention_threshold => '7d')")

    def sqlmesh_connection(self) -> dict[str, Any]:
        """Return SQLMesh's connection."""
        settings = self._settings
        secret = {"method": "no-auth"}
        if settings.password:
            secret = {"method": "basic", "password": settings.password.get_secret_value()}
        return {
            "type": "trino",
            "host": settings.host,
            "port": settings.port,
            "http_scheme": settings.scheme,
            "user": settings.user,
            "catalog": settings.catalog,
            "timezone": "UTC",
            "concurrent_tasks": 2,
            **secret,
        }

    def model_errors(self) -> tuple[type[Exception], ...]:
        """Return the errors that SQLMesh lets through from this engine's client."""
        return model_errors()

    def reader(self, *, unpublished: bool = False) -> Any:
        """Refuse: the engine's own commands read the embedded warehouses only."""
        del unpublished
        raise DestinationError(
            self.name,
            f"`engine` cannot read {Session(self.name, self._settings).where} yet",
            f"Ask Trino itself, catalog {self._settings.catalog}: schemas landing, vault, marts and semantic.",
        )

    def examine(self) -> list[Examined]:
        """Check the server for `engine doctor`, beside any writer; nothing is made or changed there."""
        files = self._settings.files
        folder = None if files.startswith(S3) else (self._project_dir / files.removeprefix("file://")).absolute()
        session = Session(self.name, self._settings)
        try:
            return list(examine(session, self._settings, folder))
        finally:
            session.close()

    def books(self, statement: str) -> Sequence[Sequence[Any]]:
        """Ask landing's bookkeeping beside any writer; nothing is made or changed there."""
        session = Session(self.name, self._settings)
        try:
            if not session.rows("SHOW SCHEMAS LIKE 'landing'"):
                raise NotPublishedError(self.name)
            return session.rows(statement)
        finally:
            session.close()

    @property
    def _opened(self) -> Session:
        if self._session is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return self._session

    @property
    def _landing(self) -> Tables:
        if self._tables is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return self._tables

    @property
    def _placed(self) -> Files:
        if self._files is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return self._files

    @property
    def _alone(self) -> Lease:
        if self._lease is None:
            raise DestinationError(self.name, "is not open for writing", "Open it with `with destination:` first.")
        return self._lease

    def _ask(self, statement: str) -> list[Any]:
        return self._opened.rows(statement)

    def _standing(self, table: str) -> tuple[int, datetime | None, datetime | None]:
        """Return the table's cursor, the last arrival of any table, and the last fence."""
        ((held, arrived, fence),) = self._ask(
            "SELECT (SELECT MAX(seq) FROM landing._packages WHERE table_name = "
            f"{literal(table)}), (SELECT MAX(arrived_at) FROM landing._packages), "
            "(SELECT MAX(until) FROM landing._model_runs)"
        )
        return held or 0, arrived, fence

    def _add(self, table: str, folder: str, files: Sequence[LandedFile]) -> None:
        """Make files rows of landing.`table`, but for those that an attempt before made so."""
        expected: Counter[str] = Counter()
        for file in files:
            expected[file.load_id] += file.rows
        there = self._rows_of(table, expected)
        missing = [file for file in files if there.get(file.load_id) != expected[file.load_id]]
        if not missing:
            return
        if there:  # something of these packages is there, so one of their files may still be the table's, and empty
            folder = f"{folder}-{secrets.token_hex(4)}"
        parts = {file.load_id for file in missing} & there.keys()
        if parts:
            self._ask(f"DELETE FROM landing.{identifier(table)} WHERE _load_id IN ({_listed(parts)})")
        try:
            self._add_files(table, folder, missing)
        except DestinationError as error:
            if EXISTS not in error.reason:
                raise
            if self._rows_of(table, expected) != expected:  # a file that rows were taken out of, down to the last
                self._add_files(table, f"{folder}-{secrets.token_hex(4)}", missing)

    def _rows_of(self, table: str, load_ids: Iterable[str]) -> dict[str, int]:
        """Count what is in landing.`table` of packages that have not arrived."""
        counted = self._ask(
            f"SELECT _load_id, COUNT(*) FROM landing.{identifier(table)} "
            f"WHERE _load_id IN ({_listed(load_ids)}) GROUP BY _load_id"
        )
        return {str(load_id): int(rows) for load_id, rows in counted}

    def _add_files(self, table: str, folder: str, files: Sequence[LandedFile]) -> None:
        url = place(self._placed, self.name, folder, files, self._landing.stored(table))
        self._ask(
            f"ALTER TABLE landing.{identifier(table)} EXECUTE "
            f"add_files(location => {literal(url)}, format => 'PARQUET')"
        )

    def _arrive(
        self, table: str, packages: Sequence[Package], arrived: datetime | None, fence: datetime | None
    ) -> None:
        """Commit the load: a row for each package, later than every arrival and fence before it (clocks jump back)."""
        last = max((instant for instant in (arrived, fence) if instant), default=EPOCH)
        start = max(datetime.now(UTC), last.astimezone(UTC) + MICROSECOND)
        body = listed(
            [
                [
                    _value(package.entry.load_id),
                    _value(package.entry.table),
                    _instant(start + place * MICROSECOND),
                    _value(package.manifest.rows),
                    _value(package.entry.source),
                    _value(package.entry.seq),
                ]
                for place, package in enumerate(packages)
            ]
        )
        names = "_load_id, table_name, arrived_at, rows, source, seq"
        before = packages[0].entry.seq - 1
        merge = f"""
            MERGE INTO landing._packages AS p USING (
              SELECT * FROM (VALUES {body}) AS arrived ({names})
              WHERE (SELECT COALESCE(MAX(seq), 0) FROM landing._packages WHERE table_name = {literal(table)}) = {before}
                AND (SELECT MAX(arrived_at) FROM landing._packages) IS NOT DISTINCT FROM {_instant(arrived)}
                AND (SELECT MAX(until) FROM landing._model_runs) IS NOT DISTINCT FROM {_instant(fence)}
            ) AS n ON p._load_id = n._load_id AND p.table_name = n.table_name
            WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({", ".join(f"n.{name}" for name in names.split(", "))})
            """
        try:
            ((added,),) = self._ask(merge)
        except GoneError as error:
            raise GoneError(
                self.name,
                f"no answer came while a load was being committed ({error.reason.removeprefix(f'{self.name}: ')})",
                "Run again: whether it was committed is read from the cursor there; nothing is lost or doubled.",
            ) from error
        if added != len(packages):
            raise DestinationError(
                self.name,
                f"the cursor of {table} is no longer at {before}, or another program's load or models came between",
                AGAIN,
            )


def _folders(table: str, files: Sequence[LandedFile], together: str) -> Iterator[tuple[str, list[LandedFile]]]:
    """Share files out among folders: one a package, or one for all where these are many."""
    by_package: dict[str, list[LandedFile]] = {}
    for file in files:
        by_package.setdefault(file.load_id, []).append(file)
    if len(by_package) > FOLDERS:
        yield f"{table}/{together}", list(files)
        return
    for load_id, members in by_package.items():
        yield f"{table}/{load_id}", members


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(literal(text) for text in sorted(texts))


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND


def _instant(instant: datetime | None) -> str:
    if instant is None:
        return "CAST(NULL AS timestamp(6) with time zone)"
    return f"TIMESTAMP '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC'"


def _value(value: Any) -> str:
    """Return a value as an SQL expression."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).upper() if isinstance(value, bool) else f"CAST({value} AS bigint)"
    return _instant(value) if isinstance(value, datetime) else literal(str(value))
