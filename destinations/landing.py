"""Schema `landing` of an SQL database: tables and how they evolve, cursors, arrival.

One load is one transaction. The rules that ask no database are in `landing_rules`; what differs between databases is in
`dialect`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from destinations.dialect import Dialect, Session
from destinations.landing_counts import row_counts
from destinations.landing_rules import (
    check_sequence,
    creation,
    doubled,
    evolution,
    gone,
    lacks,
    landed_files,
    loaded,
    lost,
    overtaken,
    wanted_columns,
)
from destinations.package_rows import LandedFile
from destinations.protocol import ColumnsLoaded, Loaded
from engine.table import LINEAGE_COLUMNS, QUARANTINE, Column, Table

if TYPE_CHECKING:
    from engine.lake.package import Package

CHECKED_RUNS = 20
"""Model runs whose checks are kept, all of them; of failed checks those of the last week."""
FAILED_DAYS = 7

ARRIVED = "SELECT arrived_at AS instant FROM landing._packages UNION ALL SELECT until FROM landing._model_runs"
"""Every instant behind which the next arrival must lie."""


class FileAdder(Protocol):
    """How a destination takes files into a table, inside the transaction that Landing holds."""

    def __call__(self, table: str, files: Sequence[LandedFile], types: Mapping[str, str]) -> None:
        """Add the files' rows to landing.`table`, whose columns have these type words (names in lower case)."""


class Landing:
    """Reads and writes schema landing through one session, whose default catalog is the destination."""

    def __init__(
        self,
        name: str,
        session: Session,
        dialect: Dialect,
        add: FileAdder,
        bring: FileAdder | None = None,
        alter: Callable[[str], None] | None = None,
    ) -> None:
        """`name` is the destination's, for errors; `add` is called inside the load's transaction.

        `bring` is called before it, where the files have to be on the server already and DDL commits by itself; `alter`
        runs a CREATE or ALTER before it, where one inside it would lock readers out until the rows are there. What they
        make are additions: a load that fails afterwards may leave them.
        """
        self._name = name
        self._session = session
        self._dialect = dialect
        self._add = add
        self._bring = bring
        self._alter = alter
        self.columns_loaded: ColumnsLoaded = lambda _table, _seq: ()

    def cursors(self) -> dict[str, int]:
        """Return the sequence number of the last package loaded, by table."""
        rows = self._session.execute("SELECT table_name, seq FROM landing._cursor WHERE seq > 0")
        return {str(table): int(seq) for table, seq in rows}

    def newest(self) -> dict[str, str]:
        """Return the load id of the package at which each table's cursor stands."""
        rows = self._session.execute(
            "SELECT table_name, _load_id FROM landing._packages JOIN landing._cursor USING (table_name, seq)"
        )
        return {str(table): str(load_id) for table, load_id in rows}

    def arrivals(self) -> dict[str, int]:
        """Return when the last package of each table arrived, in whole milliseconds since 1970 (cut off)."""
        instant = self._dialect.microseconds.format("max(arrived_at)")
        rows = self._session.execute(f"SELECT table_name, {instant} FROM landing._packages GROUP BY table_name")
        return {str(table): int(microseconds) // 1000 for table, microseconds in rows}

    def identity(self) -> str:
        """Return the random name this warehouse was given when it was made (now, if it is older than such names)."""
        ask = "SELECT identity FROM landing._identity"
        rows = self._session.execute(ask)
        if not rows:
            mark = self._dialect.mark
            self._session.change(f"INSERT INTO landing._identity VALUES ({mark})", [secrets.token_hex(16)])
            rows = self._session.execute(ask)
        return str(rows[0][0])

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create the landing tables of these declarations and add the columns they lack.

        In one transaction, except where CREATE and ALTER come before a load's: a failure may then leave some of them.
        """
        existing = self._every_column()
        known = {str(row[0]) for row in self._session.execute("SELECT table_name FROM landing._cursor")}
        statements, strangers = [], []
        for table in tables:
            wanted = [*table.columns, *LINEAGE_COLUMNS]
            if table.name not in existing:
                statements.append(creation(self._dialect, table.name, wanted))
            elif lacks(existing[table.name], wanted):
                statements += self._evolve(table.name, existing[table.name], wanted)
            if table.name not in known:
                known.add(table.name)
                strangers.append(table.name)
        if self._is_made_first:
            while statements:
                self._make(statements.pop(0))
        if statements or strangers:
            with self._session.transaction():
                for statement in statements:
                    self._session.execute(statement)
                for table_name in strangers:
                    self._session.change(self._dialect.seed_cursor.format(self._dialect.mark), [table_name])

    def tables(self) -> set[str]:
        """Return the names of the tables in schema landing."""
        return {str(table) for table, *_ in self._session.execute(self._dialect.columns)}

    def columns(self) -> dict[str, set[str]]:
        """Return the columns (lower case) of each table in schema landing."""
        return {table: {*columns} for table, columns in self._every_column().items()}

    def row_counts(self, declared: Collection[str]) -> dict[str, tuple[int, int | None]]:
        """Return how many rows were loaded into each of these tables, and how many are there (None: no table)."""
        return row_counts(self._session.execute, self.tables(), declared, self._dialect.quote)

    def set_back(self, table: Table) -> None:
        """Make a lost table, empty, and put its cursor before its first package: it is loaded from there again.

        One transaction; where CREATE commits by itself the cursor goes first, and back if the table cannot be made.
        When its packages arrived stays noted, so that models, which have read them, do not take them for new.
        """
        mark, make = self._dialect.mark, creation(self._dialect, table.name, [*table.columns, *LINEAGE_COLUMNS])
        move = f"UPDATE landing._cursor SET seq = {mark} WHERE table_name = {mark}"
        if not self._dialect.commits_ddl:
            with self._session.transaction():
                self._session.execute(make)
                self._session.change(move, [0, table.name])
            return
        before = self.cursors()[table.name]
        self._session.change(move, [0, table.name])
        try:
            self._session.execute(make)
        except Exception:
            with suppress(Exception):  # a server that is gone: a table that comes back with its rows is refused
                self._session.change(move, [before, table.name])
            raise

    def unfilled(self) -> set[str]:
        """Return the tables that were set back and are not filled again up to where they had been.

        One with rows before its first package is none of them: its cursor is lost, and loading would double them.
        """
        short = self._session.execute(
            "SELECT DISTINCT c.table_name, c.seq FROM landing._cursor c JOIN landing._packages p"
            " ON p.table_name = c.table_name AND p.seq > c.seq"
        )
        return {str(table) for table, seq in short if seq or not self._has_packages(str(table))}

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the tables and columns that models read and nothing has landed yet; what is there stays as it is."""
        existing = self._every_column()
        missing, cursors = [], self.cursors()
        for table in tables:
            known = existing.get(table.name, {})
            if not known and table.name in cursors:
                raise gone(self._name, table.name)
            columns = tuple(column for column in table.columns if column.name.lower() not in known)
            if columns:
                missing.append(Table(table.name, columns))
        self.ensure(missing)

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages of one table in one transaction: schema, rows, arrival, cursor."""
        first, last = packages[0].entry.seq, packages[-1].entry.seq
        self._check_sequence(table, packages)
        wanted = wanted_columns(packages)
        files = list(landed_files(table, packages))
        if first == 1:
            self._refuse_to_double(table)
        if self._is_made_first:
            self._prepare(table, wanted)
        if self._bring:
            self._hand(table, files, self._bring)
        with self._session.transaction():
            if not self._is_made_first:
                self._prepare(table, wanted)
            if first == 1:  # of a table that was lost
                self._session.change(
                    f"DELETE FROM landing.{QUARANTINE} WHERE table_name = {self._dialect.mark}", [table]
                )
            self._hand(table, files, self._add)
            self._advance(table, first - 1, last)
            self._arrive(packages)
        return loaded(packages)

    def begin_models(self) -> tuple[datetime, datetime] | None:
        """Fence off what has arrived: return the first arrival and the instant up to which the models may read.

        Everything that arrived lies before that instant, everything to come behind it, whatever the clock does: the
        fence is noted before the models start. It is a whole millisecond, SQLMesh's resolution. None: nothing arrived.
        """
        microseconds, dialect = self._dialect.microseconds.format, self._dialect
        with self._session.transaction():
            if dialect.wait_for_loads:
                self._session.change(dialect.wait_for_loads)
            row = self._session.execute(
                f"""
                SELECT (SELECT min({microseconds("arrived_at")}) FROM landing._packages),
                    max({microseconds("instant")}), {microseconds(dialect.now)}
                FROM ({ARRIVED}) AS arrived
                """
            )[0]
            if row[0] is None:
                return None
            until_ms = max(int(row[1]) + 1, int(row[2])) // 1000 + 1
            self._session.change("DELETE FROM landing._model_runs")
            until = dialect.instant.format(str(until_ms * 1000))
            self._session.change(f"INSERT INTO landing._model_runs SELECT {until}")
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + timedelta(microseconds=int(row[0])), epoch + timedelta(milliseconds=until_ms)

    def note_checks(self, results: Sequence[tuple[Any, ...]]) -> None:
        """Add one model run's rows to `landing._checks`; at times, let go of old ones. One transaction."""
        mark = self._dialect.mark
        rows = ", ".join(f"({', '.join(mark for _ in row)})" for row in results)
        values = [value for row in results for value in row]
        with self._session.transaction():
            runs = self._session.execute(
                "SELECT run_id FROM landing._checks GROUP BY run_id ORDER BY max(checked_at) DESC"
            )
            if len(runs) >= 2 * CHECKED_RUNS:
                kept = [str(run_id) for (run_id,) in runs[: CHECKED_RUNS - 1]]
                failed_before = max(row[1] for row in results) - timedelta(days=FAILED_DAYS)
                self._session.change(
                    f"DELETE FROM landing._checks WHERE NOT run_id IN ({', '.join(mark for _ in kept)}) "
                    f"AND (status = 'passed' OR checked_at < {mark})",
                    [*kept, failed_before],
                )
            self._session.change(f"INSERT INTO landing._checks VALUES {rows}", values)

    def reset(self, own: Collection[str] = ()) -> None:
        """Forget every package, in one transaction: the tables they came to are gone, cursors stand before the first.

        Where DROP commits by itself the tables are emptied in that transaction, and gone after it. A table of schema
        landing that is not among the project's `own`, and to which nothing was loaded, is somebody else's: it stays.
        """
        loaded = {table for (table,) in self._session.execute("SELECT DISTINCT table_name FROM landing._packages")}
        tables = [table for table in self._every_column() if table in loaded or table in own]
        quote, commits_ddl = self._dialect.quote, self._dialect.commits_ddl
        drops = [f"DROP TABLE landing.{quote(table)}" for table in tables]
        with self._session.transaction():
            if not commits_ddl:
                for drop in drops:
                    self._session.execute(drop)
            for table in (*(tables if commits_ddl else ()), "_packages", "_cursor", QUARANTINE):
                self._session.change(f"DELETE FROM landing.{quote(table)}")
        if commits_ddl:
            for drop in drops:
                self._session.execute(drop)

    def _check_sequence(self, table: str, packages: Sequence[Package]) -> None:
        check_sequence(self._name, table, self.cursors().get(table, 0), packages)

    def _refuse_to_double(self, table: str) -> None:
        """Before a table's first package: no row of a package may be there. Somebody moved the table, or the cursor."""
        if self._has_packages(table):
            if table in self.cursors():  # another writer's, just now
                raise overtaken(self._name, table, 0)
            raise doubled(self._name, table)

    def _has_packages(self, table: str) -> bool:
        """Whether a row of a package is in the table."""
        if "_load_id" not in self._columns(table):
            return False
        whole = f"landing.{self._dialect.quote(table)}"
        return bool(self._session.execute(f"SELECT 1 FROM {whole} WHERE _load_id IS NOT NULL LIMIT 1"))

    def _hand(self, table: str, files: Sequence[LandedFile], to: FileAdder) -> None:
        for target in (table, QUARANTINE):
            into = [file for file in files if file.table == target and file.rows]
            if into:
                to(target, into, self._columns(target))

    def _prepare(self, table: str, wanted: Sequence[Column]) -> None:
        existing = self._columns(table)
        statements = self._evolve(table, existing, wanted) if existing else [creation(self._dialect, table, wanted)]
        for statement in statements:
            self._make(statement)

    def _evolve(self, table: str, existing: Mapping[str, str], wanted: Sequence[Column]) -> list[str]:
        """Return the ALTERs that make room for `wanted`. Raises DestinationError for a column that was dropped."""
        missing = {column.name.lower() for column in wanted} - existing.keys()
        if missing and (seq := self.cursors().get(table)):
            gone_since = missing.intersection(self.columns_loaded(table, seq))
            if gone_since:
                raise lost(self._name, table, gone_since, set_back=True)
        return evolution(self._name, self._dialect, table, existing, wanted)

    @property
    def _is_made_first(self) -> bool:
        """Whether CREATE and ALTER come before the transaction."""
        return self._dialect.commits_ddl or self._alter is not None

    def _make(self, statement: str) -> None:
        (self._alter or self._session.execute)(statement)

    def _advance(self, table: str, before: int, after: int) -> None:
        """Move the cursor by compare-and-swap, so that a second writer's transaction cannot commit as well."""
        session, mark = self._session, self._dialect.mark
        if not session.execute(f"SELECT 1 FROM landing._cursor WHERE table_name = {mark}", [table]):
            session.change(self._dialect.seed_cursor.format(mark), [table])
        moved = session.change(
            f"UPDATE landing._cursor SET seq = {mark} WHERE table_name = {mark} AND seq = {mark}",
            [after, table, before],
        )
        if moved != 1:
            raise overtaken(self._name, table, before)

    def _arrive(self, packages: Sequence[Package]) -> None:
        """Note each package's arrival: now, but always later than every arrival before it (a clock may jump back).

        One that had arrived before its table was lost keeps its arrival.
        """
        dialect = self._dialect
        row = f"({', '.join([dialect.mark] * 6)})"
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
        now, last = dialect.microseconds.format(dialect.now), dialect.microseconds.format("instant")
        self._session.change(
            f"""
            INSERT INTO landing._packages
            SELECT load_id, table_name, {dialect.instant.format("(start_us + place)")}, row_count, from_source, seq
            FROM (VALUES {", ".join(row for _ in packages)})
                AS arrived (load_id, table_name, place, row_count, from_source, seq),
                (SELECT greatest({now}, coalesce(max({last}) + 1, 0)) AS start_us
                 FROM ({ARRIVED}) AS instants) AS clock
            WHERE NOT EXISTS (SELECT 1 FROM landing._packages AS known
                WHERE known._load_id = arrived.load_id AND known.table_name = arrived.table_name)
            """,
            values,
        )

    def _columns(self, table: str) -> dict[str, str]:
        """Return the columns (lower-case name: type word) of one table as this transaction sees it; {} if none."""
        rows = self._session.execute(f"{self._dialect.columns} AND table_name = {self._dialect.mark}", [table])
        return {str(name).lower(): self._dialect.word(str(data_type)) for _, name, data_type in rows}

    def _every_column(self) -> dict[str, dict[str, str]]:
        tables: dict[str, dict[str, str]] = {}
        for table, name, data_type in self._session.execute(self._dialect.columns):
            tables.setdefault(str(table), {})[str(name).lower()] = self._dialect.word(str(data_type))
        return tables
