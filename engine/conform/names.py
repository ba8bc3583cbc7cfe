"""Column names: one spelling that every destination accepts, and the names that payloads may not take."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_BYTES = 63
"""PostgreSQL's limit, in bytes of UTF-8."""

RESERVED_PREFIXES = ("_load", "_run", "_kafka", "_dlt", "_ducklake")
RESERVED_NAMES = frozenset(
    # lineage; then system columns that cannot be created (PostgreSQL) or would be shadowed (DuckDB)
    {"load_timestamp", "ctid", "cmin", "cmax", "xmin", "xmax", "tableoid", "rowid"}
)
PAYLOAD = "payload_"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")


def column_name(field: str) -> str:
    """Return the column name of a payload's field; applied twice it changes nothing more.

    NFC, camelCase parted, lower case, every run of characters other than letters and digits one `_`, a digit first
    gets a `_` before it, empty is `_`. A name over 63 bytes ends in 8 hex digits of its SHA-256, so that two long
    names with one beginning stay two columns.
    """
    spelled = unicodedata.normalize("NFC", _CAMEL.sub("_", field).lower())
    name = _SEPARATORS.sub("_", spelled.encode("utf-8", "replace").decode())
    if not name or name[0].isdigit():
        name = f"_{name}"
    if len(name.encode()) <= MAX_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: MAX_BYTES - 9].decode(errors='ignore')}_{digest}"


def reserved(name: str) -> bool:
    """Whether a payload may only fill a column of this name where the table declares it."""
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES)


def payload_name(field: str) -> str:
    """Return the column name of an undeclared field, out of the way of lineage and of system columns."""
    name = column_name(field)
    if reserved(name):
        return column_name(f"{PAYLOAD}{name.lstrip('_')}")
    return name
