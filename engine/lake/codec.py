"""Manifests and log entries as JSON: what is written, byte for byte, and what is accepted back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from engine.errors import LakeError
from engine.lake.package import Entry, Manifest, PackageFile
from engine.table import Column

VERSION = 1
"""Of manifests and entries. A reader refuses a higher one instead of guessing."""


def sha256(data: bytes) -> str:
    """Return the checksum that entries and manifests carry, as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _encode(value: object) -> object:
    """Write the few values of a dlt state that JSON lacks as one-key objects."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return {"$naive": value.isoformat()}
        return {"$timestamp": value.astimezone(UTC).isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    raise LakeError(
        f"lake: a resource's state holds a {type(value).__name__}, which cannot be kept",
        "Keep text, numbers, dates, lists and mappings in the state of a resource.",
    )


DECODERS: dict[str, Callable[[str], object]] = {
    "$naive": datetime.fromisoformat,
    "$timestamp": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$decimal": Decimal,
}


def _decode(value: dict[str, Any]) -> object:
    if len(value) == 1:
        ((kind, text),) = value.items()
        if kind in DECODERS and isinstance(text, str):
            return DECODERS[kind](text)
    return value


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True, default=_encode).encode() + b"\n"


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """Return one spelling of a state, for comparing two."""
    return _dump(state)


def entry_bytes(entry: Entry) -> bytes:
    """Write a log entry."""
    return _dump({**asdict(entry), "committed_at": entry.committed_at.astimezone(UTC).isoformat()})


def manifest_bytes(manifest: Manifest) -> bytes:
    """Write a manifest."""
    times = {name: getattr(manifest, name).astimezone(UTC).isoformat() for name in ("extracted_from", "extracted_to")}
    return _dump({**asdict(manifest), **times})


def _load(data: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except ValueError as error:
        raise LakeError(f"{where} is damaged: {error}", "Restore it from a backup.") from error
    if not isinstance(record, dict):
        raise LakeError(f"{where} is damaged: it holds no record", "Restore it from a backup.")
    if record.get("version", VERSION) != VERSION:
        raise LakeError(
            f"{where} was written by a newer Tickhouse (version {record['version']} of its format; this one reads "
            f"{VERSION})",
            "Update Tickhouse on this machine.",
        )
    return record


def read_entry(data: bytes, where: str) -> Entry:
    """Read a log entry; LakeError names `where` if it is damaged or newer than this program."""
    record = _load(data, where)
    try:
        return Entry(**{**record, "committed_at": datetime.fromisoformat(record["committed_at"])})
    except (TypeError, ValueError, KeyError) as error:
        raise LakeError(f"{where} is damaged: {error}", "Restore it from a backup.") from error


def read_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest; LakeError names `where` if it is damaged or newer than this program."""
    record = _load(data, where)
    try:
        return Manifest(
            **{
                **record,
                "extracted_from": datetime.fromisoformat(record["extracted_from"]),
                "extracted_to": datetime.fromisoformat(record["extracted_to"]),
                "files": tuple(PackageFile(**file) for file in record["files"]),
                "columns": tuple(Column(**column) for column in record["columns"]),
                "primary_key": tuple(record["primary_key"]),
                "state": _decode_state(record["state"]),
            }
        )
    except (TypeError, ValueError, KeyError) as error:
        raise LakeError(f"{where} is damaged: {error}", "Restore it from a backup.") from error


def _decode_state(state: dict[str, Any]) -> dict[str, Any]:
    decoded = json.loads(json.dumps(state), object_hook=_decode)
    if not isinstance(decoded, dict):
        raise TypeError("the state is not a mapping")
    return decoded
