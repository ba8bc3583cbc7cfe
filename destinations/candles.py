"""Candles: a table's continuous aggregates, their queries, and how they are kept up to their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from destinations.chunks import SCHEMA, Chunks
from destinations.postgres_session import PostgresSession
from destinations.relations import drop
from engine.errors import DestinationError
from engine.sql import identifier, literal, qualified
from engine.table import Table
from engine.timeseries import CANDLES, prices_of

APART = ("quote_currency", "interval", "currency")
"""Columns that keep candles apart though they are in no key: prices in two currencies make no candle."""


def candle_views(table: Table) -> dict[str, str]:
    """Return the query of each of a table's candles by the name of its view, <table>_<length>."""
    series, prices = table.timeseries, prices_of(table.columns)
    if series is None or prices is None:
        return {}
    time = identifier(series.hypertable)
    declared = {column.name for column in table.columns}
    names = ["source", *table.primary_key, *(name for name in APART if name in declared)]
    apart = ", ".join(identifier(name) for name in dict.fromkeys(names) if name != series.hypertable)
    bar = (
        f"first({identifier(prices.open)}, {time}) AS open, max({identifier(prices.high)}) AS high,"
        f" min({identifier(prices.low)}) AS low, last({identifier(prices.close)}, {time}) AS close,"
        + (f" sum({identifier(prices.volume)}) AS volume," if prices.volume else "")
        + " count(*) AS row_count"
    )
    priced = f"{identifier(prices.close)} IS NOT NULL"
    views = {}
    for length in series.candles:
        bucket = f"time_bucket(INTERVAL '{int(CANDLES[length].total_seconds())} seconds', {time})"
        views[f"{table.name}_{length}"] = (
            f"SELECT {apart}, {bucket} AS bucket, {bar} FROM {qualified('timeseries', table.name)} WHERE {priced}"
            f" GROUP BY {apart}, {bucket}"  # by its name it would be the table's own column, where there is one
        )
    return views


def candle_view(view: str, query: str) -> str:
    """Return the statement that makes one, empty; rows newer than its last refresh are seen through it at once."""
    return (
        f"CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous, timescaledb.materialized_only = false)"
        f" AS {query} WITH NO DATA"
    )


class Candles:
    """The continuous aggregates of a database's hypertables."""

    def __init__(self, name: str, session: PostgresSession, chunks: Chunks) -> None:
        """`name` is the destination's, for errors; `chunks` tells what may be refreshed."""
        self._name = name
        self._session = session
        self._chunks = chunks

    def keep(self, before: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Drop and make candles, so that those whose queries were `before` become those that are wanted."""
        for view, query in before.items():
            if wanted.get(view) != query:
                drop(self._session, self._name, "MATERIALIZED VIEW", SCHEMA, view)
        for view, query in wanted.items():
            if before.get(view) != query:
                self._session.execute(candle_view(qualified(SCHEMA, view), query))

    def refresh(self, tables: Sequence[Table]) -> None:
        """Bring the candles of these tables up to their rows: only where rows have changed since the last time.

        Raises DestinationError, after all that could be brought up, with what kept others back.
        """
        import psycopg

        kept_back = []
        for table in tables:
            assert table.timeseries is not None  # noqa: S101
            for length in table.timeseries.candles if candle_views(table) else ():
                try:
                    self._refresh(table, length)
                except psycopg.Error as error:
                    if self._session.connection.closed:
                        raise
                    kept_back.append(f"{SCHEMA}.{table.name}_{length}: {str(error).splitlines()[0]}")
        if kept_back:
            raise DestinationError(
                self._name,
                f"candles could not be brought up to their rows: {'; '.join(kept_back)}",
                "The rows are loaded. Mend that; the next run brings the candles up to them.",
            )

    def _refresh(self, table: Table, length: str) -> None:
        view = literal(qualified(SCHEMA, f"{table.name}_{length}"))
        for start, end in self._chunks.windows(table.name, CANDLES[length]):
            self._session.execute(f"CALL refresh_continuous_aggregate({view}, {start}, {end})")
