"""What `engine doctor` asks a PostgreSQL server: version, rights, clock, space, extension. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from destinations.postgres_session import PostgresSession
from destinations.series_doctor import examine_series
from destinations.timescale_edition import is_community
from engine.examined import Examined
from engine.sql import identifier, qualified
from engine.words import counted

OLDEST = 14
"""The oldest PostgreSQL that its makers still mend."""
SKEW_SECONDS = 5.0


def examine(session: PostgresSession, name: str, where: str, *, timescale: bool) -> Iterator[Examined]:
    """Check the server of the destination of this name through a connection of its own."""
    yield _version(session, where)
    rights = _rights(session, ("landing", "timeseries") if timescale else ("landing",))
    yield rights
    yield _encoding(session)
    yield _clock(session)
    yield _space(session)
    if timescale:
        yield _extension(session)
        if rights.ok:
            yield from examine_series(session, name)


def _version(session: PostgresSession, where: str) -> Examined:
    started = time.monotonic()
    [(version,)] = session.execute("SHOW server_version")
    answered = (time.monotonic() - started) * 1000
    major = int(str(version).split(".", maxsplit=1)[0].split(" ")[0])
    return Examined(
        "server",
        major >= OLDEST,
        f"{where}: version {version}, answers in {answered:.0f} ms",
        f"Upgrade the server: {OLDEST} is the oldest that is supported.",
    )


def _rights(session: PostgresSession, schemas: Sequence[str]) -> Examined:
    [(user, standby, read_only, may_create, superuser)] = session.execute(
        "SELECT current_user::text, pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',"
        " has_database_privilege(current_database(), 'CREATE'),"
        " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
    )
    if standby or read_only:
        return Examined("rights", ok=False, detail="the server is read-only", remedy="Name the primary in the DSN.")
    lacking = []
    for schema in schemas:
        there = session.execute(
            "SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') FROM pg_namespace"
            " WHERE nspname = %s",
            [schema],
        )
        if not (there[0][0] if there else may_create):
            lacking.append(schema)
    if lacking:
        return Examined(
            "rights",
            ok=False,
            detail=f"{user} may not write schema {' and '.join(lacking)}",
            remedy=f"GRANT CREATE ON DATABASE ... TO {identifier(user)}; of a schema that is there: GRANT USAGE, "
            f"CREATE ON SCHEMA {', '.join(lacking)} TO {identifier(user)}.",
        )
    others = session.execute(
        "SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner)::text, c.relowner = 10"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'MEMBER')"
        " AND (n.nspname = 'landing' OR c.relname = '_settings' OR c.relname IN"  # a stranger's is never touched
        " (SELECT l.relname FROM pg_class l JOIN pg_namespace s ON s.oid = l.relnamespace WHERE s.nspname = 'landing'))"
        " ORDER BY n.nspname, c.relname",
        [list(schemas)],
    )
    if others:
        schema, table, owner, built_in = others[0]
        more = f" (nor {counted(len(others) - 1, 'other table')})" if others[1:] else ""
        remedy = f"As {owner} or a superuser: ALTER TABLE {qualified(schema, table)} OWNER TO {identifier(user)};"
        if more and not built_in:  # what the server's first role has cannot be reassigned
            remedy += f" or all that it has there: REASSIGN OWNED BY {identifier(owner)} TO {identifier(user)};"
        detail = f"{schema}.{table} belongs to {owner}, not to {user}{more}"
        return Examined("rights", ok=False, detail=detail, remedy=remedy)
    more = " (a superuser; a role of its own would do)" if superuser else ""
    return Examined("rights", ok=True, detail=f"{user} may create and write{more}")


def _encoding(session: PostgresSession) -> Examined:
    [(encoding,)] = session.execute("SHOW server_encoding")
    return Examined("encoding", encoding == "UTF8", str(encoding), "Create the database with ENCODING 'UTF8'.")


def _clock(session: PostgresSession) -> Examined:
    before = time.time()
    [(theirs,)] = session.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    skew = float(theirs) - (before + time.time()) / 2
    return Examined(
        "clock",
        abs(skew) <= SKEW_SECONDS,
        f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine",
        "Let both machines keep their clocks by NTP. No package is lost meanwhile: arrival never goes back.",
    )


def _space(session: PostgresSession) -> Examined:
    [(size,)] = session.execute("SELECT pg_database_size(current_database())")
    return Examined("space", ok=True, detail=f"the database takes {size / 1e6:,.0f} MB; SQL cannot ask what is free")


def _extension(session: PostgresSession) -> Examined:
    found = session.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    if found:
        without = "" if is_community(session) else ", the Apache edition: without compression, retention and candles"
        return Examined("timescaledb", ok=True, detail=f"version {found[0][0]}{without}")
    at_hand = session.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
    remedy = "CREATE EXTENSION timescaledb; as a superuser." if at_hand else "Install TimescaleDB on the server."
    detail = "not in this database: tables of schema timeseries are plain ones, without chunks and candles"
    return Examined("timescaledb", ok=False, detail=detail, remedy=remedy)
