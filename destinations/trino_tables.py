"""Schema `landing` in Trino's Iceberg catalog: its tables, their columns, and how these grow with the packages.

Iceberg adds columns in place. It cannot turn whole numbers into doubles: such a table is made anew beside the old one,
which is moved aside and goes when the new one has its name. What a kill leaves is cleared up by the next open: a table
that was moved aside, and has no successor, comes back.

Tables are made and changed by the lease's holder alone: another machine could take a table that is being made for one
that a killed writer left, or fill one that is about to go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from destinations.landing_rules import AGAIN, ONE_TYPE, gone, lost
from destinations.package_rows import SQL_TYPES, fit
from destinations.protocol import ColumnsLoaded
from destinations.trino_lease import Lease
from destinations.trino_session import Session
from engine.errors import DestinationError
from engine.sql import identifier, literal
from engine.table import LINEAGE_COLUMNS, QUARANTINE, QUARANTINE_COLUMNS, Column, DataType, Table

TYPES: Mapping[DataType, str] = {
    "text": "varchar",
    "bigint": "bigint",
    "double": "double",
    "decimal": "decimal(38,18)",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp(6) with time zone",
    "json": "varchar",
}
"""How each data type is stored, as Trino writes it."""
DATA_TYPES: Mapping[str, DataType] = {sql: name for name, sql in TYPES.items() if name != "json"}

BOOKKEEPING: Mapping[str, str] = {
    "_packages": (
        "CREATE TABLE IF NOT EXISTS landing._packages (_load_id varchar, table_name varchar, "
        "arrived_at timestamp(6) with time zone, rows bigint, source varchar, seq bigint)"
    ),
    "_model_runs": "CREATE TABLE IF NOT EXISTS landing._model_runs (until timestamp(6) with time zone)",
    "_lease": (
        "CREATE TABLE IF NOT EXISTS landing._lease (name varchar, holder varchar, until timestamp(6) with time zone)"
    ),
    "_identity": "CREATE TABLE IF NOT EXISTS landing._identity (identity varchar)",
    "_checks": (
        "CREATE TABLE IF NOT EXISTS landing._checks (run_id varchar, checked_at timestamp(6) with time zone, "
        "model varchar, audit varchar, blocking boolean, status varchar, failed_rows bigint, sample varchar, "
        "look varchar)"
    ),
}
CURSOR = """
CREATE OR REPLACE VIEW landing._cursor AS
SELECT t.table_name, COALESCE(MAX(p.seq), 0) AS seq
FROM {catalog}.information_schema.tables AS t
LEFT JOIN landing._packages AS p ON p.table_name = t.table_name
WHERE t.table_schema = 'landing' AND NOT t.table_name LIKE '!_%' ESCAPE '!'
GROUP BY t.table_name
"""
WIDER, ASIDE = "_wider_", "_aside_"
"""What the name of a table ends in that is being made anew, and that of the one whose place it is to take."""


class Tables:
    """The landing tables of one catalog and their columns, remembered for as long as no other machine can write."""

    def __init__(self, session: Session, catalog: str, lease: Lease) -> None:
        """Asks nothing yet."""
        self._session = session
        self._catalog = catalog
        self._lease = lease
        self._known: dict[str, dict[str, str]] = {}
        self._complete = False
        self.columns_loaded: ColumnsLoaded = lambda _table, _seq: ()

    def open(self) -> None:
        """Create what is missing of the schema and its bookkeeping; finish what a killed widening left."""
        self._session.rows(f"CREATE SCHEMA IF NOT EXISTS {identifier(self._catalog)}.landing")
        there = {str(name) for (name,) in self._session.rows("SHOW TABLES FROM landing")}
        for name, statement in BOOKKEEPING.items():
            if name not in there:
                self._session.rows(statement)
        if "_cursor" not in there:
            self._session.rows(CURSOR.format(catalog=identifier(self._catalog)))
        if QUARANTINE not in there:
            self._create(QUARANTINE, QUARANTINE_COLUMNS)
        if any(name.startswith((WIDER, ASIDE)) for name in there):
            self.alone()  # who is at it now is no killed writer
            self._clear_up({str(name) for (name,) in self._session.rows("SHOW TABLES FROM landing")})

    def alone(self) -> None:
        """Be the one writer for some minutes to come; forget what others may have changed before. Raises BusyError."""
        if self._lease.take():
            self._known, self._complete = {}, False

    def columns(self, table: str) -> dict[str, str]:
        """Return a table's columns (lower-case name: Trino's type); {} if there is no such table."""
        if table not in self._known and not self._complete:
            asked = self._session.rows(
                "SELECT column_name, data_type FROM information_schema.columns "
                f"WHERE table_schema = 'landing' AND table_name = {literal(table.lower())}"
            )
            if asked:
                self._known[table] = {str(name): str(data_type) for name, data_type in asked}
        return self._known.get(table, {})

    def names(self) -> set[str]:
        """Return the names of the tables that are there."""
        self._look()
        return set(self._known)

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create the tables of these declarations and add the columns they lack."""
        declared = [(table.name, [*table.columns, *LINEAGE_COLUMNS]) for table in tables]
        self._look()
        if not all(self._has(table, wanted) for table, wanted in declared):
            self.alone()
            self._look()
            for table, wanted in declared:
                self.prepare(table, wanted)

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the tables and columns that models read and nothing has landed yet; what is there stays as it is."""
        self._look()
        missing = []
        loaded = {str(table) for (table,) in self._session.rows("SELECT DISTINCT table_name FROM landing._packages")}
        for table in tables:
            known = self.columns(table.name)
            if not known and table.name in loaded:
                raise gone(self._session.name, table.name)
            columns = tuple(column for column in table.columns if column.name.lower() not in known)
            if columns:
                missing.append(Table(table.name, columns))
        self.ensure(missing)

    def prepare(self, table: str, wanted: Sequence[Column]) -> None:
        """Make room for `wanted`: the table, new columns, doubles where whole numbers were.

        A column that is wider in the table already stays as it is (an older package arrives late).
        """
        if self._has(table, wanted):
            return
        self.alone()
        existing = self.columns(table)
        if not existing:
            self._create(table, wanted)
            return
        self._refuse_lost(table, {column.name.lower() for column in wanted} - existing.keys())
        widened = []
        for column in wanted:
            stored, delivered = existing.get(column.name.lower()), TYPES[column.data_type]
            if stored is None:
                self._session.rows(
                    f"ALTER TABLE landing.{identifier(table)} ADD COLUMN {identifier(column.name)} {delivered}"
                )
                existing[column.name.lower()] = delivered
            elif fit(SQL_TYPES[column.data_type], self.sql_type(stored)) == "conflict":
                if (stored, delivered) != ("bigint", "double"):
                    raise DestinationError(
                        self._session.name,
                        f"column {column.name!r} of landing.{table} is stored as {self.sql_type(stored)}, "
                        f"not as {SQL_TYPES[column.data_type]}",
                        ONE_TYPE,
                    )
                widened.append(column.name.lower())
        if widened:
            self._widen(table, widened)

    def _refuse_lost(self, table: str, missing: Collection[str]) -> None:
        """Raise DestinationError for a column that was dropped: the packages loaded up to now had it."""
        if not missing:
            return
        seq = self._session.one(f"SELECT MAX(seq) FROM landing._packages WHERE table_name = {literal(table)}")
        gone_since = {*missing}.intersection(self.columns_loaded(table, seq or 0))
        if gone_since:
            raise lost(self._session.name, table, gone_since, set_back=False)

    def stored(self, table: str) -> dict[str, tuple[str, DataType]]:
        """Return for each column its SQL type as package_rows names it, and its data type."""
        return {name: (self.sql_type(stored), DATA_TYPES[stored]) for name, stored in self.columns(table).items()}

    def empty(self, tables: Iterable[str]) -> None:
        """Drop these landed tables; the quarantine is made anew."""
        self.alone()
        for table in (*tables, QUARANTINE):
            self._drop(table)
            self._known.pop(table, None)
        self._create(QUARANTINE, QUARANTINE_COLUMNS)

    @staticmethod
    def sql_type(stored: str) -> str:
        """Return a column's type as package_rows names it; what no landing table should have keeps Trino's name."""
        return SQL_TYPES[DATA_TYPES[stored]] if stored in DATA_TYPES else stored

    def _look(self) -> None:
        """Ask once for every column. By the tables' names: without them Trino takes two seconds."""
        if self._complete:
            return
        names = ", ".join(literal(str(name)) for (name,) in self._session.rows("SHOW TABLES FROM landing"))
        self._known = {}
        for table, name, data_type in self._session.rows(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = 'landing' AND table_name IN ({names})"
        ):
            self._known.setdefault(str(table), {})[str(name)] = str(data_type)
        self._complete = True

    def _has(self, table: str, wanted: Sequence[Column]) -> bool:
        """Whether a table has room for these columns."""
        existing = self.columns(table)
        return bool(existing) and all(
            column.name.lower() in existing
            and fit(SQL_TYPES[column.data_type], self.sql_type(existing[column.name.lower()])) != "conflict"
            for column in wanted
        )

    def _create(self, table: str, wanted: Sequence[Column]) -> None:
        once: dict[str, str] = {}
        for column in wanted:  # the first declaration counts (a payload's own `source`, for one)
            once.setdefault(column.name.lower(), TYPES[column.data_type])
        body = ", ".join(f"{identifier(name)} {data_type}" for name, data_type in once.items())
        self._session.rows(f"CREATE TABLE landing.{identifier(table)} ({body})")
        self._known[table] = once

    def _widen(self, table: str, columns: Sequence[str]) -> None:
        """Make the table anew with doubles in place of whole numbers; only rows of packages that have arrived stay."""
        existing, wider, aside = self.columns(table), WIDER + table, ASIDE + table
        chosen = ", ".join(
            f"CAST({identifier(name)} AS double) AS {identifier(name)}" if name in columns else identifier(name)
            for name in existing
        )
        of_table = f"FROM landing._packages WHERE table_name = {literal(table)}"
        before = self._session.one(f"SELECT MAX(seq) {of_table}")
        self._drop(wider)
        self._session.rows(
            f"CREATE TABLE landing.{identifier(wider)} AS SELECT {chosen} FROM landing.{identifier(table)} "
            f"WHERE _load_id IN (SELECT _load_id {of_table})"
        )
        self._lease.take()  # that may have taken long
        self._rename(table, aside)  # from here on nobody adds to it
        if self._session.one(f"SELECT MAX(seq) {of_table}") != before:
            self._rename(aside, table)
            self._drop(wider)
            raise DestinationError(
                self._session.name, f"another machine loaded into landing.{table} while it was made anew", AGAIN
            )
        self._rename(wider, table)
        self._drop(aside)
        existing.update(dict.fromkeys(columns, "double"))

    def _clear_up(self, there: set[str]) -> None:
        """Finish what was killed while a table was made anew: the new one counts once it has the name, not before."""
        for beginning, name in sorted(
            (beginning, name) for name in there for beginning in (ASIDE, WIDER) if name.startswith(beginning)
        ):
            whole = name.removeprefix(beginning)
            if whole in there:
                self._drop(name)
            else:
                self._rename(name, whole)
                there = there | {whole}

    def _drop(self, name: str) -> None:
        self._session.rows(f"DROP TABLE IF EXISTS landing.{identifier(name)}")

    def _rename(self, name: str, to: str) -> None:
        self._session.rows(f"ALTER TABLE landing.{identifier(name)} RENAME TO landing.{identifier(to)}")
