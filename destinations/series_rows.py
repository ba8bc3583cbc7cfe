"""The rows of a time series, taken from those that are landed: by which key, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from destinations.chunks import INFORMATION, SCHEMA, gone, gone_before
from destinations.postgres_session import PostgresSession
from engine.sql import identifier, literal, qualified
from engine.table import Table

SEQ, PLACE = '"number of the package"', '"place in it"'
"""Columns beside those of landing: a space is in no name that a payload's field can get."""
LOADED = '"load_timestamp"'
"""It grows within a package, and ctid need not: a VACUUM after a load that died gives its place to later rows."""


def key_of(table: Table) -> list[str]:
    """What names a row: its source and its primary key; two sources of one table do not overwrite each other."""
    return list(dict.fromkeys(["source", *table.primary_key]))


def landed(table: str, join: str, after: int = 0) -> str:
    """The landed rows of the packages after one, as a table with their order: SEQ, then PLACE."""
    return (
        f"(SELECT r.*, p.seq AS {SEQ}, r.ctid AS {PLACE} FROM {qualified('landing', table)} AS r"
        f" {join} landing._packages AS p ON p._load_id = r._load_id AND p.table_name = {literal(table)}"
        f" WHERE p.seq IS NULL OR p.seq > {int(after)}) AS loaded"
    )


def newest_first(table: Table) -> str:
    """The order of `landed`, backwards. A load time that the payload itself brings is none of delivery."""
    own = any(column.name == "load_timestamp" for column in table.columns)
    return f"{SEQ} DESC NULLS FIRST,{'' if own else f' {LOADED} DESC,'} {PLACE} DESC"


def newest_rows(table: Table, columns: Iterable[str], rows: str, order: str) -> str:
    """The statement that gives these columns of the newest row of each key; one whose key has a NULL is left out."""
    names, keys = _listed(columns), _listed(key_of(table))
    there = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in key_of(table))
    return f"SELECT DISTINCT ON ({keys}) {names} FROM {rows} WHERE {there} ORDER BY {keys}, {order}"


def fill(session: PostgresSession, table: Table, columns: Iterable[str], rows: str, order: str) -> None:
    """Add the newest row of each key, in place of the one that is there."""
    names, key = list(columns), key_of(table)
    values = ", ".join(f"{identifier(name)} = excluded.{identifier(name)}" for name in names if name not in set(key))
    session.change(
        f"INSERT INTO {qualified(SCHEMA, table.name)} ({_listed(names)})"
        f" {newest_rows(table, names, rows, order)} ON CONFLICT ({_listed(key)}) DO UPDATE SET {values}"
    )


def has_values(session: PostgresSession, table: Table, columns: Collection[str], filled: int | None) -> bool:
    """Whether rows of the packages up to `filled` (None: of all) have something in these columns."""
    known = " OR ".join(f"{identifier(name)} IS NOT NULL" for name in columns)
    up_to = "" if filled is None else f" AND {SEQ} <= {int(filled)}"
    return bool(session.execute(f"SELECT 1 FROM {landed(table.name, 'JOIN')} WHERE ({known}){up_to} LIMIT 1"))


def restore(session: PostgresSession, table: Table, columns: Collection[str]) -> None:
    """Give the rows that are there what landing has in these columns."""
    key = key_of(table)
    latest = newest_rows(table, [*key, *columns], landed(table.name, "LEFT JOIN"), newest_first(table))
    values = ", ".join(f"{identifier(name)} = latest.{identifier(name)}" for name in columns)
    same = " AND ".join(f"kept.{identifier(name)} = latest.{identifier(name)}" for name in key)
    session.change(
        f"UPDATE {qualified(SCHEMA, table.name)} AS kept SET {values} FROM ({latest}) AS latest WHERE {same}"
    )


def is_emptied(
    session: PostgresSession, table: str, settings: Mapping[str, Any], filled: int | None, filenode: int | None
) -> bool:
    """Whether a time series has no row at all, though landed ones belong there and their chunks are not gone for good.

    `settings`, `filled` and `filenode` are what the last run has noted.
    """
    if session.execute(f"SELECT 1 FROM {qualified(SCHEMA, table)} LIMIT 1"):
        return False
    elsewhere = f"NOT {identifier(settings['time'])} <@ {gone_for_good(session, table, settings, filenode)}"
    return bool(session.execute(f"SELECT 1 FROM {_belonging(table, settings, filled)} AND {elsewhere} LIMIT 1"))


def gone_for_good(session: PostgresSession, table: str, settings: Mapping[str, Any], filenode: int | None) -> str:
    """The ranges, one multirange, of an empty time series that are not filled again, by destinations.chunks' rule."""
    [(extension, now)] = session.execute(
        "SELECT to_regclass(%s) IS NOT NULL, pg_relation_filenode(to_regclass(%s))::bigint",
        [INFORMATION, qualified(SCHEMA, table)],
    )
    if not settings["extension"] or not extension:
        return "'{}'::tstzmultirange"
    return gone(table) if now == filenode else gone_before(table, settings["retain"])


def lacking(session: PostgresSession, table: str, settings: Mapping[str, Any], filled: int | None) -> int:
    """Return how many keys of landed rows a time series lacks, but where chunks of it were dropped."""
    key = settings["key"]
    dropped = f" AND NOT {identifier(settings['time'])} <@ {gone(table)}" if settings["extension"] else ""
    keys = f"SELECT DISTINCT {_listed(key)} FROM {_belonging(table, settings, filled)}{dropped}"
    same = " AND ".join(f"kept.{identifier(name)} = wanted.{identifier(name)}" for name in key)
    [(count,)] = session.execute(
        f"SELECT count(*) FROM ({keys}) AS wanted"
        f" WHERE NOT EXISTS (SELECT 1 FROM {qualified(SCHEMA, table)} AS kept WHERE {same})"
    )
    return int(count)


def _belonging(table: str, settings: Mapping[str, Any], filled: int | None) -> str:
    """The landed rows that a time series has been filled with (None: with all) and that retention leaves alone."""
    there = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in settings["key"])
    up_to = "" if filled is None else f" AND {SEQ} <= {int(filled)}"
    if settings["retain"] is not None:
        there += f" AND {identifier(settings['time'])} > now() - INTERVAL '{int(settings['retain'])} seconds'"
    return f"{landed(table, 'JOIN')} WHERE {there}{up_to}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(identifier, names))
