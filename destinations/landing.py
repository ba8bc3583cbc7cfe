"""Schema `landing` of an embedded warehouse: tables and how they evolve, cursors, arrival.

One load is one transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from destinations.package_rows import SQL_TYPES, LandedFile, fit
from destinations.protocol import Loaded
from engine.errors import DestinationError
from engine.sql import identifier, literal
from engine.table import LINEAGE_COLUMNS, QUARANTINE, QUARANTINE_COLUMNS, Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from engine.lake.package import Package

BOOKKEEPING = (
    "CREATE SCHEMA IF NOT EXISTS landing",
    "CREATE TABLE IF NOT EXISTS landing._cursor (table_name VARCHAR, seq BIGINT)",
    """CREATE TABLE IF NOT EXISTS landing._packages (
        _load_id VARCHAR, table_name VARCHAR, arrived_at TIMESTAMP WITH TIME ZONE,
        rows BIGINT, source VARCHAR, seq BIGINT
    )""",
    "CREATE TABLE IF NOT EXISTS landing._model_runs (until TIMESTAMP WITH TIME ZONE)",
    "CREATE TABLE IF NOT EXISTS landing._identity (identity VARCHAR)",
    """CREATE TABLE IF NOT EXISTS landing._checks (
        run_id VARCHAR, checked_at TIMESTAMP WITH TIME ZONE, model VARCHAR, audit VARCHAR, blocking BOOLEAN,
        status VARCHAR, failed_rows BIGINT, sample VARCHAR, look VARCHAR
    )""",
    "CREATE TABLE IF NOT EXISTS landing._quarantine ("
    + ", ".join(f"{identifier(column.name)} {SQL_TYPES[column.data_type]}" for column in QUARANTINE_COLUMNS)
    + ")",
)


CHECKED_RUNS = 20
"""Model runs whose checks are kept, all of them; of failed checks those of the last week."""
FAILED_DAYS = 7

ARRIVED = "SELECT arrived_at AS instant FROM landing._packages UNION ALL SELECT until FROM landing._model_runs"
"""Every instant behind which the next arrival must lie."""


class FileAdder(Protocol):
    """How a destination takes files into a table, inside the transaction that Landing holds."""

    def __call__(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Add the files' rows to landing.`table`, whose columns have these SQL types (names in lower case)."""


class Landing:
    """Reads and writes schema landing through one connection, whose default catalog is the warehouse."""

    def __init__(self, name: str, connection: DuckDBPyConnection, add: FileAdder) -> None:
        """`name` is the destination's, for errors; `add` is called inside the load's transaction."""
        self._name = name
        self._connection = connection
        self._add = add

    def cursors(self) -> dict[str, int]:
        """Return the sequence number of the last package loaded, by table."""
        rows = self._connection.execute("SELECT table_name, seq FROM landing._cursor WHERE seq > 0").fetchall()
        return {str(table): int(seq) for table, seq in rows}

    def newest(self) -> dict[str, str]:
        """Return the load id of the package at which each table's cursor stands."""
        rows = self._connection.execute(
            "SELECT table_name, _load_id FROM landing._packages JOIN landing._cursor USING (table_name, seq)"
        ).fetchall()
        return {str(table): str(load_id) for table, load_id in rows}

    def arrivals(self) -> dict[str, int]:
        """Return when the last package of each table arrived, in whole milliseconds since 1970 (cut off)."""
        rows = self._connection.execute(
            "SELECT table_name, epoch_ms(max(arrived_at)) FROM landing._packages GROUP BY table_name"
        ).fetchall()
        return {str(table): int(instant) for table, instant in rows}

    def identity(self) -> str:
        """Return the random name this warehouse was given when it was made (now, if it is older than such names)."""
        ask = "SELECT identity FROM landing._identity"
        rows = self._connection.execute(ask).fetchall()
        if not rows:
            self._connection.execute("INSERT INTO landing._identity VALUES (?)", [secrets.token_hex(16)])
            rows = self._connection.execute(ask).fetchall()
        return str(rows[0][0])

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create the landing tables of these declarations and add the columns they lack, in one transaction."""
        existing = self._every_column()
        known = {str(row[0]) for row in self._connection.execute("SELECT table_name FROM landing._cursor").fetchall()}
        statements = []
        for table in tables:
            wanted = [*table.columns, *LINEAGE_COLUMNS]
            if table.name not in existing:
                statements.append(_create(table.name, wanted))
            elif _lacks(existing[table.name], wanted):
                statements += self._evolution(table.name, existing[table.name], wanted)
            if table.name not in known:
                known.add(table.name)
                statements.append(f"INSERT INTO landing._cursor VALUES ({literal(table.name)}, 0)")
        if statements:
            with self._transaction():
                for statement in statements:
                    self._connection.execute(statement)

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the tables and columns that models read and nothing has landed yet; what is there stays as it is."""
        existing = self._every_column()
        missing = []
        for table in tables:
            known = existing.get(table.name, {})
            columns = tuple(column for column in table.columns if column.name.lower() not in known)
            if columns:
                missing.append(Table(table.name, columns))
        self.ensure(missing)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages of one table in one transaction: schema, rows, arrival, cursor."""
        first, last = packages[0].entry.seq, packages[-1].entry.seq
        self._check_sequence(table, packages)
        columns = {column.name: column for package in packages for column in package.manifest.columns}
        wanted = [*columns.values(), *(column for column in LINEAGE_COLUMNS if column.name not in columns)]
        files = [file for package in packages for file in _files(table, package)]
        with self._transaction():
            self._prepare(table, wanted)
            for target in (table, QUARANTINE):
                into = [file for file in files if file.table == target and file.rows]
                if into:
                    self._add(target, into, self._columns(target))
            self._advance(table, first - 1, last)
            self._arrive(packages)
        return Loaded(
            rows=sum(package.manifest.rows for package in packages),
            quarantined=sum(package.manifest.quarantined for package in packages),
            bytes=sum(package.manifest.bytes for package in packages),
            seq=last,
        )

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: return the first arrival and the instant up to which the models may read.

        Everything that arrived lies before that instant, everything to come behind it, whatever the clock does: the
        fence is noted before the models start. It is a whole millisecond, SQLMesh's resolution. None: nothing arrived.
        """
        row = self._connection.execute(
            f"""
            SELECT (SELECT min(epoch_us(arrived_at)) FROM landing._packages), max(epoch_us(instant)),
                epoch_us(get_current_timestamp())
            FROM ({ARRIVED})
            """
        ).fetchall()[0]
        if row[0] is None:
            return None
        until_ms = max(int(row[1]) + 1, int(row[2])) // 1000 + 1
        with self._transaction():
            self._connection.execute("DELETE FROM landing._model_runs")
            self._connection.execute("INSERT INTO landing._model_runs SELECT make_timestamptz(?)", [until_ms * 1000])
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + timedelta(microseconds=int(row[0])), epoch + timedelta(milliseconds=until_ms)

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Add one model run's rows to `landing._checks`; at times, let go of old ones. One transaction."""
        rows = ", ".join(f"({', '.join('?' for _ in row)})" for row in results)
        values = [value for row in results for value in row]
        execute = self._connection.execute
        with self._transaction():
            runs = execute("SELECT run_id FROM landing._checks GROUP BY ALL ORDER BY max(checked_at) DESC").fetchall()
            if len(runs) >= 2 * CHECKED_RUNS:
                kept = [str(run_id) for (run_id,) in runs[: CHECKED_RUNS - 1]]
                newest = max(row[1] for row in results)
                execute(
                    "DELETE FROM landing._checks WHERE NOT run_id IN (SELECT unnest(?)) "
                    f"AND (status = 'passed' OR checked_at < ?::TIMESTAMPTZ - INTERVAL {FAILED_DAYS} DAYS)",
                    [kept, newest],
                )
            execute(f"INSERT INTO landing._checks VALUES {rows}", values)

    def reset(self) -> None:
        """Forget every package, in one transaction: the landing tables are gone, the cursors stand before the first."""
        with self._transaction():
            for table in self._every_column():
                if not table.startswith("_"):
                    self._connection.execute(f"DROP TABLE landing.{identifier(table)}")
            for table in ("_packages", "_cursor", QUARANTINE):
                self._connection.execute(f"DELETE FROM landing.{identifier(table)}")

    def _check_sequence(self, table: str, packages: Sequence[Package]) -> None:
        """Refuse a package that is loaded already or that leaves a gap, before anything is touched."""
        sequence = [package.entry.seq for package in packages]
        expected = self.cursors().get(table, 0) + 1
        if sequence == list(range(expected, expected + len(sequence))):
            return
        why = "is loaded already" if sequence[0] < expected else "does not follow the last one loaded"
        raise DestinationError(
            self._name,
            f"package {sequence[0]} of {table} {why}: the next is {expected}",
            "Run again: the destination catches up from its own cursor.",
        )

    def _prepare(self, table: str, wanted: Sequence[Column]) -> None:
        existing = self._columns(table)
        statements = self._evolution(table, existing, wanted) if existing else [_create(table, wanted)]
        for statement in statements:
            self._connection.execute(statement)

    def _advance(self, table: str, before: int, after: int) -> None:
        """Move the cursor by compare-and-swap, so that a second writer's transaction cannot commit as well."""
        execute = self._connection.execute
        if not execute("SELECT 1 FROM landing._cursor WHERE table_name = ?", [table]).fetchall():
            execute("INSERT INTO landing._cursor VALUES (?, 0)", [table])
        moved = execute(
            "UPDATE landing._cursor SET seq = ? WHERE table_name = ? AND seq = ?", [after, table, before]
        ).fetchall()[0][0]
        if moved != 1:
            raise DestinationError(
                self._name,
                f"the cursor of {table} is no longer at {before}: another program loaded this table",
                "Run again: the destination catches up from its own cursor.",
            )

    def _arrive(self, packages: Sequence[Package]) -> None:
        """Note each package's arrival: now, but always later than every arrival before it (a clock may jump back)."""
        placeholders = ", ".join("(?, ?, ?, ?, ?, ?)" for _ in packages)
        values = [
            value
            for place, package in enumerate(packages)
            for value in (
                package.entry.load_id,
                package.entry.table,
                place,
                package.manifest.rows,
                package.entry.source,
                package.entry.seq,
            )
        ]
        self._connection.execute(
            f"""
            INSERT INTO landing._packages
            SELECT load_id, table_name, make_timestamptz(start + place), rows, source, seq
            FROM (VALUES {placeholders}) AS arrived (load_id, table_name, place, rows, source, seq),
                (SELECT greatest(epoch_us(get_current_timestamp()), coalesce(max(epoch_us(instant)) + 1, 0)) AS start
                 FROM ({ARRIVED})) AS clock
            """,
            values,
        )

    def _columns(self, table: str) -> dict[str, str]:
        """Return the columns (lower-case name: SQL type) of one table as this transaction sees it; {} if none."""
        rows = self._connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = 'landing' AND table_name = ?",
            [table],
        ).fetchall()
        return {str(name).lower(): str(data_type) for name, data_type in rows}

    def _every_column(self) -> dict[str, dict[str, str]]:
        rows = self._connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = 'landing'"
        ).fetchall()
        tables: dict[str, dict[str, str]] = {}
        for table, name, data_type in rows:
            tables.setdefault(str(table), {})[str(name).lower()] = str(data_type)
        return tables

    def _evolution(self, table: str, existing: Mapping[str, str], wanted: Sequence[Column]) -> list[str]:
        """Return the ALTERs that make room for `wanted`: new columns, and whole numbers that became doubles.

        A column that is wider in the table already stays as it is (an older package arrives late).
        """
        statements = []
        for column in wanted:
            stored, delivered = existing.get(column.name.lower()), SQL_TYPES[column.data_type]
            change = f"ALTER TABLE landing.{identifier(table)}"
            if stored is None:
                statements.append(f"{change} ADD COLUMN {identifier(column.name)} {delivered}")
            elif fit(delivered, stored) == "conflict":
                if (stored, delivered) != ("BIGINT", "DOUBLE"):
                    raise DestinationError(
                        self._name,
                        f"column {column.name!r} of landing.{table} is stored as {stored}, not as {delivered}",
                        "Give the column one type in pipelines.yaml, then run `engine replay` for this destination.",
                    )
                statements.append(f"{change} ALTER COLUMN {identifier(column.name)} SET DATA TYPE DOUBLE")
        return statements

    @contextmanager
    def _transaction(self) -> Iterator[None]:
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


def _create(table: str, columns: Sequence[Column]) -> str:
    body = ", ".join(f"{identifier(column.name)} {SQL_TYPES[column.data_type]}" for column in _once(columns))
    return f"CREATE TABLE landing.{identifier(table)} ({body})"


def _once(columns: Sequence[Column]) -> list[Column]:
    """Each column once; the first declaration counts (a payload's own `source`, for one)."""
    once: dict[str, Column] = {}
    for column in columns:
        once.setdefault(column.name.lower(), column)
    return list(once.values())


def _lacks(existing: Mapping[str, str], wanted: Sequence[Column]) -> bool:
    return any(existing.get(column.name.lower()) != SQL_TYPES[column.data_type] for column in wanted)


def _files(table: str, package: Package) -> Iterator[LandedFile]:
    manifest = package.manifest
    for file, path in zip(manifest.files, package.local_files, strict=True):
        yield LandedFile(
            path=Path(path),
            table=QUARANTINE if file.quarantine else table,
            load_id=manifest.load_id,
            name=file.name,
            rows=file.rows,
            columns=QUARANTINE_COLUMNS if file.quarantine else manifest.columns,
        )
