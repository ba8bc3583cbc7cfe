"""Copy the committed packages of one lake into another: a backup, a restore, a move to another place.

Packages are copied in the log's order, each by the protocol of log.py, so that the copy is a lake at every instant and
a copy that dies is gone on with by the next one. Every byte is compared with its checksum on its way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine.errors import LakeConflictError, LakeError
from engine.lake.causes import named
from engine.lake.codec import read_entry
from engine.lake.log import TableLog
from engine.lake.package import Entry, Manifest, PackageFile
from engine.lake.reading import check_package, manifest_of
from engine.lake.scratch import FILE_MODE, Intent, Scratch, write_new
from engine.lake.settle import entry_path
from engine.lake.store import Store
from engine.lake.stored import changed, gap

MANIFEST = "manifest.json"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """One package that was copied; `mended`: the other lake had its entry, but not the package as it was landed."""

    entry: Entry
    mended: bool


def copy_new(source: Store, target: Store, log: TableLog, after: int) -> Iterator[Copied]:
    """Copy the packages of a table behind `after`, the number that the target's log ends at.

    Raises LakeError if the two logs do not agree on entry `after`: they are not copies of one another.
    """
    table = log.table
    if after:
        ours, theirs = (_raw(store, table, after) for store in (source, target))
        if ours is None:
            raise LakeError(
                f"{target.where} has {after:,} packages of {table}, {source.where} fewer",
                "It is older, or not the lake that was copied there. Check both; a new copy needs a folder of its own.",
            )
        _same(source, target, table, after, ours, theirs)
    for entry in log.entries(after):
        _copy(source, target, entry)
        yield Copied(entry, mended=False)


def copy_missing(source: Store, target: Store, log: TableLog) -> Iterator[Copied]:
    """Copy every package of a table that the target lacks, in the middle too, and those that are damaged there.

    Reads every package of the target. Packages that only the target has, behind the source's end, stay.
    """
    table = log.table
    for entry in log.entries(0):
        ours, theirs = (_raw(store, table, entry.seq) for store in (source, target))
        if theirs is None:
            _copy(source, target, entry)
            yield Copied(entry, mended=False)
            continue
        _same(source, target, table, entry.seq, ours, theirs)
        if check_package(target, entry):
            _replace(source, target, entry)
            yield Copied(entry, mended=True)


def _raw(store: Store, table: str, seq: int) -> bytes | None:
    return store.read(entry_path(table, seq))


def _same(source: Store, target: Store, table: str, seq: int, ours: bytes | None, theirs: bytes | None) -> None:
    """Compare what two logs say of a number; both hold what they committed, byte for byte."""
    if theirs is None:
        raise gap(target.where, f"_log/{table}", seq)
    if ours != theirs:
        read_entry(theirs, f"{target.where}: {entry_path(table, seq)}")  # damaged, or of a newer version: said as such
        raise LakeError(
            f"package {seq} of {table} is another one in {target.where} than in {source.where}",
            "They are not copies of one lake: nothing was written there. Name the right folder.",
        )


def _copy(source: Store, target: Store, entry: Entry) -> None:
    """Place a package and commit it under the number that it has."""
    raw = _raw(source, entry.table, entry.seq)
    if raw is None:
        raise gap(source.where, f"_log/{entry.table}", entry.seq)
    manifest = manifest_of(source, entry)
    scratch = target.scratch()
    try:
        _fill(source, target, scratch, entry, manifest)
        with named(target.local, str(scratch.folder)):
            scratch.intend(Intent(entry.path, entry.table, entry.load_id, entry.seq - 1))
        if target.has_package(entry.path):  # of a copy that died before it was committed
            target.remove_package(entry.path)
        target.place(scratch, entry.path, [*(file.name for file in manifest.files), MANIFEST])
        if not target.create(entry_path(entry.table, entry.seq), raw, scratch):
            raise LakeConflictError(
                f"{target.where}: somebody else has written package {entry.seq} of {entry.table} meanwhile",
                "Let runs and other copies finish, then try again.",
            )
    except BaseException:
        scratch.release()  # what was placed is settled by the next writer, which looks into the log
        raise
    scratch.discard()


def _replace(source: Store, target: Store, entry: Entry) -> None:
    """Put a sound copy in the place of a package that is committed already."""
    manifest = manifest_of(source, entry)
    scratch = target.scratch()
    try:
        _fill(source, target, scratch, entry, manifest)
        target.remove_package(entry.path)
        target.place(scratch, entry.path, [*(file.name for file in manifest.files), MANIFEST])
    finally:
        scratch.discard()


def _fill(source: Store, target: Store, scratch: Scratch, entry: Entry, manifest: Manifest) -> None:
    """Write the package's files, synced, into a scratch folder of the target."""
    text = source.read(f"{entry.path}/{MANIFEST}")
    for file in manifest.files:
        found = Path(source.fetch(entry.path, file))
        with named(target.local, str(scratch.folder)):
            _copy_file(found, scratch.folder / file.name, source, entry, file)
    with named(target.local, str(scratch.folder)):
        write_new(scratch.folder / MANIFEST, text or b"")


def _copy_file(found: Path, to: Path, source: Store, entry: Entry, file: PackageFile) -> None:
    digest = hashlib.sha256()
    handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(handle, "wb") as out, found.open("rb", buffering=0) as opened:
        for piece in _pieces(opened):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(handle)
    if digest.hexdigest() != file.sha256:
        raise changed(source.where, entry.path, file)


def _pieces(opened: IO[bytes]) -> Iterator[bytes]:
    while piece := opened.read(PIECE):
        yield piece
