"""Trace: a row of any table back to the rows that were landed for it, and to their load packages in the lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.errors import LakeError, TickhouseError
from engine.sql import identifier, qualified
from engine.trace.keys import Condition, Keys, table_types
from engine.trace.rows import Found, Row, Walk, newest_first
from engine.trace.sql import Reader

if TYPE_CHECKING:
    from destinations.protocol import Warehouse
    from engine.lake.lake import Lake
    from engine.lake.package import Entry, Manifest
    from engine.models.graph import Model, ModelGraph

CHECKED_BYTES = 256 << 20
"""Packages are read through as long as they are no more than this together."""


class NoSuchRowError(TickhouseError):
    """The table has no row of that key."""


@dataclass(frozen=True, slots=True)
class TracedPackage:
    """One load package: as the warehouse counts it, and as it lies in the lake.

    `problem` is what is wrong with it there; `checked` says whether its files were read for that.
    """

    load_id: str
    table: str
    source: str
    arrived_at: datetime
    rows: int
    path: str | None
    manifest_sha256: str | None
    run_id: str | None
    extracted_from: datetime | None
    extracted_to: datetime | None
    simulated: bool
    problem: str | None
    checked: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """Where rows come from. `tables` has the traced one first and landed ones last; all of them are cut at a limit."""

    table: str
    key: Mapping[str, Any]
    tables: tuple[Found, ...]
    packages: tuple[TracedPackage, ...]
    unfollowed: tuple[tuple[str, str], ...]
    lake: str
    limit: int

    @property
    def rows(self) -> list[Row]:
        """The traced rows."""
        return list(self.tables[0].rows.values())

    def landed(self) -> Iterator[tuple[Found, list[Row]]]:
        """Yield each landed table with its rows, the newest first; what is joined comes last."""
        found = [table for table in self.tables if table.table.startswith("landing.")]
        for table in sorted(found, key=lambda table: table.joined):
            if table.rows:
                yield table, list(newest_first(table.rows.values()))


def trace(
    graph: ModelGraph,
    model: Model,
    warehouse: Warehouse,
    lake: Lake,
    given: Sequence[str],
    *,
    natural: Sequence[str] = (),
    limit: int = 100,
) -> Trace:
    """Trace the rows of a table that have a key.

    `natural` names the key of a landed or raw table as its source declares it. Raises NoSuchRowError, UsageError, and
    TickhouseError if the warehouse does not have what the models say.
    """
    import duckdb

    with warehouse.reader() as connection:
        reader = Reader(connection)
        try:
            types = table_types(reader, model.name)
            keys = Keys(graph, model, types, natural)
            conditions = keys.conditions(given, reader)
            origin = _rows(reader, model, types, conditions, limit)
            if not origin.rows:
                raise _no_such_row(reader, model, conditions, types)
            walk = Walk(graph, reader, limit)
            walk.follow(origin)
            counted = _counted(reader, walk.found)
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise TickhouseError(
                f"the warehouse does not have what the models say: {str(error).splitlines()[0]}",
                "Run a pipeline, so that the models are built as their files are now.",
            ) from error
    tables = tuple(found for found in walk.found.values() if found.rows)
    packages = tuple(_packages(lake, counted))
    key = {condition.column: condition.value for condition in conditions}
    return Trace(model.name, key, tables, packages, tuple(walk.unfollowed), lake.where, limit)


def _rows(reader: Reader, model: Model, types: Mapping[str, str], conditions: Sequence[Condition], limit: int) -> Found:
    where = " AND ".join(condition.sql for condition in conditions)
    order = [name for name in (*model.grain, "load_timestamp", "_load_id") if name in types]
    by = f" ORDER BY {', '.join(identifier(name) for name in order)}" if order else ""
    statement = f"SELECT * FROM {qualified(*model.name.split('.', 1))} WHERE {where}{by} LIMIT {limit + 1}"
    _, rows = reader.fetch(statement, [condition.value for condition in conditions])
    found = Found(model.name, types, cut=len(rows) > limit)
    for row in rows[:limit]:
        found.add(dict(zip(types, row, strict=True)), joined=False, current=True)
    return found


def _no_such_row(
    reader: Reader, model: Model, conditions: Sequence[Condition], types: Mapping[str, str]
) -> NoSuchRowError:
    """Say which key there is not, and which ones are near it."""
    asked = ", ".join(f"{condition.column} = {condition.value}" for condition in conditions)
    near: list[str] = []
    first = next((one for one in conditions if one.column in types and types[one.column] == "VARCHAR"), None)
    if first is not None:
        column, table = identifier(first.column), qualified(*model.name.split(".", 1))
        statement = (
            f"SELECT {column} FROM (SELECT DISTINCT {column} FROM {table} WHERE NOT {column} IS NULL) AS keys "
            f"ORDER BY jaro_winkler_similarity({column}, ?) DESC, {column} LIMIT 3"
        )
        near = [str(row[0]) for row in reader.fetch(statement, [str(first.value or "")])[1]]
    hint = f"Near it: {', '.join(near)}. " if near else ""
    return NoSuchRowError(
        f"{model.name} has no row with {asked}",
        f"{hint}What could not be loaded is in vault.rejects; what has landed since the last run is built by the next.",
    )


def _counted(reader: Reader, found: Mapping[str, Found]) -> list[tuple[Any, ...]]:
    """Return (load id, table, source, arrived_at, rows, seq) of the packages of all landed rows, the newest first."""
    ids = {
        str(row.values["_load_id"])
        for table in found.values()
        if table.table.startswith("landing.")
        for row in table.rows.values()
        if row.values.get("_load_id")
    }
    if not ids:
        return []
    return reader.fetch(
        "SELECT _load_id, table_name, source, arrived_at, rows, seq FROM landing._packages "
        f"WHERE _load_id IN ({', '.join('?' for _ in ids)}) ORDER BY arrived_at DESC, table_name",
        sorted(ids),
    )[1]


def _packages(lake: Lake, counted: Sequence[tuple[Any, ...]]) -> Iterator[TracedPackage]:
    """Yield the packages as they lie in the lake; their files are read up to CHECKED_BYTES in all."""
    left = CHECKED_BYTES
    for load_id, table, source, arrived_at, rows, seq in counted:
        entry: Entry | None = None
        manifest: Manifest | None = None
        checked, problem = False, None
        try:
            entry = next(iter(lake.entries(table, after=seq - 1, limit=1)), None)
            if entry is None or entry.load_id != load_id:
                entry, problem = None, f"{lake.where} has no such package: the warehouse was loaded from another lake"
            else:
                manifest = lake.manifest(entry)
                checked = entry.bytes <= left
                wrong = lake.verify([entry]) if checked else []
                left -= entry.bytes if checked else 0
                problem = str(wrong[0]) if wrong else None
        except LakeError as error:
            problem = error.line
        yield TracedPackage(
            load_id=load_id,
            table=table,
            source=source,
            arrived_at=arrived_at,
            rows=rows,
            path=entry.path if entry else None,
            manifest_sha256=entry.manifest_sha256 if entry else None,
            run_id=manifest.run_id if manifest else None,
            extracted_from=manifest.extracted_from if manifest else None,
            extracted_to=manifest.extracted_to if manifest else None,
            simulated=bool(manifest and manifest.simulated),
            problem=problem,
            checked=checked,
        )
