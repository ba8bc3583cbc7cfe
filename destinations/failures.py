"""DuckDB's and the file system's messages, turned into one clear DestinationError: which destination, why, what now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import DestinationError

LOCKED = (
    "Could not set lock",
    "Conflicting lock",
    "database is locked",
    "already open in",
    "Unique file handle conflict",
)
FULL = ("No space left", "disk is full", "Could not write all bytes", "out of disk space", "Disk quota exceeded")
CORRUPT = (
    "not a valid DuckDB database",
    "file is not a database",
    "is malformed",
    "checksum",
    "No magic bytes",
    "Corrupt",
    "Invalid Parquet",
    "Invalid footer",
    "too small to be a Parquet file",
    "Failed to load metadata",
    "serialization",
    "Serialization",
    "TProtocolException",
    "invalid TType",
    "don't know what type",
    "ecompression failure",
    "Out of buffer",
    "likely corrupted",
    "Footer length error",
    "Failed to read Parquet file",
    "Could not read enough bytes",
)
"""What a bit that flipped makes DuckDB say, of its own files and of Parquet's."""
MEMORY = ("Out of Memory", "bad allocation", "bad_alloc", "ailed to allocate", "re-allocate", "Cannot allocate memory")
UNOPENED = ("Too many open files", "unable to open database file")
"""SQLite does not say which of the two it was."""
REFUSED = ("Permission denied", "Read-only file system", "readonly database", "read-only mode")

PLAIN = (
    (FULL, "no space left on the disk of {place}", "Free some space and run again; nothing of this load stayed."),
    (
        MEMORY,
        "there is not enough memory for {place}: {said}",
        "Give it more (the container's limit), or end other programs; then run again: nothing of this load stayed.",
    ),
    (
        UNOPENED,
        "{place} cannot be opened: {said}",
        "Too many open files (ulimit -n), or no right to read and write there: mend that, then run again.",
    ),
    (REFUSED, "{place} cannot be written: {said}", "Give this user the right to write there."),
)
"""What it says; what is wrong; what to do."""


class DamagedError(DestinationError):
    """A warehouse, or a file of it, is not what was written there."""


def keep_aside(paths: Iterable[Path]) -> None:
    """Rename what exists of a damaged warehouse, in this order: its main file last, so that a kill repeats it all."""
    mark = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for path in paths:
        if path.exists():
            path.replace(path.with_name(f"{path.name}.damaged-{mark}"))


@contextmanager
def clear_errors(name: str, kind: str, path: Path) -> Iterator[None]:
    """Raise what DuckDB or the file system says inside the block as DestinationError. `kind`: ducklake or duckdb."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise explain(name, kind, path, str(error)) from error


def explain(name: str, kind: str, path: Path, message: str) -> DestinationError:
    """Return the DestinationError for one message of DuckDB, SQLite or the operating system."""
    place = f"the {kind} warehouse {path}"
    if any(words in message for words in LOCKED):
        holder = re.search(r"in ([^ ]+) \(PID (\d+)\)", message)
        by = f"process {holder[2]} ({Path(holder[1]).name})" if holder else "another process"
        return DestinationError(
            name,
            f"{place} cannot be opened: {by} holds its lock",
            "Close that program and run again; nothing is lost meanwhile. `engine query` reads without a lock.",
        )
    for known, reason, remedy in PLAIN:
        if any(words in message for words in known):
            return DestinationError(name, reason.format(place=place, said=_first_line(message)), remedy)
    if any(words in message for words in CORRUPT):
        return DamagedError(
            name,
            f"{place} or one of its files is damaged: {_first_line(message)}",
            f"`engine doctor` checks the lake; then `engine replay --destination {name}` rebuilds this from there.",
        )
    return DestinationError(
        name, f"{_first_line(message)} ({kind}, {path})", "Run again; `engine doctor` looks for what is wrong."
    )


def _first_line(message: str) -> str:
    """Return a message's first line, without DuckDB's class of error."""
    line = next((line for line in message.splitlines() if line.strip()), "unknown error").strip()
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", line)
