"""Which parts of TimescaleDB a server has: its Apache 2 edition has hypertables, and nothing else that is used here."""

from __future__ import annotations

from typing import Any

from destinations.postgres_session import PostgresSession

NOTHING: dict[str, Any] = {"compress_after": None, "retain": None, "candles": {}}
"""What is applied of a table's community features where there are none."""
APACHE = (
    "this server's TimescaleDB is of the Apache edition (timescaledb.license), or has no community part: the tables of "
    "schema timeseries are hypertables without compression, retention and candles. Install the community edition "
    "there; the next run takes it up."
)


def is_community(session: PostgresSession) -> bool:
    """Whether compression, policies and continuous aggregates are there; asked outside of a transaction.

    The setting alone does not tell: it says `timescale` also where that part was not found.
    """
    import psycopg

    if session.execute("SELECT current_setting('timescaledb.license', true)") == [("apache",)]:
        return False
    try:
        session.execute("SELECT alter_job(-1, if_exists => true)")  # no job has that number: nothing is altered
    except psycopg.errors.FeatureNotSupported:
        return False
    except psycopg.Error:  # a standby, an old version: whoever needs it will be told
        return True
    return True
