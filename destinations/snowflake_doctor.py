"""What `engine doctor` asks a Snowflake account: who one is there, rights, warehouse, clock. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

from destinations.postgres_doctor import SKEW_SECONDS, Examined
from destinations.snowflake_session import SnowflakeSession


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
    before = time.time()
    [(theirs,)] = session.execute("SELECT DATE_PART(EPOCH_MICROSECOND, SYSDATE())")
    skew = int(theirs) / 1_000_000 - (before + time.time()) / 2
    yield Examined(
        "clock",
        ok=abs(skew) <= SKEW_SECONDS,
        detail=f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine",
        remedy="Let this machine keep its clock by NTP: a key's login is refused when it is a minute off.",
    )
