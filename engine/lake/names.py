"""Names in a lake: load ids, and names that are safe as one part of a path or an object key."""

from __future__ import annotations

import secrets
import unicodedata
from datetime import UTC, datetime

from engine.errors import LakeError

LONGEST_NAME = 120
"""Bytes. File systems stop at 255; the rest is room for suffixes."""
PACKAGE_DEPTH = 4
"""<source>/<table>/<date>/<load_id>."""


def new_load_id(now: datetime) -> str:
    """Name a load package: UTC time to the microsecond, sortable as text, and 48 random bits.

    Two packages of one instant (a frozen or coarse clock) still differ.
    """
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(6)}"


def safe_part(name: str, what: str) -> str:
    """Return the name if it is safe as one path part; else LakeError.

    Refused: separators, control and invisible characters, a leading dot, an empty or an overlong name, and text that
    is not NFC (two spellings of one name would be two folders).
    """
    good = (
        name
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
        and not name.startswith(".")
        and name == name.strip()
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode()) <= LONGEST_NAME
    )
    if not good:
        raise LakeError(
            f"lake: {name!r} cannot name a {what}",
            "Use letters, digits, dots, dashes and underscores; start with a letter or a digit.",
        )
    return name


def source_part(name: str) -> str:
    """As safe_part; a source may not look like the lake's own folders (_log, _staging) either."""
    if name.startswith("_"):
        raise LakeError(f"lake: {name!r} cannot name a source", "Start the source's name with a letter or a digit.")
    return safe_part(name, "source")


def safe_package_path(path: str) -> str:
    """Return a package's path as the log has it if it stays inside the lake; else LakeError."""
    parts = path.split("/")
    if len(parts) != PACKAGE_DEPTH:
        raise LakeError(f"lake: {path!r} is not the path of a load package", "Restore the log entry from a backup.")
    source_part(parts[0])
    for part in parts[1:]:
        safe_part(part, "folder of a load package")
    return path
