"""What `engine doctor` asks a Trino: version, catalog, rights, clock, where the files lie. It changes nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from destinations.postgres_doctor import SKEW_SECONDS
from destinations.trino_files import Bucket
from destinations.trino_session import Session
from destinations.trino_settings import S3, TrinoSettings
from engine.errors import DestinationError
from engine.examined import Examined
from engine.sql import literal

LEAST_FREE_BYTES = 1 << 30


def examine(session: Session, settings: TrinoSettings, files: Path | None) -> Iterator[Examined]:
    """Check a server through a session of its own. `files` is the folder of the files, None where they are on S3."""
    started = time.monotonic()
    version = session.one("SELECT MAX(node_version) FROM system.runtime.nodes WHERE coordinator")
    answered = (time.monotonic() - started) * 1000
    yield Examined("server", ok=True, detail=f"{session.where}, version {version}, answers in {answered:.0f} ms")
    there = bool(session.rows(f"SHOW CATALOGS LIKE {literal(settings.catalog)}"))
    yield Examined(
        "catalog",
        ok=there,
        detail=f"{settings.catalog} {'is there' if there else 'does not exist'}",
        remedy="Give Trino an Iceberg catalog of that name (docs/trino.md), or correct `catalog:`.",
    )
    if there:
        yield _rights(session)
    before = time.time()
    skew = float(session.one("SELECT to_unixtime(current_timestamp)")) - (before + time.time()) / 2
    yield Examined(
        "clock",
        ok=abs(skew) <= SKEW_SECONDS,
        detail=f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine",
        remedy="Let both machines keep their clocks by NTP. No package is lost meanwhile: arrival never goes back.",
    )
    yield _bucket(settings) if files is None else _folder(files)


NEEDED = {
    "create tables": "CREATE TABLE landing._rights AS SELECT 1 AS one",
    "insert rows": "INSERT INTO landing._identity SELECT * FROM landing._identity",
    "delete rows": "DELETE FROM landing._identity WHERE identity = ''",
}


def _rights(session: Session) -> Examined:
    """Have Trino plan what a load does, and do nothing of it: rights are checked when a statement is planned."""
    if not session.rows("SHOW SCHEMAS LIKE 'landing'"):
        return Examined("rights", ok=True, detail="not known before the first run makes the schema landing")
    for what, statement in NEEDED.items():
        try:
            session.rows(f"EXPLAIN {statement}")
        except DestinationError as error:
            remedy = "Give the destination's `user:` that right on the catalog (Trino's access control)."
            return Examined("rights", ok=False, detail=f"the user may not {what}: {error.reason}", remedy=remedy)
    return Examined("rights", ok=True, detail=f"the user may {', '.join(NEEDED)}")


def _folder(files: Path) -> Examined:
    there = next(parent for parent in (files, *files.parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Examined("files", False, f"{there} may not be written", "Let this user write there, and Trino read.")
    free = shutil.disk_usage(there).free
    return Examined(
        "files",
        ok=free >= LEAST_FREE_BYTES,
        detail=f"{files}: {free / 1e9:,.1f} GB free",
        remedy="Clear space there: packages are linked, but what is written anew takes room.",
    )


def _bucket(settings: TrinoSettings) -> Examined:
    bucket = settings.files.removeprefix(S3).partition("/")[0]
    remedy = "Check endpoint, access_key and secret_key of the destination, and that the bucket is there."
    try:
        Bucket(settings).look()
    except Exception as error:  # whatever s3fs and what lies below it raise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return Examined("files", False, f"{S3}{bucket} cannot be read: {type(error).__name__}: {first[:200]}", remedy)
    return Examined("files", ok=True, detail=f"{S3}{bucket} can be read; S3 does not say what is free")
