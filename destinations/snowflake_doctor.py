"""What `engine doctor` asks a Snowflake account: who one is there, warehouse, rights, clock. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

from destinations.postgres_doctor import SKEW_SECONDS
from destinations.snowflake_session import SnowflakeSession
from engine.examined import Examined
from engine.sql import identifier


def examine(session: SnowflakeSession, where: str) -> Iterator[Examined]:
    """Check an account through a session of its own."""
    started = time.monotonic()
    [(version,)] = session.execute("SELECT CURRENT_VERSION()")
    answered = (time.monotonic() - started) * 1000
    yield Examined("server", ok=True, detail=f"{where}, version {version}, answers in {answered:.0f} ms")
    [(role, database, warehouse)] = session.execute("SELECT CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_WAREHOUSE()")
    yield Examined(
        "session",
        ok=bool(role and database and warehouse),
        detail=f"role {role or 'none'}, database {database or 'none'}, warehouse {warehouse or 'none'}",
        remedy="Run deploy/snowflake/setup.sql; check `role:`, `database:` and `warehouse:`.",
    )
    if role and database:
        yield _rights(session, str(role), str(database))
    before = time.time()
    [(theirs,)] = session.execute("SELECT DATE_PART(EPOCH_MICROSECOND, SYSDATE())")
    skew = int(theirs) / 1_000_000 - (before + time.time()) / 2
    yield Examined(
        "clock",
        ok=abs(skew) <= SKEW_SECONDS,
        detail=f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine",
        remedy="Let this machine keep its clock by NTP: a key's login is refused when it is a minute off.",
    )
    yield Examined("space", ok=True, detail="an account has no limit of its own; resource monitors limit what it costs")


def _rights(session: SnowflakeSession, role: str, database: str) -> Examined:
    """Look for what setup.sql grants. A right that comes through another role is not listed, so this only warns."""
    from snowflake.connector.errors import Error

    try:
        grants = session.execute(f"SHOW GRANTS TO ROLE {identifier(role)}")
    except Error as error:
        return Examined("rights", ok=True, detail=f"cannot be asked: {str(error).splitlines()[0][:200]}")
    held = {str(privilege) for _at, privilege, kind, name, *_ in grants if kind == "DATABASE" and name == database}
    if held & {"OWNERSHIP", "CREATE SCHEMA"}:
        return Examined("rights", ok=True, detail=f"{role} may create schemas in {database}")
    detail = f"{role} itself has no CREATE SCHEMA on {database}; unless another role gives it, runs are refused"
    return Examined("rights", ok=True, detail=detail)
