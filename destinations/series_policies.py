"""What TimescaleDB does with a hypertable by itself: the length of its chunks, compression, retention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from destinations.chunks import SCHEMA
from destinations.postgres_session import PostgresSession
from destinations.series_rows import key_of
from engine.sql import identifier, literal, qualified
from engine.table import Table


def follow(session: PostgresSession, table: Table, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Set what is wanted otherwise than before: `chunk`, `compress_after`, `retain`, each in seconds or None."""
    if before["chunk"] != wanted["chunk"]:
        session.execute(f"SELECT set_chunk_time_interval({_regclass(table)}, {interval(wanted['chunk'])})")
    if before["compress_after"] != wanted["compress_after"]:
        if wanted["compress_after"] is not None:
            _make_compressible(session, table)
        _policy(session, table, "compression", "compress_after", wanted["compress_after"])
    if before["retain"] != wanted["retain"]:
        _policy(session, table, "retention", "drop_after", wanted["retain"])


def interval(seconds: int) -> str:
    """Return so many seconds in SQL."""
    return f"INTERVAL '{seconds} seconds'"


def _make_compressible(session: PostgresSession, table: Table) -> None:
    series = table.timeseries
    assert series is not None  # noqa: S101
    segments = ", ".join(identifier(name) for name in key_of(table) if name != series.hypertable)
    session.execute(
        f"ALTER TABLE {qualified(SCHEMA, table.name)} SET (timescaledb.compress,"
        f" timescaledb.compress_segmentby = {literal(segments)},"
        f" timescaledb.compress_orderby = {literal(f'{identifier(series.hypertable)} DESC')})"
    )


def _policy(session: PostgresSession, table: Table, kind: str, word: str, after: int | None) -> None:
    jobs = "timescaledb_information.jobs WHERE hypertable_schema = %s AND hypertable_name = %s AND proc_name = %s"
    known = session.execute(f"SELECT 1 FROM {jobs}", [SCHEMA, table.name, f"policy_{kind}"])
    if known:  # ours, or a person's own
        session.execute(f"SELECT remove_{kind}_policy({_regclass(table)})")
    if after is not None:
        session.execute(f"SELECT add_{kind}_policy({_regclass(table)}, {word} => {interval(after)})")


def _regclass(table: Table) -> str:
    return literal(qualified(SCHEMA, table.name))
