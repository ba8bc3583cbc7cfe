"""The way of a package's files into a Snowflake table: PUT into an internal stage under one flat prefix, then COPY.

COPY runs with FORCE: Snowflake remembers for 64 days which files it loaded and would skip them in silence, though the
table was emptied since; which package is loaded is for our cursor alone to say. A name holds its package's load id and
lake files never change: putting one again overwrites it with itself.

With an external stage Snowflake reads the lake's own Parquet files, each by its path in the lake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from destinations.package_rows import LandedFile, csv_rows
from destinations.snowflake_session import SnowflakeSession, quote
from destinations.snowflake_settings import ExternalStage
from engine.errors import DestinationError
from engine.sql import literal

STAGE = "landing.tickhouse_stage"
MAKE_STAGE = f"CREATE STAGE IF NOT EXISTS {STAGE}"
LAKE = "landing.tickhouse_lake"
"""The external stage: the lake, as Snowflake sees it."""
FILES_AT_ONCE = 1000
"""Snowflake's limit for the FILES of one COPY."""
THREADS = 4


def make_external(stage: ExternalStage) -> str:
    """Return the statement that makes the external stage, or points it anew at what the file says."""
    url = literal(stage.url.rstrip("/") + "/")
    return f"CREATE OR REPLACE STAGE {LAKE} URL = {url} STORAGE_INTEGRATION = {quote(stage.storage_integration)}"


def staged_name(file: LandedFile) -> str:
    """Return the name of a file on the stage: flat, the same whenever it is put, and of no other file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{file.load_id}--{Path(file.name).stem}.parquet")


def put(path: Path) -> str:
    """Return the statement that puts a local file on the stage under its own name."""
    source = literal(f"file://{path.as_posix()}")
    return (
        f"PUT {source} @{STAGE} PARALLEL = {THREADS} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = NONE OVERWRITE = TRUE"
    )


def copy_into(table: str, names: Sequence[str], source: str = f"@{STAGE}") -> str:
    """Return the COPY of these files; on the external stage their names are paths in the lake."""
    files = ", ".join(literal(name) for name in names)
    return (
        f"COPY INTO landing.{quote(table)} FROM {source} FILES = ({files})"
        " FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)"
        " MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
    )


def remove(name: str) -> str:
    """Return the statement that takes a file off the stage."""
    return f"REMOVE @{STAGE}/{name}"


def stage_files(session: SnowflakeSession, destination: str, files: Iterable[LandedFile]) -> None:
    """Put files on the stage. CSV goes as Parquet, typed by its manifest."""
    with TemporaryDirectory(prefix="tickhouse-stage-") as folder:
        for file in files:
            with _as_parquet(destination, file, Path(folder)) as path:
                answer = session.execute(put(path))
            if not answer or answer[0][6] not in {"UPLOADED", "SKIPPED"}:
                raise DestinationError(
                    destination, f"{file.described} was not put on the stage: {answer}", "Run again."
                )


def copy_files(
    session: SnowflakeSession, destination: str, table: str, files: Sequence[LandedFile], *, external: bool = False
) -> None:
    """Copy staged files into landing.`table`, inside the transaction that is open, and count what arrived."""
    for start in range(0, len(files), FILES_AT_ONCE):
        batch = files[start : start + FILES_AT_ONCE]
        if external:
            statement = copy_into(table, [file.lake_path for file in batch], f"@{LAKE}")
        else:
            statement = copy_into(table, [staged_name(file) for file in batch])
        answer = session.execute(statement)
        copied = sum(int(row[3]) for row in answer if len(row) > 3)  # noqa: PLR2004 - file, status, parsed, loaded
        expected = sum(file.rows for file in batch)
        if copied != expected:
            raise DestinationError(
                destination,
                f"COPY took {copied} rows of {len(batch)} files from {batch[0].described} on; their manifests say "
                f"{expected}",
                "Nothing of them was loaded. Check the lake with `engine doctor`, then run again.",
            )


def unstage_files(session: SnowflakeSession, files: Iterable[LandedFile]) -> None:
    """Take loaded files off the stage. One that stays costs its space and no more."""
    from snowflake.connector import errors

    for file in files:
        with suppress(errors.Error):
            session.execute(remove(staged_name(file)))


@contextmanager
def _as_parquet(destination: str, file: LandedFile, folder: Path) -> Iterator[Path]:
    """Give the file under its name on the stage: PUT keeps a file's own name."""
    import pyarrow.parquet as pq

    path = folder / staged_name(file)
    if file.is_csv:
        with csv_rows(destination, file) as rows, pq.ParquetWriter(path, rows.schema) as writer:
            for batch in rows:
                writer.write_batch(batch)
    else:
        path.symlink_to(file.path.resolve())
    try:
        yield path
    finally:
        path.unlink()
