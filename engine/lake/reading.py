"""Reading committed packages: manifests are checked against the log, files against manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import LakeError
from engine.lake.codec import read_manifest, sha256
from engine.lake.log import TableLog
from engine.lake.names import safe_package_path, safe_part
from engine.lake.package import Entry, Manifest, Package
from engine.lake.store import Store
from engine.lake.stored import RESTORE, manifest_changed, manifest_missing
from engine.table import Column


def manifest_of(store: Store, entry: Entry) -> Manifest:
    """Return the manifest that an entry commits; LakeError if it is not that one any more."""
    path = safe_package_path(entry.path)
    data = store.read(f"{path}/manifest.json")
    if data is None:
        raise manifest_missing(store.where, path)
    if sha256(data) != entry.manifest_sha256:
        raise manifest_changed(store.where, path)
    manifest = read_manifest(data, f"{store.where}: package {path}: manifest.json")
    for file in manifest.files:
        safe_part(file.name, "file of a load package")
    return manifest


def open_package(store: Store, entry: Entry) -> Package:
    """Return the package with local paths of its files, every byte checked. Files beside it are ignored."""
    manifest = manifest_of(store, entry)
    files = tuple(store.fetch(entry.path, file) for file in manifest.files)
    return Package(entry, manifest, files)


def check_package(store: Store, entry: Entry) -> list[LakeError]:
    """Read a package as it is stored and return everything that is wrong with it."""
    try:
        manifest = manifest_of(store, entry)
    except LakeError as error:
        return [error]
    wrong = []
    for file in manifest.files:
        try:
            store.check(entry.path, file)
        except LakeError as error:
            wrong.append(error)
    if not wrong and manifest.load_id != entry.load_id:
        wrong.append(LakeError(f"{store.where}: package {entry.path} belongs to another log entry", RESTORE))
    return wrong


def columns_at(store: Store, entry: Entry | None) -> tuple[Column, ...]:
    """Return the table's columns after an entry, () before the first."""
    return manifest_of(store, entry).columns if entry else ()


def state_at(store: Store, log: TableLog, seq: int) -> Mapping[str, Any]:
    """Return the dlt state that the package of a number carries, {} for 0."""
    return manifest_of(store, log.entry(seq)).state if seq else {}
