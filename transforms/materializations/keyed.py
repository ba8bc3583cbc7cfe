"""How rows get into the tables that keep a row, or a group of rows, a key: in one transaction, whatever dies when.

    insert_new      a key that is there already stays as it is: hubs and links
    replace_groups  what the query returns of a key takes the place of what the table had of it: satellites, marts
    keep_newest     of the query's row of a key and the table's the newer one stays: candles
    replace_arrived what the query returns takes the place of what the table had of those packages: staged deliveries

All may be given the same rows again, so a run that died and a run repeated end alike. A look-up in the table goes
through `_key`, eight bytes a row, and only when it finds something through the key itself: work grows with what is new.
On Trino and Snowflake, where a transaction ends with a statement or with the CREATE of a temporary table, each is one
MERGE (merging.py).

With `hubs`, `materialization_properties (key = ..., hubs = vault.hub_transaction)`, what is of a key that one of those
hubs has just got is looked up among the rows that came since: a hub's `_arrived_at` is the first arrival of its key, so
there are no older ones. The model must depend on the hubs, and have their `<name>_hk`.
"""

from __future__ import annotations

import typing as t
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress

from materializations import merging
from sqlglot import exp
from sqlmesh import CustomMaterialization
from sqlmesh.core.dialect import normalize_model_name
from sqlmesh.core.snapshot.definition import to_table_mapping
from sqlmesh.utils.errors import SQLMeshError

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlmesh.core.engine_adapter._typing import QueryOrDF
    from sqlmesh.core.model import Model


class Keyed(ABC):
    """What all have in common: one transaction that puts the new rows into a temporary table, then into the target.

    One also for what only reads: on DuckLake every transaction asks the catalog which snapshot is the last.
    """

    NAME: str
    ONE_KEY: t.ClassVar[bool] = False
    """Whether the key is one column."""
    REQUIRED: t.ClassVar[tuple[str, ...]] = ("key",)
    """The properties that a model of the kind has to set; each lists columns of its query."""
    OPTIONAL: t.ClassVar[tuple[str, ...]] = ("hubs",)
    COLUMNS: t.ClassVar[tuple[str, ...]] = ("_key",)
    """The columns that the query must return beside those."""

    def insert(
        self,
        table_name: str,
        query_or_df: QueryOrDF,
        model: Model,
        is_first_insert: bool,  # noqa: FBT001 - SQLMesh's signature
        render_kwargs: dict[str, t.Any],
        **kwargs: t.Any,
    ) -> None:
        """Put the query's rows into the table. On a first insert, or when all of history is restated, they are it."""
        if not isinstance(query_or_df, exp.Query):
            raise SQLMeshError(f"{model.name}: a keyed table is filled by a query, not by a data frame")
        for wrong, _ in self.mistakes(model):
            raise SQLMeshError(f"{model.name}: {wrong}")
        hubs = self._hubs(model, kwargs)
        if is_first_insert:
            self._replace_query_for_model(model, table_name, self._lasting(query_or_df, model), render_kwargs, **kwargs)
            return
        names = [f'"{name}"' for name in self._columns(query_or_df, table_name)]
        columns = ", ".join(names)
        target = exp.to_table(table_name, dialect="duckdb").sql(dialect=self.adapter.dialect, identify=True)
        if self.adapter.dialect != "duckdb":
            self._in_one_statement(target, query_or_df, names, model)
            return
        with self._transaction(), self._temporary("fresh", query_or_df) as fresh:
            if not self._is_empty(fresh):
                self._merge(target, fresh, columns, model, hubs)

    def _columns(self, query: exp.Query, table_name: str) -> list[str]:
        """Return the columns that are filled: the query's own, which are the table's; to ask for these takes longer."""
        names = query.named_selects
        return list(self.adapter.columns(table_name)) if not names or "*" in names or "" in names else names

    @classmethod
    def mistakes(cls, model: Model) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with how the model declares its kind, and the word of its file that is."""
        yield from cls._wrong_properties(model)
        if not model.allow_partials:
            yield f"{cls.NAME} takes what has arrived, and no whole intervals alone: add allow_partials TRUE", cls.NAME
        yield from cls._wrong_hubs(model)
        returned = {name.lower() for name in model.columns_to_types or ()}
        if not returned or "*" in returned:
            return
        hubs = _listing(model, "hubs")
        named = [name for name in (*cls.REQUIRED, *cls.OPTIONAL) if name != "hubs"]
        listed = [item.name for name in named for item in _listing(model, name)]
        needed = [*cls.COLUMNS, *map(_hash_column, hubs), *(["_arrived_at"] if hubs else [])]
        for column in dict.fromkeys([*listed, *needed]):
            if column.lower() not in returned:
                yield f"{cls.NAME} needs the column {column}, which the query does not return", column

    @classmethod
    def _wrong_properties(cls, model: Model) -> Iterator[tuple[str, str]]:
        known = (*cls.REQUIRED, *cls.OPTIONAL)
        for name in model.custom_materialization_properties:
            if name not in known:
                yield f"{cls.NAME} has no property {name}, it has {', '.join(known) or 'none'}", name
            elif not (items := _listing(model, name)) or not all(item.name for item in items):
                yield f"{name} wants names, without quotation marks: {name} = NAME, or {name} = (NAME, NAME)", name
            elif name == "key" and cls.ONE_KEY and len(items) > 1:
                yield f"the key of {cls.NAME} is one column, the hash of all that make it", name
        for name in cls.REQUIRED:
            if name not in model.custom_materialization_properties:
                example = f"materialization_properties ({name} = ...)"
                yield f"{cls.NAME} wants columns as its {name}: {example}", cls.NAME

    @classmethod
    def _wrong_hubs(cls, model: Model) -> Iterator[tuple[str, str]]:
        key = [item.name for item in _listing(model, "key")]
        for hub in _listing(model, "hubs"):
            name = normalize_model_name(hub, default_catalog=model.default_catalog, dialect=model.dialect)
            column = _hash_column(hub)
            if name not in model.depends_on:
                yield f"hubs names {hub.sql()}, which the model does not read: add depends_on ({hub.sql()})", hub.sql()
            if cls is not InsertNew and column not in key:  # a link's key is made of its hubs' keys
                yield f"hubs names {hub.sql()}, whose {column} is not in the model's key", hub.sql()

    def _lasting(self, query: exp.Query, model: Model) -> exp.Query:
        """Return the query for the rows that the table is to have: all of them, unless the kind knows better."""
        del model
        return query

    def _in_one_statement(self, target: str, query: exp.Query, columns: Sequence[str], model: Model) -> None:
        """Put the query's rows into the target, on an engine whose transactions end with a statement."""
        self._run(self._merging(target, self.adapter._to_sql(query), columns, model))  # noqa: SLF001

    @abstractmethod
    def _merging(self, target: str, query: str, columns: Sequence[str], model: Model) -> str:
        """Return that statement."""

    @abstractmethod
    def _merge(self, target: str, fresh: str, columns: str, model: Model, hubs: dict[str, str]) -> None:
        """Put the rows of `fresh`, which has some, into the target. `hubs`: physical tables, by their hash columns."""

    def _known(self, target: str, fresh: str, hubs: dict[str, str]) -> exp.Query:
        """Return the query for the `_key` values that the target has already."""
        if not hubs:
            return self._query(f"SELECT DISTINCT _key FROM {target} WHERE _key IN (SELECT _key FROM {fresh})")
        (since,) = self.adapter.fetchone(f"SELECT MIN(_arrived_at) FROM {fresh}") or (None,)
        recent = f"_arrived_at >= {_instant(since)}"
        elder = " AND ".join(
            f"({column} IS NULL OR NOT {column} IN (SELECT {column} FROM {hub} WHERE {recent}))"
            for column, hub in hubs.items()
        )
        return self._query(
            f"SELECT _key FROM {target} WHERE _key IN (SELECT _key FROM {fresh} WHERE {elder}) "
            f"UNION SELECT _key FROM {target} WHERE {recent} AND _key IN (SELECT _key FROM {fresh})"
        )

    def _hubs(self, model: Model, context: dict[str, t.Any]) -> dict[str, str]:
        """Return the tables of the hubs that the model's kind names, by the column that has their hash key."""
        tables = to_table_mapping(context.get("snapshots", {}).values(), context.get("deployability_index"))
        found: dict[str, str] = {}
        for hub in _listing(model, "hubs"):
            name = normalize_model_name(hub, default_catalog=model.default_catalog, dialect=model.dialect)
            table = exp.to_table(tables[name], dialect="duckdb").sql(dialect=self.adapter.dialect, identify=True)
            found[f'"{_hash_column(hub)}"'] = table
        return found

    def _exists(self, table: str, names: Sequence[str]) -> str:
        """Return the condition that `table` has a row equal to row `o` in these columns, NULL being equal to NULL."""
        return f"EXISTS (SELECT 1 FROM {table} AS x WHERE {_same(names)})"

    def _query(self, text: str) -> exp.Query:
        return t.cast("exp.Query", exp.maybe_parse(text, dialect=self.adapter.dialect))

    def _run(self, statement: str) -> None:
        self.adapter.execute(statement)

    def _is_empty(self, table: str) -> bool:
        return not self.adapter.fetchone(f"SELECT 1 FROM {table} LIMIT 1")

    @contextmanager
    def _temporary(self, name: str | exp.Table, query: exp.Query) -> Iterator[str]:
        """Yield the name of a table with the query's rows: in DuckDB's own memory, elsewhere beside the models."""
        if self.adapter.dialect != "duckdb":
            with self.adapter.temp_table(query, name=name) as table:
                yield table.sql(dialect=self.adapter.dialect, identify=True)
            return
        own = f'temp."{name}"'
        self._run(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {query.sql(dialect="duckdb", identify=True)}')
        yield own
        self._run(f"DROP TABLE {own}")  # after an error it goes with the transaction

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make one commit of what is done inside. SQLMesh's DuckDB adapter has no transactions of its own."""
        if self.adapter.dialect != "duckdb":
            with self.adapter.transaction():
                yield
            return
        self._run("BEGIN TRANSACTION")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            with suppress(Exception):  # a commit that failed has ended the transaction by itself
                self._run("ROLLBACK")
            raise


class InsertNew(Keyed, CustomMaterialization):
    """Insert the rows whose key the table does not have: `materialization_properties (key = customer_hk)`.

    Only a row that arrived before the table's takes its place: intervals may be run in another order than they passed.
    """

    NAME = "insert_new"
    ONE_KEY = True
    COLUMNS = ("_key", "_arrived_at")

    def _merging(self, target: str, query: str, columns: Sequence[str], model: Model) -> str:
        return merging.insert_new(target, query, columns, _named(model, "key"))

    def _merge(self, target: str, fresh: str, columns: str, model: Model, hubs: dict[str, str]) -> None:
        (key,) = _named(model, "key")
        with self._temporary("known", self._known(target, fresh, hubs)) as known:
            if self._is_empty(known):
                self._run(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {fresh}")
                return
            rows = f"SELECT {key}, _arrived_at, _key FROM {target} WHERE _key IN (SELECT _key FROM {known})"
            with self._temporary("present", self._query(rows)) as present:
                late = (
                    f"SELECT x.{key}, x._key FROM {present} AS x "
                    f"JOIN {fresh} AS o ON {_same([key])} AND o._arrived_at < x._arrived_at"
                )
                with self._temporary("late", self._query(late)) as later:
                    if not self._is_empty(later):
                        self._run(
                            f"DELETE FROM {target} AS o WHERE o._key IN (SELECT _key FROM {later}) "
                            f"AND {self._exists(later, [key])}"
                        )
                    self._run(
                        f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {fresh} AS o "
                        f"WHERE {self._exists(later, [key])} OR NOT {self._exists(present, [key])}"
                    )


class KeepNewest(Keyed, CustomMaterialization):
    """Keep one row a key, the greatest in some columns: `materialization_properties (key = (...), newest = (...))`."""

    NAME = "keep_newest"
    REQUIRED = ("key", "newest")

    def _merging(self, target: str, query: str, columns: Sequence[str], model: Model) -> str:
        return merging.keep_newest(target, query, columns, _named(model, "key"), _named(model, "newest"))

    def _merge(self, target: str, fresh: str, columns: str, model: Model, hubs: dict[str, str]) -> None:
        key, newest = _named(model, "key"), _named(model, "newest")
        with self._temporary("known", self._known(target, fresh, hubs)) as known:
            if self._is_empty(known):
                self._run(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {fresh}")
                return
            rows = (
                f"SELECT {_listed('o', [*key, *newest])}, o._key FROM {target} AS o "
                f"WHERE o._key IN (SELECT _key FROM {known})"
            )
            with self._temporary("present", self._query(rows)) as present:
                older = (
                    f"SELECT {_listed('x', [*key, '_key'])} FROM {fresh} AS o "
                    f"JOIN {present} AS x ON {_same(key)} WHERE {merging.newer(newest)}"
                )
                with self._temporary("older", self._query(older)) as old:
                    if not self._is_empty(old):
                        self._run(
                            f"DELETE FROM {target} AS o WHERE o._key IN (SELECT _key FROM {old}) "
                            f"AND {self._exists(old, key)}"
                        )
                    self._run(
                        f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {fresh} AS o "
                        f"WHERE {self._exists(old, key)} OR NOT {self._exists(present, key)}"
                    )


class ReplaceArrived(Keyed, CustomMaterialization):
    """Replace the rows of the packages that the query read; a package arrives whole, at one instant."""

    NAME = "replace_arrived"
    REQUIRED = OPTIONAL = ()
    COLUMNS = ("_load_id", "_arrived_at")

    def _merging(self, target: str, query: str, columns: Sequence[str], model: Model) -> str:
        del model
        return merging.replace_keys(target, query, columns, [], by=['"_load_id"', '"_arrived_at"'])

    def _merge(self, target: str, fresh: str, columns: str, model: Model, hubs: dict[str, str]) -> None:
        del model, hubs
        arrived = self.adapter.fetchone(f"SELECT MIN(_arrived_at), MAX(_arrived_at) FROM {fresh}")
        between = " AND ".join(
            f"_arrived_at {sign} {_instant(instant)}" for sign, instant in zip((">=", "<="), arrived or (), strict=True)
        )
        again = self.adapter.fetchone(f"SELECT 1 FROM {target} WHERE {between} LIMIT 1")
        if again:
            packages = f"SELECT DISTINCT _load_id FROM {fresh}"
            self._run(f"DELETE FROM {target} WHERE {between} AND _load_id IN ({packages})")
        self._run(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {fresh}")


class ReplaceGroups(Keyed, CustomMaterialization):
    """Replace each key's rows: `materialization_properties (key = (...), version = (...))`.

    With `version`, rows of a key that the table has alike stay untouched, unless one of that key has to go. With
    `ended`, a boolean column, a row where it is true takes its key's rows away and is not kept itself.
    """

    NAME = "replace_groups"
    OPTIONAL = ("version", "ended", "hubs")

    def _in_one_statement(self, target: str, query: exp.Query, columns: Sequence[str], model: Model) -> None:
        version = _named(model, "version")
        if not version:
            super()._in_one_statement(target, query, columns, model)
            return
        with self._temporary(exp.to_table(target, dialect=self.adapter.dialect), query) as fresh:
            if not self._is_empty(fresh):
                self._run(merging.replace_versions(target, fresh, columns, _named(model, "key"), version))

    def _merging(self, target: str, query: str, columns: Sequence[str], model: Model) -> str:
        lasting = " AND ".join(f"NOT COALESCE(q.{name}, FALSE)" for name in _named(model, "ended")) or "TRUE"
        return merging.replace_keys(target, query, columns, _named(model, "key"), by=['"_key"'], lasting=lasting)

    def _lasting(self, query: exp.Query, model: Model) -> exp.Query:
        kept = " AND ".join(f"NOT COALESCE({name}, FALSE)" for name in _named(model, "ended"))
        return exp.select("*").from_(query.subquery("every")).where(kept) if kept else query

    def _merge(self, target: str, fresh: str, columns: str, model: Model, hubs: dict[str, str]) -> None:
        key, version = _named(model, "key"), _named(model, "version")
        with self._temporary("known", self._known(target, fresh, hubs)) as known:
            lasting = self._lasting(self._query(f"SELECT {columns} FROM {fresh}"), model).sql(self.adapter.dialect)
            if self._is_empty(known):
                self._run(f"INSERT INTO {target} ({columns}) {lasting}")
                return
            identity = ", ".join(f"o.{name}" for name in [*key, *version])
            rows = f"SELECT {identity}, o._key FROM {target} AS o WHERE o._key IN (SELECT _key FROM {known})"
            with self._temporary("present", self._query(rows)) as present:
                gone = (
                    f"SELECT DISTINCT {_listed('o', [*key, '_key'])} FROM {present} AS o "
                    f"WHERE {self._exists(fresh, key)}"
                )
                if version:
                    gone += f" AND NOT {self._exists(fresh, [*key, *version])}"
                with self._temporary("rewritten", self._query(gone)) as rewritten:
                    if not self._is_empty(rewritten):
                        self._run(
                            f"DELETE FROM {target} AS o WHERE o._key IN (SELECT _key FROM {rewritten}) "
                            f"AND {self._exists(rewritten, key)}"
                        )
                    self._run(
                        f"INSERT INTO {target} ({columns}) SELECT {columns} FROM ({lasting}) AS o "
                        f"WHERE {self._exists(rewritten, key)} OR NOT {self._exists(present, [*key, *version])}"
                    )


def _named(model: Model, name: str) -> list[str]:
    """Return the columns that a property of the kind lists; none if it is not set."""
    return [f'"{item.name}"' for item in _listing(model, name)]


def _listing(model: Model, name: str) -> list[exp.Expression]:
    value = model.custom_materialization_properties.get(name) if model.kind.is_custom else None
    if not isinstance(value, exp.Expression):
        return []
    items = value.expressions if isinstance(value, exp.Tuple | exp.Array) else [value]
    return [item.this if isinstance(item, exp.Paren) else item for item in items]


def _hash_column(hub: exp.Expression) -> str:
    """Return the column in which `vault.hub_asset` has its hash key: asset_hk."""
    return f"{hub.name.removeprefix('hub_')}_hk"


def _instant(value: datetime) -> str:
    return f"CAST('{value.isoformat()}' AS TIMESTAMPTZ)"


def _same(names: Sequence[str]) -> str:
    return " AND ".join(["x._key = o._key", *(f"x.{name} IS NOT DISTINCT FROM o.{name}" for name in names)])


def _listed(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in names)
