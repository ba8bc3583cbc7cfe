"""How many of the rows that packages brought are still in their landing tables, which are append-only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from engine.sql import identifier, literal

LOADED = "SELECT table_name FROM landing._packages GROUP BY table_name HAVING sum(rows) > 0 ORDER BY table_name"


def row_counts(
    ask: Callable[[str], Sequence[Sequence[Any]]],
    there: Collection[str],
    declared: Collection[str],
    quote: Callable[[str], str] = identifier,
) -> dict[str, tuple[int, int | None]]:
    """Return for each of the `declared` tables with rows: how many were loaded, and how many of them are there.

    None: it is not among `there`, the tables of schema landing. One statement a table, for a writer may be at it.
    """
    found: dict[str, tuple[int, int | None]] = {}
    for table in [str(row[0]) for row in ask(LOADED)]:
        if table not in declared:
            continue
        arrived = f"FROM landing._packages WHERE table_name = {literal(table)}"
        rows = f"(SELECT count(*) FROM landing.{quote(table)} WHERE _load_id IN (SELECT _load_id {arrived}))"
        [(loaded, present)] = ask(f"SELECT sum(rows), {rows if table in there else 'NULL'} {arrived}")
        found[table] = int(loaded), None if present is None else int(present)
    return found
