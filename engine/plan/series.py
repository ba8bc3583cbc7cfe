"""The plan's part on keys and time series: what is declared of each table, what an edit does on TimescaleDB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.table import Table

Document = Mapping[str, Any]
PARTS = ("keys", "timeseries")
"""Parts of a plan that are compared here; the plan of an older version has none of them."""
UNITS = (("w", timedelta(weeks=1)), ("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
DOES = {
    "hypertable": "the hypertable and its candles are made anew from landing",
    "chunk": "counts for chunks to come",
    "compress_after": "older chunks are compressed",
    "retain": "older rows are dropped from the hypertable, candles stay",
}
ENDS = {
    "compress_after": "no more chunks are compressed",
    "retain": "no more rows are dropped; those that were do not come back",
}
"""What a setting does when it is changed, and when it is taken out."""


def series_parts(tables: Iterable[Table]) -> dict[str, dict[str, Any]]:
    """Return the primary key of each table that has one, and the settings of each time series."""
    tables = list(tables)
    series = {}
    for table in tables:
        if (kept := table.timeseries) is not None:
            series[table.name] = {
                "hypertable": kept.hypertable,
                "chunk": _length(kept.chunk),
                "compress_after": _length(kept.compress_after),
                "retain": _length(kept.retain),
                "candles": list(kept.candles),
            }
    return {"keys": {t.name: list(t.primary_key) for t in tables if t.primary_key}, "timeseries": series}


def series_difference(before: Document, after: Document) -> list[str]:
    """Return a line for each change of a table that both plans have, with what it does on TimescaleDB."""
    if any(part not in before for part in PARTS):
        return []
    lines = []
    for table in (name for name in before["tables"] if name in after["tables"]):
        old, new = before["timeseries"].get(table), after["timeseries"].get(table)
        old_key, new_key = before["keys"].get(table, []), after["keys"].get(table, [])
        if set(old_key) != set(new_key):
            does = f" ({DOES['hypertable']})" if old and new else ""
            lines.append(f"~ keys.{table}: {_words(old_key)} -> {_words(new_key)}{does}")
        if old and new:
            lines += _settings(table, old, new)
        elif old:
            lines.append(f"- timeseries.{table} (its hypertable and candles stay as they are, and are not filled)")
        elif new:
            lines.append(f"+ timeseries.{table} (a hypertable is made and filled from landing)")
    return lines


def _settings(table: str, old: Document, new: Document) -> list[str]:
    lines = []
    for name, does in DOES.items():
        if old[name] != new[name]:
            effect = ENDS[name] if new[name] is None else does
            lines.append(f"~ timeseries.{table}.{name}: {old[name] or 'none'} -> {new[name] or 'none'} ({effect})")
    gone = [length for length in old["candles"] if length not in new["candles"]]
    made = [length for length in new["candles"] if length not in old["candles"]]
    lines += [f"- timeseries.{table}.candles: {length} (drops the view {table}_{length})" for length in gone]
    lines += [
        f"+ timeseries.{table}.candles: {length} (made of the rows that the hypertable has left)" for length in made
    ]
    return lines


def _words(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _length(length: timedelta | None) -> str | None:
    """A length as pipelines.yaml has it, in the largest unit of which it is a multiple."""
    if length is None:
        return None
    unit, one = next(((unit, one) for unit, one in UNITS if not length % one), ("s", timedelta(seconds=1)))
    return f"{length // one}{unit}"
