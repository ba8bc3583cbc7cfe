"""What `engine doctor` asks of schema timeseries: has each table the rows that are landed and belong there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from destinations.chunks import SCHEMA
from destinations.postgres_session import PostgresSession
from destinations.series_rows import is_emptied, lacking
from engine.examined import Examined
from engine.sql import qualified
from engine.words import counted

BOOKS = (
    # an older release has no number of the last package that was filled in, or no filenode
    "SELECT table_name, settings, (to_jsonb(s) ->> 'filled')::bigint, (to_jsonb(s) ->> 'filenode')::bigint"
    f" FROM {SCHEMA}._settings AS s"
    " WHERE settings <> 'null' ORDER BY table_name"
)
FILLS = "Run a pipeline that loads there: it fills what is gone from landing again."


def examine_series(session: PostgresSession, destination: str) -> Iterator[Examined]:
    """Compare each time series with its landed rows, as far as retention, or a person, has not dropped their chunks."""
    if not _is_there(session, "_settings"):
        if _is_there(session, "_chunks"):
            detail = f"{SCHEMA}._settings is gone"
            remedy = "Run a pipeline that loads there: it makes each table of its own anew from landing."
            yield Examined("time series", ok=False, detail=detail, remedy=remedy)
        return
    if not _is_there(session, "_chunks") or not _is_there(session, "_packages", "landing"):
        return  # as an older release left it; told of landing
    wrong, remedies = [], []
    books = session.execute(BOOKS)
    for table, text, filled, filenode in books:
        settings = json.loads(text)
        if not _is_there(session, table):
            wrong.append(f"{SCHEMA}.{table} is gone")
            remedies.append(FILLS)
        elif not _is_there(session, table, "landing"):
            continue  # which is told, and filled again, of landing
        elif is_emptied(session, table, settings, filled, filenode):
            wrong.append(f"{SCHEMA}.{table} is empty, though rows of it are landed")
            remedies.append(FILLS)
        elif count := lacking(session, table, settings, filled):
            wrong.append(f"{SCHEMA}.{table} lacks {counted(count, 'row')} of landing.{table}")
            remedies.append(
                f"`engine replay --destination {destination}` fills every table anew, and views and grants stay. Or,"
                f" for this one alone, DROP TABLE {qualified(SCHEMA, table)} CASCADE, which takes its candles, its"
                " grants and what people have built on them: the next run makes the table and its candles anew, and"
                " nothing else."
            )
    if books:
        detail = "; ".join(wrong) or f"{counted(len(books), 'table')} with every row that belongs there"
        yield Examined("time series", not wrong, detail, " ".join(dict.fromkeys(remedies)))


def _is_there(session: PostgresSession, table: str, schema: str = SCHEMA) -> bool:
    return session.execute("SELECT to_regclass(%s)", [qualified(schema, table)])[0][0] is not None
