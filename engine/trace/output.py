"""A trace as lines for people and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from engine.query_output import plain
from engine.trace.rows import Found, Row
from engine.trace.trace import Trace, TracedPackage

SHOWN_ROWS = 3
"""Traced rows that are written out for people; --json has all of them."""
SHOWN_COLUMNS = 6
"""Columns in which landed rows differ that are written out for people."""
LEGEND = "  * gives values that are seen now; 1 named the key first; the others changed nothing or are superseded"
ENGINE_COLUMNS = (
    "source",
    "load_timestamp",
    "_load_id",
    "_run_id",
    "_kafka_topic",
    "_kafka_partition",
    "_kafka_offset",
)


def document(trace: Trace) -> dict[str, Any]:
    """Return the whole trace: rows, the way through the models, landed rows and their packages."""
    return {
        "table": trace.table,
        "key": _plain(trace.key),
        "rows": [_plain(row.values) for row in trace.rows],
        "steps": [
            {
                "table": found.table,
                "rows": len(found.rows),
                "current": sum(row.current for row in found.rows.values()),
                "joined": found.joined,
                "by_value": found.by_value,
                "cut": found.cut,
            }
            for found in trace.tables
        ],
        "landed": [
            {
                "table": found.table,
                "cut": found.cut,
                "rows": [
                    {
                        "current": row.current,
                        "first": row.first,
                        "joined": row.joined,
                        "values": _plain(row.values),
                    }
                    for row in rows
                ],
            }
            for found, rows in trace.landed()
        ],
        "packages": [
            {name: plain(getattr(package, name)) for name in TracedPackage.__dataclass_fields__}
            for package in trace.packages
        ],
        "not_followed": [{"table": table, "reads": reads} for table, reads in trace.unfollowed],
        "lake": trace.lake,
        "limit": trace.limit,
        "cut": any(found.cut for found in trace.tables),
    }


def lines(trace: Trace) -> Iterator[str]:
    """Yield the trace as a page: the row, the way, what was landed, the packages."""
    key = ", ".join(f"{name} = {_text(value)}" for name, value in trace.key.items())
    count = len(trace.rows)
    yield f"{trace.table}  {key}: {count} row{'s' * (count != 1)}{_cut(trace.tables[0], trace.limit)}"
    for row in trace.rows[:SHOWN_ROWS]:
        shown = [f"{name} {_text(value)}" for name, value in row.values.items() if value is not None and name[0] != "_"]
        yield f"  {', '.join(shown)}"
    if count > SHOWN_ROWS:
        yield f"  … and {count - SHOWN_ROWS} more (--json has them)"
    yield ""
    yield "by way of"
    for found in sorted(trace.tables[1:], key=lambda found: found.joined):
        if not found.table.startswith("landing."):
            yield f"  {found.table}: {_counted(found)}{_cut(found, trace.limit)}"
    for table, reads in trace.unfollowed:
        yield f"  {table} reads {reads} too; its rows do not tell which ones"
    for found, rows in trace.landed():
        yield ""
        yield from _landed_lines(found, rows, trace.limit)
    yield LEGEND
    yield ""
    yield f"load packages ({trace.lake})"
    for package in trace.packages:
        yield from _package_lines(package)


def _counted(found: Found) -> str:
    rows = list(found.rows.values())
    current = sum(row.current for row in rows)
    text = f"{len(rows)} row{'s' * (len(rows) != 1)}"
    if current != len(rows):
        text += f", {current} current"
    if all(row.joined for row in rows):
        text += " (joined)"
    return text + (" (found by value: the row does not have their key)" if found.by_value else "")


def _landed_lines(found: Found, rows: Sequence[Row], limit: int) -> Iterator[str]:
    joined = " for what is joined to it" if all(row.joined for row in rows) else ""
    yield f"{found.table}: {len(rows)} row{'s' * (len(rows) != 1)} landed{joined}{_cut(found, limit)}"
    differing = _differing(rows)
    for row in rows:
        values = row.values
        kafka = [
            f"{name[1:]} {values[name]}"
            for name in ENGINE_COLUMNS
            if name[:6] == "_kafka" and values.get(name) is not None
        ]
        said = [f"{name} {_text(values[name])}" for name in differing]
        yield (
            f"  {_mark(row)} {_text(values.get('load_timestamp'))}  {values.get('source')}  "
            f"package {values.get('_load_id')}  run {values.get('_run_id')}{''.join(f'  {one}' for one in kafka)}"
        )
        if said:
            yield f"      {', '.join(said)}"


def _mark(row: Row) -> str:
    return "*" if row.current else "1" if row.first else " "


def _differing(rows: Sequence[Row]) -> list[str]:
    """Return the columns in which deliveries differ: what a correction corrected."""
    names = [name for name in rows[0].values if name not in ENGINE_COLUMNS]
    return [name for name in names if len({repr(row.values[name]) for row in rows}) > 1][:SHOWN_COLUMNS]


def _package_lines(package: TracedPackage) -> Iterator[str]:
    extra = ", simulated" if package.simulated else ""
    yield (
        f"  {package.load_id}  {package.table}  {package.source}: {package.rows:,} rows, "
        f"arrived {_text(package.arrived_at)}{extra}"
    )
    if package.path:
        yield f"      {package.path}/  manifest sha256 {package.manifest_sha256}"
    if package.problem:
        yield f"      PROBLEM: {package.problem}"


def _cut(found: Found, limit: int) -> str:
    return f" (cut at {limit}: --limit asks for more)" if found.cut else ""


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds" if value.microsecond else "seconds")
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(plain(value))
