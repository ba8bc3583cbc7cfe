"""A load package: what one extraction of one resource landed, and the log entry that commits it.

Layout of a lake (a folder or a bucket):

    <source>/<table>/<YYYY-MM-DD>/<load_id>/part-00000.parquet ...   the rows, typed
                                           quarantine-00000.parquet  rows set aside, only if there are any
                                           manifest.json             the Manifest below
    _log/<table>/<seq, 20 digits>.json                               the Entry that commits the package

A package exists once its entry exists. Entries are created exclusively (a hard link or O_EXCL locally, If-None-Match
on S3), so sequence numbers of a table are 1, 2, 3 ... without a gap, and two writers cannot both take one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.table import Column


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file of a package, relative to the package's folder."""

    name: str
    rows: int
    bytes: int
    sha256: str
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package holds. `columns` is the table's whole schema after it; `state` the resource's dlt state."""

    load_id: str
    run_id: str
    source: str
    resource: str
    table: str
    format: str
    rows: int
    quarantined: int
    bytes: int
    extracted_from: datetime
    extracted_to: datetime
    files: tuple[PackageFile, ...]
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit of a table's log.

    `last_by_source` maps "source/resource" to the seq of its newest package, this one included.
    """

    seq: int
    load_id: str
    path: str
    source: str
    resource: str
    table: str
    rows: int
    quarantined: int
    bytes: int
    committed_at: datetime
    manifest_sha256: str
    last_by_source: Mapping[str, int]
    version: int = 1


@dataclass(frozen=True, slots=True)
class Package:
    """A committed package, checked against its entry: every file is there with its size and checksum.

    `local_files` are paths that DuckDB and pyarrow can open directly (a cache copy for S3), in the manifest's order.
    """

    entry: Entry
    manifest: Manifest
    local_files: tuple[str, ...]
