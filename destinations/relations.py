"""Tables in PostgreSQL: their columns, and what people have built on them, which stops a drop or can be put back."""

from __future__ import annotations

from collections.abc import Sequence

from destinations.postgres_session import PostgresSession
from engine.errors import DestinationError
from engine.sql import identifier, qualified


def drop(session: PostgresSession, destination: str, kind: str, schema: str, name: str) -> None:
    """Drop a table or view (`kind`) if it is there. Raises DestinationError, naming what depends on it."""
    from psycopg.errors import DependentObjectsStillExist

    try:
        session.execute(f"DROP {kind} IF EXISTS {qualified(schema, name)}")
    except DependentObjectsStillExist as error:
        depending = (error.diag.message_detail or str(error)).splitlines()[0]
        raise DestinationError(
            destination,
            f"{schema}.{name} has to be dropped for what is declared or landed, and yours stands on it: {depending}",
            "Drop that (DROP VIEW ...), run again, and make it anew; or take the change in pipelines.yaml back, if "
            "nothing of the new type has landed yet.",
        ) from None


def grants(session: PostgresSession, schema: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the GRANTs that others have on these relations and their columns: the relation's name, the statement."""
    rows = session.execute(
        "SELECT c.relname, g.privilege_type, g.attname, r.rolname, g.is_grantable FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL ("
        " SELECT acl.*, NULL::name AS attname FROM aclexplode(c.relacl) AS acl"
        " UNION ALL SELECT acl.*, a.attname FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl"
        " WHERE a.attrelid = c.oid AND NOT a.attisdropped) AS g"
        " LEFT JOIN pg_roles r ON r.oid = g.grantee"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) AND g.grantee <> c.relowner",
        [schema, list(names)],
    )
    found = []
    for name, privilege, column, role, grantable in rows:
        what = f"{privilege} ({identifier(column)})" if column else str(privilege)
        whom = identifier(role) if role else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable else ""
        found.append((str(name), f"GRANT {what} ON {qualified(schema, name)} TO {whom}{option}"))
    return found


def columns_of(session: PostgresSession, schema: str, table: str) -> dict[str, str]:
    """Return the columns in order, name and type as PostgreSQL writes it; none where there is no such table."""
    rows = session.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [qualified(schema, table)],
    )
    return {str(name): str(data_type) for name, data_type in rows}
