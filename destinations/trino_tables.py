"""Schema `landing` in Trino's Iceberg catalog: its tables, their columns, and how these grow with the packages.

Iceberg adds columns in place. It cannot turn whole numbers into doubles: such a table is made anew beside the old one
and takes its name; a kill between the two steps is finished by the next open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from destinations.package_rows import SQL_TYPES, fit
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
WIDER = "__wider"
"""What the name of a table that is being made anew ends in."""


class Tables:
    """The landing tables of one catalog and their columns, looked up once and remembered: there is one writer."""

    def __init__(self, session: Session, catalog: str) -> None:
        """Asks nothing yet."""
        self._session = session
        self._catalog = catalog
        self._known: dict[str, dict[str, str]] = {}
        self._complete = False

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
        for name in there:
            if name.endswith(WIDER):
                whole = name.removesuffix(WIDER)
                if whole in there:
                    self._session.rows(f"DROP TABLE landing.{identifier(name)}")
                else:
                    self._rename(name, whole)

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

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create the tables of these declarations and add the columns they lack."""
        self._look()
        for table in tables:
            self.prepare(table.name, [*table.columns, *LINEAGE_COLUMNS])

    def provide(self, tables: Iterable[Table]) -> None:
        """Create the tables and columns that models read and nothing has landed yet; what is there stays as it is."""
        self._look()
        missing = []
        for table in tables:
            known = self.columns(table.name)
            columns = tuple(column for column in table.columns if column.name.lower() not in known)
            if columns:
                missing.append(Table(table.name, columns))
        self.ensure(missing)

    def prepare(self, table: str, wanted: Sequence[Column]) -> None:
        """Make room for `wanted`: the table, new columns, doubles where whole numbers were.

        A column that is wider in the table already stays as it is (an older package arrives late).
        """
        existing = self.columns(table)
        if not existing:
            self._create(table, wanted)
            return
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
                        "Give the column one type in pipelines.yaml, then run `engine replay` for this destination.",
                    )
                widened.append(column.name.lower())
        if widened:
            self._widen(table, widened)

    def stored(self, table: str) -> dict[str, tuple[str, DataType]]:
        """Return for each column its SQL type as package_rows names it, and its data type."""
        return {name: (self.sql_type(stored), DATA_TYPES[stored]) for name, stored in self.columns(table).items()}

    def empty(self, tables: Iterable[str]) -> None:
        """Drop these landed tables; the quarantine is made anew."""
        self._look()
        for table in (*tables, QUARANTINE):
            self._session.rows(f"DROP TABLE IF EXISTS landing.{identifier(table)}")
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

    def _create(self, table: str, wanted: Sequence[Column]) -> None:
        once: dict[str, str] = {}
        for column in wanted:  # the first declaration counts (a payload's own `source`, for one)
            once.setdefault(column.name.lower(), TYPES[column.data_type])
        body = ", ".join(f"{identifier(name)} {data_type}" for name, data_type in once.items())
        self._session.rows(f"CREATE TABLE landing.{identifier(table)} ({body})")
        self._known[table] = once

    def _widen(self, table: str, columns: Sequence[str]) -> None:
        """Make the table anew with doubles in place of whole numbers; only rows of packages that have arrived stay."""
        existing = self.columns(table)
        chosen = ", ".join(
            f"CAST({identifier(name)} AS double) AS {identifier(name)}" if name in columns else identifier(name)
            for name in existing
        )
        packages = f"SELECT _load_id FROM landing._packages WHERE table_name = {literal(table)}"
        self._session.rows(f"DROP TABLE IF EXISTS landing.{identifier(table + WIDER)}")
        self._session.rows(
            f"CREATE TABLE landing.{identifier(table + WIDER)} AS "
            f"SELECT {chosen} FROM landing.{identifier(table)} WHERE _load_id IN ({packages})"
        )
        self._session.rows(f"DROP TABLE landing.{identifier(table)}")
        self._rename(table + WIDER, table)
        existing.update(dict.fromkeys(columns, "double"))

    def _rename(self, name: str, to: str) -> None:
        self._session.rows(f"ALTER TABLE landing.{identifier(name)} RENAME TO landing.{identifier(to)}")
