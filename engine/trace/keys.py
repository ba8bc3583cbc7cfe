"""What a person calls a row, as conditions on a table: business keys folded as the vault folds them.

`T-1` alone is for the first column of a table's natural key, `BTC crypto` for the first two, `price_source=binance`
for a column by name. A table that has only a hash key is asked through the hub that knows the business key.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from engine.errors import UsageError
from engine.sql import identifier, qualified
from engine.trace.rows import business_key
from engine.trace.sql import Reader

if TYPE_CHECKING:
    from engine.models.graph import Model, ModelGraph

HASH = re.compile(r"[0-9a-f]{32}")
TEXTS = ("VARCHAR", "TEXT")


@dataclass(frozen=True, slots=True)
class Condition:
    """One column, the value it must have, and what to compare: SQL with one `?`, and the value bound to it."""

    column: str
    value: Any
    sql: str


class Keys:
    """Reads the keys that a person gives for one table."""

    def __init__(self, graph: ModelGraph, model: Model, types: Mapping[str, str], natural: Sequence[str]) -> None:
        """`types`: the table's columns as they are; `natural` names its key if the model says nothing of one."""
        self._graph, self._model, self._types = graph, model, types
        self.natural = natural_key(graph, model, types) or [name for name in natural if name in types]

    def conditions(self, given: Sequence[str], reader: Reader) -> list[Condition]:
        """Return the conditions of `KEY KEY ...` and `column=value` arguments. Raises UsageError."""
        if not given:
            raise UsageError(f"no key of {self._model.name} is given", self._usage())
        found: list[Condition] = []
        in_order = list(self.natural)
        for argument in given:
            name, assigned, value = argument.partition("=")
            if assigned and name.isidentifier():
                column = self._column(name)
                in_order = [other for other in in_order if other != column]
            elif (hashed := self._hash_column(argument)) is not None:
                column, value = hashed, argument
            elif in_order:
                column, value = in_order.pop(0), argument
            else:
                raise UsageError(f"{self._model.name}: {argument!r} is one key too many", self._usage())
            found.append(self._condition(column, unicodedata.normalize("NFC", value), reader))
        return found

    def _column(self, name: str) -> str:
        by_lower = {known.lower(): known for known in (*self._types, *self.natural)}
        column = by_lower.get(name.lower())
        if column is None:
            near = [by_lower[match] for match in get_close_matches(name.lower()[:200], by_lower, n=3)]
            hint = f"Did you mean {', '.join(near)}?" if near else f"It has: {', '.join(self._types)}."
            raise UsageError(f"{self._model.name} has no column {name!r}", hint)
        return column

    def _hash_column(self, argument: str) -> str | None:
        """Return the hash key that 32 hex digits are meant for."""
        if not HASH.fullmatch(argument):
            return None
        return next((name for name in self._types if name.endswith("_hk")), None)

    def _condition(self, column: str, value: str, reader: Reader) -> Condition:
        if column not in self._types:
            return self._through_hub(column, value, reader)
        folded = self._typed(self._model.name, column, self._types[column], value, reader)
        return Condition(column, folded, f"{identifier(column)} = CAST(? AS {self._types[column]})")

    def _through_hub(self, column: str, value: str, reader: Reader) -> Condition:
        """A business key that only the hub has: its hash key is compared."""
        hash_key = next(
            name for name in self._types if name.endswith("_hk") and column in business_key(self._graph, name)
        )
        hub = f"vault.hub_{hash_key.removesuffix('_hk')}"
        kind = table_types(reader, hub)[column]
        folded = self._typed(hub, column, kind, value, reader)
        keys = f"SELECT {identifier(hash_key)} FROM {qualified(*hub.split('.'))}"
        known = f"{keys} WHERE {identifier(column)} = CAST(? AS {kind})"
        return Condition(column, folded, f"{identifier(hash_key)} IN ({known})")

    def _typed(self, table: str, column: str, kind: str, value: str, reader: Reader) -> Any:
        """Return the value as the column has it: texts folded as the models fold them, others by their type."""
        if kind in TEXTS:
            fold = None if column.endswith("_hk") else self._fold(table, column)
            if fold is None:
                return value
            statement = f"SELECT {fold.sql(dialect='duckdb')} FROM (SELECT CAST(? AS TEXT) AS given)"
            folded = reader.fetch(statement, [value])[1][0][0]
            if folded is None:
                raise UsageError(f"{column} {value!r} is no key: nothing is left of it", self._usage())
            return folded
        typed = reader.fetch(f"SELECT TRY_CAST(? AS {kind})", [value])[1][0][0]
        if typed is None:
            raise UsageError(
                f"{table}.{column} is a {kind}: {value!r} is none", "Write dates and instants as ISO 8601."
            )
        return typed

    def _fold(self, table: str, column: str) -> exp.Expression | None:
        """How the table's column is folded; where its models do not tell, as the hub of that business key folds it."""
        fold = fold_of(self._graph, table, column)
        if fold is not None:
            return fold
        for hub in self._graph:
            if hub.kind == "insert_new" and any(column in business_key(self._graph, key) for key in hub.key):
                return fold_of(self._graph, hub.name, column)
        return None

    def _usage(self) -> str:
        if not self.natural:
            return "It has no key of its own: give column=value, as often as you like."
        return f"Its key is {' '.join(self.natural)}: give the first of them, more of them, or column=value."


def natural_key(graph: ModelGraph, model: Model, columns: Mapping[str, Any]) -> list[str]:
    """Return the columns by which people name a row: the grain, business keys in place of hash keys.

    A link has the keys of the hubs that it joins; a staged delivery those of the hub that it is about.
    """
    found: list[str] = []
    for name in model.grain or tuple(name for name in columns if name.endswith("_hk")):
        if name.endswith("_hk") and not business_key(graph, name):
            ends = [end for end in columns if end.endswith("_hk") and end != name]
            found += [one for end in ends for one in business_key(graph, end)]
        else:
            found += business_key(graph, name) or ([name] if not name.startswith("_") else [])
    return list(dict.fromkeys(found))


def fold_of(graph: ModelGraph, table: str, column: str) -> exp.Expression | None:
    """Return what the models make of a text before it is this column, over a column `given`; None if nothing.

    The first model upstream that does more than hand the column on says it.
    """
    pending, seen = [(table, column)], set()
    while pending:
        place = pending.pop(0)
        followed = place[0] in graph.models and not graph.models[place[0]].landed and place not in seen
        seen.add(place)
        for reading in graph.readings(place[0]) if followed else ():
            value = reading.columns.get(place[1])
            bare = value.unnest() if value is not None else None
            names = {found.name for found in bare.find_all(exp.Column)} if bare is not None else set()
            if isinstance(bare, exp.Column):
                pending.append((reading.table, bare.name))
            elif bare is not None and len(names) == 1:
                return bare.transform(lambda node: exp.column("given") if isinstance(node, exp.Column) else node)
    return None


def table_types(reader: Reader, table: str) -> dict[str, str]:
    """Return a table's columns with their types, as readers see it."""
    return reader.fetch(f"SELECT * FROM {qualified(*table.split('.', 1))} LIMIT 0")[0]
