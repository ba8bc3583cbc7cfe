"""Which ranges of a hypertable have lost their rows: candles there stay as they were, for nothing can compute them.

`timeseries._chunks` remembers each chunk that was filled. One that is no longer among TimescaleDB's was dropped, by the
retention policy or by a person, whatever the settings say by now; late rows for its range make a new chunk, and not a
whole one.

TRUNCATE drops chunks as well, and not for good. It changes the table's filenode, which each run notes; dropping chunks
does not. So a table without rows is filled again, but for the ranges that are gone for good:

- its filenode is the noted one: those of all chunks that are gone, though it be every chunk;
- it is another, or none was noted (by an older release): those that an earlier run had found gone, and those that the
  retention policy of the last run could have dropped since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from destinations.postgres_session import PostgresSession
from engine.sql import identifier, literal, qualified

SCHEMA = "timeseries"
CHUNKS = f"""
    CREATE TABLE IF NOT EXISTS {SCHEMA}._chunks
        (table_name text, chunk text, span tstzrange NOT NULL, dropped boolean NOT NULL DEFAULT false,
        PRIMARY KEY (table_name, chunk))
"""
"""`dropped`: a run has found the chunk gone for good."""
WAS_DROPPED = "coalesce((to_jsonb(n) ->> 'dropped')::boolean, false)"
"""Of a row `n` of `_chunks`, which in an older release has no such column."""
INFORMATION = "timescaledb_information.chunks"


class Chunks:
    """The chunks of a database's hypertables, those that are there and those that were."""

    def __init__(self, session: PostgresSession) -> None:
        """`session` is the one writer's."""
        self._session = session

    def note(self, table: str) -> None:
        """Remember the chunks that a hypertable has; in the transaction that has filled them."""
        self._session.change(
            f"INSERT INTO {SCHEMA}._chunks SELECT {literal(table)}, chunk_name, tstzrange(range_start, range_end)"
            f" FROM {INFORMATION} WHERE {_of(table)} ON CONFLICT DO NOTHING"
        )

    def settle(self, table: str, stays: str, *, refill: bool) -> None:
        """Remember that the chunks of these ranges were dropped; to `refill` the others, forget those that are gone."""
        lost = f"table_name = {literal(table)} AND NOT dropped AND chunk NOT IN {_names(table)}"
        self._session.change(f"UPDATE {SCHEMA}._chunks SET dropped = true WHERE {lost} AND span <@ {stays}")
        if refill:
            self._session.change(f"DELETE FROM {SCHEMA}._chunks WHERE {lost}")

    def forget(self, table: str) -> None:
        """Forget them all: the table is made anew, or emptied to be filled from the beginning."""
        self._session.change(f"DELETE FROM {SCHEMA}._chunks WHERE table_name = %s", [table])

    def find_gone(self, table: str, time: str, key: Sequence[str]) -> None:
        """Of a table whose chunks nobody has noted: the days with landed rows of which it has none are gone."""
        day = f"time_bucket(INTERVAL '1 day', {identifier(time)})"
        there = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in key)
        self._session.change(
            f"INSERT INTO {SCHEMA}._chunks"
            f" SELECT {literal(table)}, 'before ' || day, tstzrange(day, day + INTERVAL '1 day')"
            f" FROM (SELECT {day} AS day FROM {qualified('landing', table)} WHERE {there}"
            f" EXCEPT SELECT {day} FROM {qualified(SCHEMA, table)}) AS missing ON CONFLICT DO NOTHING"
        )

    def count_gone(self, table: str, time: str, rows: str) -> int:
        """Return how many of these rows lie where chunks are gone."""
        found = self._session.execute(f"SELECT count(*) FROM {rows} WHERE {identifier(time)} <@ {gone(table)}")
        return int(found[0][0])

    def windows(self, table: str, length: timedelta) -> Iterator[tuple[str, str]]:
        """Yield what may be refreshed, as two SQL values each: all but the candles that touch a chunk that is gone."""
        width = f"INTERVAL '{int(length.total_seconds())} seconds'"
        rows = self._session.execute(
            f"SELECT lower(span)::text, upper(span)::text FROM"
            f" unnest('{{(,)}}'::tstzmultirange - {gone(table)}) AS span"
            # TimescaleDB refuses a window in which no whole candle lies
            f" WHERE lower(span) IS NULL OR upper(span) IS NULL OR time_bucket({width},"
            f" lower(span) + {width} - INTERVAL '1 microsecond') < time_bucket({width}, upper(span)) ORDER BY span"
        )
        for start, end in rows:
            yield _instant(start), _instant(end)


def gone(table: str) -> str:
    """The ranges, one multirange, whose chunks were noted and are there no more.

    One that `merge_chunks` put into a neighbour is none of them: that neighbour has grown. Unless a chunk of its range
    had been dropped, and made again by late rows, before that.
    """
    there = f"(SELECT chunk_name, tstzrange(range_start, range_end) AS range FROM {INFORMATION} WHERE {_of(table)})"
    noted = f"(SELECT chunk, span, {WAS_DROPPED} AS dropped FROM {SCHEMA}._chunks AS n WHERE {_noted(table)})"
    return (
        "(SELECT coalesce(range_agg(span), '{}') FROM (SELECT span,"
        " count(*) > 1 OR bool_or(dropped OR chunk LIKE 'before %') AS sure"
        f" FROM {noted} AS n WHERE chunk NOT IN {_names(table)} GROUP BY span) AS lost"
        f" WHERE sure OR NOT EXISTS (SELECT 1 FROM {there} AS c JOIN {noted} AS n ON n.chunk = c.chunk_name"
        " WHERE c.range @> lost.span AND c.range <> n.span))"
    )


def gone_before(table: str, retain: int | None) -> str:
    """Of a truncated table the ranges, one multirange, that a run had found gone, or older than `retain` seconds."""
    old = "false" if retain is None else f"upper(span) <= now() - INTERVAL '{int(retain)} seconds'"
    return (
        f"(SELECT coalesce(range_agg(span), '{{}}') FROM {SCHEMA}._chunks AS n"
        f" WHERE {_noted(table)} AND chunk NOT IN {_names(table)} AND ({WAS_DROPPED} OR {old}))"
    )


def _noted(table: str) -> str:
    return f"table_name = {literal(table)}"


def _names(table: str) -> str:
    return f"(SELECT chunk_name FROM {INFORMATION} WHERE {_of(table)})"


def _of(table: str) -> str:
    return f"hypertable_schema = '{SCHEMA}' AND hypertable_name = {literal(table)}"


def _instant(text: str | None) -> str:
    return "NULL" if text is None else f"{literal(text)}::timestamptz"
