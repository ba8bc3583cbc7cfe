"""From the rows of one table to the rows that they are made of, model by model, down to landed rows.

A step asks for the rows of a table that a model reads, by what the model's query says about them (derivation.py):

    by key    all rows of the same key. A satellite, a dimension's history and a fact are made of every delivery of
              their key, so all of them are the row's origin, also those that changed nothing.
    by value  the rows whose columns are those of the row. So it is for what is joined to a row (its customer as they
              are now), for hubs and links (which keep a key as it was seen first), and where there is no key.

A row is *current* if its columns are those of a current row further down: it gives the values that are seen. What a
hub or a link took its row from is *first*: it named the key before any other did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from engine.trace.derivation import Reading
from engine.trace.sql import Ask, Reader, rows_statement

if TYPE_CHECKING:
    from engine.models.graph import Model, ModelGraph

COSTLY = 60
"""Nodes of an expression above which it is not compared where it need not be: exact quotients and hashes."""
BOOKKEEPING = "landing._packages"


@dataclass(slots=True)
class Row:
    """One row. It is part of the traced row's own origin, of what is joined to that row, or of both."""

    values: dict[str, Any]
    own: bool = False
    own_current: bool = False
    joined_current: bool = False
    first: bool = False
    """Whether it was the first to name the key: it gives the time of that and no other value."""

    @property
    def joined(self) -> bool:
        """Whether it only belongs to what is joined."""
        return not self.own

    @property
    def current(self) -> bool:
        """Whether it gives values that are seen."""
        return self.own_current if self.own else self.joined_current


@dataclass(slots=True)
class Found:
    """The rows of one table. `cut`: there were more than the limit. `by_value`: found so although it has a key."""

    table: str
    types: Mapping[str, str]
    rows: dict[str, Row] = field(default_factory=dict)
    cut: bool = False
    by_value: bool = False

    def add(self, values: Mapping[str, Any], *, joined: bool, current: bool, first: bool = False) -> None:
        """Add a row, or what is new about one that is known."""
        row = self.rows.setdefault(repr(values), Row(dict(values)))
        row.own = row.own or not joined
        row.first = row.first or first
        row.own_current = row.own_current or (current and not joined)
        row.joined_current = row.joined_current or (current and joined)

    @property
    def joined(self) -> bool:
        """Whether all of its rows only belong to what is joined."""
        return all(row.joined for row in self.rows.values())


class Walk:
    """Follows rows through the models. `found` holds each table's rows, in the order in which they were reached."""

    def __init__(self, graph: ModelGraph, reader: Reader, limit: int) -> None:
        """At most `limit` rows of a table are followed."""
        self.found: dict[str, Found] = {}
        self.unfollowed: list[tuple[str, str]] = []
        """(model, table): tables whose rows the model's rows do not tell."""
        self._graph, self._reader, self._limit = graph, reader, limit
        self._origin = ""

    def follow(self, origin: Found) -> None:
        """Follow the rows of one table down to landed rows."""
        self._origin = origin.table
        self.found = {origin.table: origin}
        for model in reversed(list(self._graph)):
            if model.name in self.found and not model.landed:
                self._step(model, self.found[model.name])

    def _step(self, model: Model, rows: Found) -> None:
        every = [
            reading
            for reading in self._graph.readings(model.name)
            if reading.table != BOOKKEEPING and reading.table in self._graph.models
        ]
        keyed = [reading for reading in every if self._keyed(model, reading)]
        naming = [reading for reading in keyed if self._names_key(reading)]
        if len(naming) == len(keyed):
            naming = []  # the rows have nothing else
        for reading in [*keyed, *(reading for reading in every if not self._keyed(model, reading))]:
            asked = False
            for joined in (False, True):
                of_role = [row for row in rows.rows.values() if row.joined == joined]
                if of_role:
                    joins = joined or reading in naming
                    asked |= self._read(model, reading, rows, of_role, joined=joins)
            if rows.rows and not asked and (model.name, reading.table) not in self.unfollowed:
                self.unfollowed.append((model.name, reading.table))

    def _keyed(self, model: Model, reading: Reading) -> bool:
        return any(column in reading.columns for column in model.key)

    def _names_key(self, reading: Reading) -> bool:
        """Whether all that a reading contributes is the business key that a hub has for a hash key."""
        target = self._graph.models[reading.table]
        known = {*target.key, "_key", *(name for key in target.key for name in business_key(self._graph, key))}
        if target.kind != "insert_new" or known == {*target.key, "_key"}:
            return False
        return {column.name for name in reading.own for column in reading.columns[name].find_all(exp.Column)} <= known

    def _read(self, model: Model, reading: Reading, rows: Found, of_role: list[Row], *, joined: bool) -> bool:
        """Fetch what a reading contributed to rows; False if nothing tells which rows of the table it was.

        What is joined is followed to its values; where a hub first saw its key is none of them.
        """
        if joined and model.kind == "insert_new":
            return True
        target = self._graph.models[reading.table]
        by_key = _key_columns(self._graph, model, reading)
        keyed = self._keyed(model, reading)
        held = model.kind == "insert_new" and model.name != self._origin
        exact = (
            joined or not keyed or held or not self._covers({name: reading.columns[name] for name in by_key}, target)
        )
        asked = [row for row in of_role if not _absent(reading, row, by_key)]
        if not asked:
            return True
        names = [name for name, value in reading.columns.items() if name in by_key or (exact and _cheap(value))]
        compared = {name: reading.columns[name] for name in names if name in rows.types}
        wanted = list(dict.fromkeys(tuple(row.values[name] for name in compared) for row in asked))
        types = [rows.types[name] for name in compared]
        joined = joined or (not keyed and bool(model.key))
        if exact and not self._covers(compared, target):
            linked = self._linked(reading)
            if linked is not None:
                links, more_types, more = linked
                compared |= links
                types += more_types
                wanted = [(*one, *other) for one in wanted for other in more][: self._limit**2]
        if not compared:
            return False
        found = self._fetch(Ask(reading, compared, types, wanted), asked, joined=joined, first=held)
        valued = set(compared) & set(reading.columns) - set(by_key) - set(model.key)
        found.by_value = found.by_value or (bool(valued) and not self._covers(compared, target))
        return True

    def _covers(self, compared: Mapping[str, exp.Expression], target: Model) -> bool:
        """Whether what is compared tells the key of the table read; a business key tells a hash key."""
        known = {value.name for value in map(_bare, compared.values()) if isinstance(value, exp.Column)}
        for key in target.key:
            natural = business_key(self._graph, key)
            if key not in known and not (natural and known.issuperset(natural)):
                return False
        return True

    def _linked(self, reading: Reading) -> tuple[dict[str, exp.Expression], list[str], list[tuple[Any, ...]]] | None:
        """Return what the rows of one other table of the query say about a reading's rows."""
        for table in dict.fromkeys(link.table for link in reading.links):
            other = self.found.get(table)
            links = {link.column: link.value for link in reading.links if link.table == table}
            if other is None or not links.keys() <= other.types.keys():
                continue
            values = dict.fromkeys(
                tuple(row.values[name] for name in links) for row in other.rows.values() if row.current
            )
            named = {f"{table}.{name}": value for name, value in links.items()}
            return named, [other.types[name] for name in links], list(values)
        return None

    def _fetch(self, ask: Ask, parents: Sequence[Row], *, joined: bool, first: bool) -> Found:
        """Fetch rows and mark them; `first`: the parents are rows of a hub or a link that other rows only name."""
        checked = {name: value for name, value in ask.reading.columns.items() if name in ask.compared or _cheap(value)}
        checked = {name: value for name, value in checked.items() if all(name in row.values for row in parents)}
        columns = set(self._graph.columns(ask.reading.table))
        order = [name for name in ("load_timestamp", "_load_id", "_key") if name in columns]
        statement, values = rows_statement(ask, list(checked.values()), order, self._limit + 1)
        types, rows = self._reader.fetch(statement, values)
        own = dict(list(types.items())[: len(types) - len(checked)])
        found = self.found.setdefault(ask.reading.table, Found(ask.reading.table, own))
        found.cut = found.cut or len(rows) > self._limit
        current = {_values(row, checked) for row in parents if row.current and not first}
        named = {_values(row, checked) for row in parents if row.first or first}
        for row in rows[: self._limit]:
            seen = tuple(row[len(own) :])
            values_of = dict(zip(own, row, strict=False))
            found.add(values_of, joined=joined, current=seen in current, first=seen in named)
        return found


def _key_columns(graph: ModelGraph, model: Model, reading: Reading) -> list[str]:
    """Return the output columns by which a row's key is asked for: hash keys by their business key where it is there.

    Empty for a model without a key.
    """
    if not model.key:
        return []
    names = [*model.key, *model.series, "_key"]
    for name in model.key:
        known_by = business_key(graph, name)
        if known_by and all(_is_column(reading, one) for one in known_by):
            names += known_by
            if not _is_column(reading, name):
                names.remove(name)
    return [
        name
        for name in dict.fromkeys(names)
        if name in reading.columns and (name != "_key" or _is_column(reading, name))
    ]


def business_key(graph: ModelGraph, hash_key: str) -> tuple[str, ...]:
    """Return the business key that a hub's hash key stands for; () if no hub has it."""
    hub = graph.models.get(f"vault.hub_{hash_key.removesuffix('_hk')}") if hash_key.endswith("_hk") else None
    if hub is None:
        return ()
    metadata = {"load_timestamp", "record_source", *hub.key}
    return tuple(name for name in graph.columns(hub.name) if name not in metadata and not name.startswith("_"))


def _values(row: Row, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row.values[name] for name in names)


def _is_column(reading: Reading, name: str) -> bool:
    return name in reading.columns and isinstance(_bare(reading.columns[name]), exp.Column)


def _bare(value: exp.Expression) -> exp.Expression:
    return value.unnest()


def _absent(reading: Reading, row: Row, by_key: Iterable[str]) -> bool:
    """Whether an outer join had nothing for a row: all that it brings is NULL."""
    brought = [name for name in reading.own if name not in set(by_key) and name in row.values]
    return reading.outer and bool(brought) and all(row.values[name] is None for name in brought)


def _cheap(value: exp.Expression) -> bool:
    return value.find(exp.MD5) is None and sum(1 for _ in value.walk()) <= COSTLY


def newest_first(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows by load time, the newest first, then by package."""

    def when(row: Row) -> tuple[str, str]:
        return str(row.values.get("load_timestamp") or ""), str(row.values.get("_load_id") or "")

    yield from sorted(rows, key=when, reverse=True)
