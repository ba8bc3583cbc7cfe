"""Schema `timeseries`: hypertables and candles, kept in step with what pipelines.yaml declares.

What was applied to each table, and which are ours, is in the books (destinations.series_books): a stranger's table is
never touched. A table that is missing, or whose key or instant is declared anew, is made and filled from landing in one
transaction; everything else is changed in place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from destinations import series_policies
from destinations.candles import Candles, candle_views
from destinations.chunks import SCHEMA, Chunks, gone
from destinations.postgres_session import SEARCH_PATH, PostgresSession
from destinations.relations import columns_of, drop, grants
from destinations.series_books import Books, Noted
from destinations.series_rows import (
    fill,
    gone_for_good,
    has_values,
    is_emptied,
    key_of,
    landed,
    newest_first,
    restore,
)
from destinations.timescale_edition import APACHE, NOTHING, is_community
from engine.errors import DestinationError
from engine.sql import identifier, literal, qualified
from engine.table import LINEAGE_COLUMNS, Table
from engine.timeseries import CANDLES, LONGEST_NAME
from engine.words import counted

MISSING = (
    "this server has no TimescaleDB: the tables of schema timeseries are plain ones, without chunks, compression, "
    "retention and candles. Install the extension there; the next run takes it up."
)


class Hypertables:
    """The time series of one database, through its writer's session."""

    def __init__(self, name: str, session: PostgresSession, notes: list[str]) -> None:
        """`name` is the destination's, for errors; what a person should know is added to `notes`."""
        self._name = name
        self._session = session
        self._notes = notes
        self._books = Books(session)
        self._chunks = Chunks(session)
        self._candles = Candles(name, session, self._chunks)
        self._older = False
        """Whether the tables are of a release that noted no chunks."""

    def keep(self, tables: Sequence[Table]) -> None:
        """Make, fill and change what these declarations ask for."""
        if not tables:
            return
        execute = self._session.execute
        if not self._books.schema_is_there():
            execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        self._older = self._older or not self._columns(SCHEMA, "_chunks")
        self._books.keep()
        noted = self._books.noted()
        cursors = dict(execute("SELECT table_name, seq FROM landing._cursor"))
        lacking = [] if self.extension else [MISSING]
        if self.extension and not self.community and any(self._declared_parts(table) != NOTHING for table in tables):
            lacking = [APACHE]
        self._notes += [note for note in lacking if note not in self._notes]
        for table in tables:
            self._keep(table, noted.get(table.name), cursors.get(table.name, 0))

    def _keep(self, declared: Table, noted: Noted | None, cursor: int) -> None:
        """Keep one table, whose landing table is at this cursor."""
        if noted is None:
            self._claim(declared)
        kept = noted or Noted()
        before = kept.settings
        table = _in_order(declared, before)
        if self._older and before and before["extension"] and self.extension and self._columns(SCHEMA, table.name):
            self._chunks.find_gone(table.name, before["time"], before["key"])
        with self._session.transaction():
            before = self._mend(table, before, kept.filled)
            wanted = self._wanted(table, before)
            if before != wanted or not self._columns(SCHEMA, table.name):
                self._apply(table, before, wanted)
            filled = kept.filled
            emptied = before is not None and self._is_emptied(table.name, before, filled, kept.filenode)
            if emptied:
                self._notes.append(f"{SCHEMA}.{table.name} was empty, though rows of it are landed: filled again")
                filled = 0
            self._catch_up(table, filled, cursor, refill=emptied)

    def _claim(self, table: Table) -> None:
        """Raise DestinationError where a table that is not in the books is there, and is a stranger's."""
        columns = self._columns(SCHEMA, table.name)
        if columns and not self._is_made_here(table, columns):
            raise DestinationError(
                self._name,
                f"{SCHEMA}.{table.name} is there already, and Tickhouse has not made it: nothing was changed",
                "Rename or drop it, or give the resource another `table`.",
            )
        if columns:
            self._notes.append(f"{SCHEMA}._settings had lost {table.name}: it is made anew from landing")

    def forget_all_but(self, declared: Collection[str]) -> None:
        """Forget what was applied to tables that are not declared any more, and say so once."""
        if not self._books.schema_is_there():
            return
        self._books.keep()
        for forgotten in self._books.declared():
            if forgotten in declared:
                continue
            self._books.give_up(forgotten)
            self._notes.append(
                f"no configured source declares {SCHEMA}.{forgotten} any more: it stays as it is, and is not filled "
                "until one does. Drop it if it can go."
            )

    def take(self, table: Table, incoming: str, seq: int) -> None:
        """Upsert new rows, the last of a key counting, from a table in which they lie in the order of delivery.

        `seq` is the number of the last package among them.
        """
        self._follow_columns(table)
        series = table.timeseries
        assert series is not None  # noqa: S101
        if self.extension:
            late = self._chunks.count_gone(table.name, series.hypertable, incoming)
            if late and series.candles and self.community:
                self._notes.append(
                    f"{counted(late, 'late row')} of {SCHEMA}.{table.name} lie where chunks were dropped: they are in "
                    "the table, and candles there stay as they were. `engine replay` makes all of them anew."
                )
        self._fill(table, incoming, "ctid DESC")
        self._books.note_filled(table.name, seq)
        if self.extension:
            self._chunks.note(table.name)

    def empty(self) -> None:
        """Take the rows from every table that is kept here: all of them are to be filled again.

        The tables and candles themselves stay, with the views that people have on them, and their grants.
        """
        if not self._books.schema_is_there():
            return
        with self._session.transaction():
            self._books.keep()
            self._session.execute(f"DELETE FROM {SCHEMA}._chunks")
            for table in self._books.declared():
                if self._columns(SCHEMA, table):
                    self._session.execute(f"TRUNCATE {qualified(SCHEMA, table)}")
            self._books.note_empty()

    def refresh(self, tables: Sequence[Table]) -> None:
        """Bring the candles of these tables up to their rows: only where rows have changed since the last time.

        Raises DestinationError, after all that could be brought up, with what kept others back.
        """
        if tables and self.extension and self.community:
            self._candles.refresh(tables)

    @cached_property
    def extension(self) -> bool:
        """Whether TimescaleDB is in this database; it is put there where the server has it and the user may."""
        import psycopg

        execute = self._session.execute
        if execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
            return True
        if not execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"):
            return False
        try:
            execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public")
            execute(f"SELECT {SEARCH_PATH}")
        except psycopg.Error as error:
            self._notes.append(f"CREATE EXTENSION timescaledb failed: {str(error).splitlines()[0]}")
            return False
        return True

    @cached_property
    def community(self) -> bool:
        """Whether TimescaleDB has more here than hypertables."""
        return is_community(self._session)

    def _mend(self, table: Table, before: Mapping[str, Any] | None, filled: int | None) -> Mapping[str, Any] | None:
        """Put back columns and the key of a table that were dropped by hand; return what is applied.

        Without candles that were dropped; None: it is made anew.
        """
        known = self._columns(SCHEMA, table.name)
        if before is None:
            return None
        if not known:
            self._notes.append(f"{SCHEMA}.{table.name} was gone: it is made anew from landing")
            return None
        missing = [name for name in self._columns("landing", table.name) if name not in known]
        if missing and has_values(self._session, table, missing, filled):
            self._notes.append(f"{SCHEMA}.{table.name} had lost {', '.join(missing)}: restored from landing")
            if not set(missing).isdisjoint(before["key"]):
                return None
            self._follow_columns(table)
            restore(self._session, table, missing)
        keys = "SELECT 1 FROM pg_index WHERE indrelid = to_regclass(%s) AND indisprimary"
        if not self._session.execute(keys, [qualified(SCHEMA, table.name)]):
            self._put_key_back(table, before["key"])
            self._notes.append(f"{SCHEMA}.{table.name} had lost its primary key: it is put back")
        there = self._relations(table.name)
        lost = [view for view in before["candles"] if self.extension and view not in there]
        if not self.extension or self.community:
            self._notes += [f"{SCHEMA}.{view} was gone: it is made anew" for view in lost]
        return {**before, "candles": {view: query for view, query in before["candles"].items() if view not in lost}}

    def _put_key_back(self, table: Table, key: Sequence[str]) -> None:
        from psycopg import IntegrityError, NotSupportedError

        target = qualified(SCHEMA, table.name)
        try:
            self._session.execute(f"ALTER TABLE {target} ADD PRIMARY KEY ({', '.join(map(identifier, key))})")
        except (IntegrityError, NotSupportedError) as error:
            said = error.diag.message_detail or error.diag.message_primary
            raise DestinationError(
                self._name,
                f"{SCHEMA}.{table.name} has lost its primary key, which cannot be put back: {said}",
                f"Delete the rows that are doubled and run again. Or `engine replay --destination {self._name}`: it "
                "fills every table anew, and views and grants stay.",
            ) from None

    def _is_emptied(self, table: str, before: Mapping[str, Any], filled: int | None, filenode: int | None) -> bool:
        """Whether a table has to be filled again; either way the chunks that are gone for good are settled."""
        emptied = is_emptied(self._session, table, before, filled, filenode)
        if self.extension and before["extension"]:
            stays = gone_for_good(self._session, table, before, filenode) if emptied else gone(table)
            self._chunks.settle(table, stays, refill=emptied)
        return emptied

    def _catch_up(self, table: Table, filled: int | None, cursor: int, *, refill: bool) -> None:
        """Add the packages that another destination's type has loaded here meanwhile; landing alone has got them.

        `filled` is None for a table that was made just now, of all that is landed, or before the number was kept. With
        `refill` no rows come back where chunks are gone.
        """
        if filled is not None and filled < cursor:
            self._follow_columns(table)
            rows = landed(table.name, "JOIN", filled)
            if refill and self.extension:
                assert table.timeseries is not None  # noqa: S101
                time = identifier(table.timeseries.hypertable)
                rows = f"(SELECT * FROM {rows} WHERE NOT {time} <@ {gone(table.name)}) AS loaded"
            self._fill(table, rows, newest_first(table))
        self._books.note_filled(table.name, cursor)
        if self.extension:
            self._chunks.note(table.name)

    def _wanted(self, table: Table, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is to be applied; of community features, where they are not there, what is applied already."""
        series = table.timeseries
        assert series is not None  # noqa: S101
        parts = self._declared_parts(table)
        if self.extension and not self.community:
            parts = {name: before[name] if before else nothing for name, nothing in NOTHING.items()}
        return {
            "key": key_of(table),
            "time": series.hypertable,
            "extension": self.extension,
            "chunk": _seconds(series.chunk),
            **parts,
        }

    @staticmethod
    def _declared_parts(table: Table) -> dict[str, Any]:
        series = table.timeseries
        assert series is not None  # noqa: S101
        return {
            "compress_after": _seconds(series.compress_after),
            "retain": _seconds(series.retain),
            "candles": candle_views(table),
        }

    def _apply(self, table: Table, before: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
        known = self._columns(SCHEMA, table.name)
        granted = grants(self._session, SCHEMA, self._relations(table.name))
        same = before is not None and all(before[part] == wanted[part] for part in ("key", "time", "extension"))
        widened, missing = self._compare_columns(table)
        if same and known and not widened:
            for statement in missing:  # before the candles: they may be of a column that is new
                self._session.execute(statement)
        else:
            before = None
            self._make(table)
            if self.extension and not self.community:
                wanted = {**wanted, **NOTHING}
        before = before or {"chunk": wanted["chunk"], **NOTHING}
        if self.extension:
            series_policies.follow(self._session, table, before, wanted)
            self._candles.keep(before["candles"], wanted["candles"])
        there = self._relations(table.name)
        for name, grant in granted:
            if name in there:
                self._session.execute(grant)
        self._books.note(table.name, wanted)

    def _make(self, table: Table) -> None:
        """Make the table anew and fill it from what is landed, in the order in which it was loaded."""
        series = table.timeseries
        assert series is not None  # noqa: S101
        execute, target = self._session.execute, qualified(SCHEMA, table.name)
        for name in [table.name, *candle_views(table)]:
            if len(name.encode()) > LONGEST_NAME:
                raise DestinationError(
                    self._name, f"the name {name!r} is longer than PostgreSQL's 63 bytes", "Shorten the table's name."
                )
        self._drop(table.name)
        self._chunks.forget(table.name)
        execute(f"CREATE TABLE {target} (LIKE {qualified('landing', table.name)})")
        execute(f"ALTER TABLE {target} ADD PRIMARY KEY ({', '.join(map(identifier, key_of(table)))})")
        if self.extension:
            chunk = series_policies.interval(int(series.chunk.total_seconds()))
            execute(
                f"SELECT create_hypertable({literal(target)}, {literal(series.hypertable)},"
                f" chunk_time_interval => {chunk}, create_default_indexes => false)"
            )
        self._fill(table, landed(table.name, "LEFT JOIN"), newest_first(table))

    def _drop(self, table: str) -> None:
        """Drop a table and its candles, and nothing else: what people have built on them is named in the error."""
        for name in self._relations(table):
            if name != table:
                drop(self._session, self._name, "MATERIALIZED VIEW", SCHEMA, name)
        drop(self._session, self._name, "TABLE", SCHEMA, table)

    def _relations(self, table: str) -> list[str]:
        """Return the table and its candles, as far as they are there."""
        found = [table] if self._columns(SCHEMA, table) else []
        if found and self.extension:
            views = self._session.execute(
                "SELECT view_name FROM timescaledb_information.continuous_aggregates"
                " WHERE view_schema = %s AND hypertable_schema = %s AND hypertable_name = %s",
                [SCHEMA, SCHEMA, table],
            )
            found += sorted({str(view) for (view,) in views} & {f"{table}_{length}" for length in CANDLES})
        return found

    def _fill(self, table: Table, rows: str, order: str) -> None:
        fill(self._session, table, self._columns("landing", table.name), rows, order)

    def _follow_columns(self, table: Table) -> None:
        """Give the table the columns that landing has got; one whose type has widened there is made anew."""
        widened, missing = self._compare_columns(table)
        if widened:
            self._apply(table, None, self._wanted(table, None))
            return
        for statement in missing:
            self._session.execute(statement)

    def add_columns(self, table: Table) -> None:
        """Give the table the columns that landing has got, so that readers wait for moments; outside a transaction."""
        widened, missing = self._compare_columns(table)
        for statement in missing if not widened else ():
            self._session.alter(statement)

    def _compare_columns(self, table: Table) -> tuple[bool, list[str]]:
        """Whether a column of landing has another type than here, and the statements that add those it has alone."""
        target = qualified(SCHEMA, table.name)
        wanted, known = self._columns("landing", table.name), self._columns(SCHEMA, table.name)
        widened = any(known.get(name, data_type) != data_type for name, data_type in wanted.items())
        return widened, [
            f"ALTER TABLE {target} ADD COLUMN {identifier(name)} {data_type}"
            for name, data_type in wanted.items()
            if name not in known
        ]

    def _is_made_here(self, table: Table, columns: Collection[str]) -> bool:
        """Whether a table that is not in the books has a hypertable's lineage and key: the books were lost."""
        key = self._session.execute(
            "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
            " AND a.attnum = ANY(i.indkey) WHERE i.indrelid = to_regclass(%s) AND i.indisprimary",
            [qualified(SCHEMA, table.name)],
        )
        lineage = {column.name for column in LINEAGE_COLUMNS}
        return lineage <= set(columns) and {name for (name,) in key} == set(key_of(table))

    def _columns(self, schema: str, table: str) -> dict[str, str]:
        return columns_of(self._session, schema, table)


def _in_order(table: Table, before: Mapping[str, Any] | None) -> Table:
    """Return the table with its key in the order in which it was made: another order alone changes nothing."""
    if before is None or set(before["key"]) != set(key_of(table)):
        return table
    return replace(table, primary_key=tuple(before["key"]))


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())
