"""Values as Trino's SQL has them: a statement there carries no parameters that a MERGE could take in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.sql import literal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Return an instant in whole microseconds since 1970."""
    return (instant - EPOCH) // MICROSECOND


def timestamp(instant: datetime | None) -> str:
    """Return an instant, to the microsecond and in UTC, as an SQL expression."""
    if instant is None:
        return "CAST(NULL AS timestamp(6) with time zone)"
    return f"TIMESTAMP '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC'"


def value(given: Any) -> str:
    """Return a text, whole number, truth value or instant as an SQL expression; anything else as its text."""
    if given is None:
        return "NULL"
    if isinstance(given, bool | int):
        return str(given).upper() if isinstance(given, bool) else f"CAST({given} AS bigint)"
    return timestamp(given) if isinstance(given, datetime) else literal(str(given))


def texts(given: Iterable[str]) -> str:
    """Return texts, in order, as the inside of an IN."""
    return ", ".join(literal(text) for text in sorted(given))


def listed(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of SQL expressions as the body of VALUES."""
    return ", ".join(f"({', '.join(row)})" for row in rows)
