"""Landing one package: rows stream in, `publish` commits them. The protocol is described in log.py."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from engine.errors import LakeConflictError, LakeError
from engine.lake.causes import named
from engine.lake.codec import VERSION, entry_bytes, manifest_bytes, sha256, state_bytes
from engine.lake.log import TableLog
from engine.lake.merge import merge_columns
from engine.lake.names import safe_part, source_part
from engine.lake.package import Entry, Manifest, PackageFile
from engine.lake.reading import columns_at, state_at
from engine.lake.scratch import Intent, write_new
from engine.lake.settle import entry_path
from engine.lake.store import Store
from engine.table import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a package comes from. `since_seq` is the newest package of the source's resource that the run knew."""

    source: str
    resource: str
    table: Table
    run_id: str
    load_id: str
    since_seq: int
    simulated: bool = False

    @property
    def key(self) -> str:
        """The key of Entry.last_by_source."""
        return f"{self.source}/{self.resource}"


class PackageWriter:
    """One package in the making. Leave it by `publish` or `discard`; as a context manager it discards by itself."""

    def __init__(self, store: Store, log: TableLog, origin: Origin, *, csv: bool) -> None:
        """Sweep what dead writers left, then open a scratch folder. Raises LakeError."""
        from engine.lake.parts import PartFiles

        source_part(origin.source)
        safe_part(origin.resource, "resource")
        safe_part(origin.load_id, "load id")
        self._store, self._log, self._origin, self._csv = store, log, origin, csv
        head = log.head()
        self._opened_at = head.seq if head else 0
        self._scratch = store.scratch()
        self._rows = PartFiles(self._scratch.folder, "part", csv=csv)
        self._rejected = PartFiles(self._scratch.folder, "quarantine")
        self._files: tuple[PackageFile, ...] | None = None
        self._path = ""
        self._open = True

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Discard what was not published."""
        self.discard()

    def write(self, rows: pa.Table) -> None:
        """Add typed rows (any number of columns of the table). On LakeError the package is discarded."""
        self._take(self._rows, rows)

    def write_rejected(self, rows: pa.Table) -> None:
        """Add rows of QUARANTINE_COLUMNS. On LakeError the package is discarded."""
        self._take(self._rejected, rows)

    def publish(
        self,
        columns: Sequence[Column],
        state: Mapping[str, Any],
        extracted_from: datetime,
        extracted_to: datetime,
    ) -> Entry | None:
        """Commit the package; None if it would say nothing: no rows, none rejected, the state as it was.

        `columns` is the table's schema as the rows were typed with it. May be called again after a LakeError whose
        cause has gone: a commit whose answer was lost is found in the log and not repeated. LakeConflictError means
        that the run has to extract again; the files are removed then.
        """
        self._must_be_open()
        try:
            entry = self._publish(columns, state, extracted_from, extracted_to)
        except LakeConflictError:
            self._remove()
            raise
        if entry is None:
            self._remove()
        else:
            self._open = False
            with self._named():
                self._scratch.discard()
        return entry

    def discard(self) -> None:
        """Forget the package and remove its files. Does nothing after `publish`."""
        if self._open:
            self._remove()

    def _take(self, parts: Any, rows: pa.Table) -> None:
        self._must_be_open()
        try:
            with self._named():
                parts.write(rows)
        except LakeError:
            self._remove()
            raise

    def _finished_files(self) -> tuple[PackageFile, ...]:
        if self._files is None:
            with self._named():
                self._files = (*self._rows.finish(), *self._rejected.finish())
        return self._files

    def _publish(
        self, columns: Sequence[Column], state: Mapping[str, Any], extracted_from: datetime, extracted_to: datetime
    ) -> Entry | None:
        origin = self._origin
        try:
            files = self._finished_files()
        except LakeError:
            self._remove()
            raise
        if not files and state_bytes(state) == state_bytes(state_at(self._store, self._log, origin.since_seq)):
            return None
        draft = Manifest(
            load_id=origin.load_id,
            run_id=origin.run_id,
            source=origin.source,
            resource=origin.resource,
            table=origin.table.name,
            format="csv" if self._csv else "parquet",
            rows=sum(file.rows for file in files if not file.quarantine),
            quarantined=sum(file.rows for file in files if file.quarantine),
            bytes=sum(file.bytes for file in files),
            extracted_from=extracted_from,
            extracted_to=extracted_to,
            files=files,
            columns=tuple(columns),
            primary_key=origin.table.primary_key,
            state=state,
            simulated=origin.simulated,
            version=VERSION,
        )
        return self._commit(draft)

    def _commit(self, draft: Manifest) -> Entry:
        """Steps 2 to 4 of the protocol, until this package has a number or has lost for good."""
        written = b""
        while True:
            landed = self._log.find(draft.load_id, self._opened_at)
            if landed:
                return landed
            head = self._log.head()
            if self._opened_at > (head.seq if head else 0):
                raise LakeError(
                    f"{self._store.where}: the log of {draft.table} ended at {self._opened_at} when this run began"
                    f" and ends at {head.seq if head else 0} now",
                    "Is the lake's disk still mounted, or was the lake replaced? Put it back, then run again.",
                )
            if head and head.last_by_source.get(self._origin.key, 0) > self._origin.since_seq:
                raise LakeConflictError(
                    f"lake: another run landed {self._origin.key} of {draft.table} first (entry {head.seq});"
                    " what this run extracted is stale",
                    "Run again: extraction goes on from what that run landed.",
                )
            merged = merge_columns(draft.table, columns_at(self._store, head), draft.columns)
            manifest = manifest_bytes(replace(draft, columns=merged))
            if manifest != written:
                self._place(draft, manifest)
                written = manifest
            entry = self._entry(draft, head, sha256(manifest))
            if self._create(entry):
                return entry

    def _create(self, entry: Entry) -> bool:
        """Step 4. An error whose request was carried out all the same (a lost answer) is no error."""
        try:
            return self._store.create(entry_path(entry.table, entry.seq), entry_bytes(entry), self._scratch)
        except LakeError:
            if self._log.find(entry.load_id, self._opened_at) == entry:
                return True
            raise

    def _place(self, draft: Manifest, manifest: bytes) -> None:
        if self._path:
            self._store.replace_manifest(self._path, manifest)
            return
        day = f"{draft.extracted_from.astimezone(UTC):%Y-%m-%d}"
        path = f"{draft.source}/{safe_part(draft.table, 'table')}/{day}/{draft.load_id}"
        if self._store.has_package(path):
            raise LakeError(f"{self._store.where}: there is already a package at {path}", "A load id may be used once.")
        with self._named():
            self._scratch.intend(Intent(path, draft.table, draft.load_id, self._opened_at))
            (self._scratch.folder / "manifest.json").unlink(missing_ok=True)
            write_new(self._scratch.folder / "manifest.json", manifest)
        self._path = path  # from here on there may be something to remove
        self._store.place(self._scratch, path, [*(file.name for file in draft.files), "manifest.json"])

    def _entry(self, draft: Manifest, head: Entry | None, checksum: str) -> Entry:
        seq = head.seq + 1 if head else 1
        now = datetime.now(UTC)
        if head:  # a clock that jumps back must not put a later commit before an earlier one
            now = max(now, head.committed_at + timedelta(microseconds=1))
        return Entry(
            seq=seq,
            load_id=draft.load_id,
            path=self._path,
            source=draft.source,
            resource=draft.resource,
            table=draft.table,
            rows=draft.rows,
            quarantined=draft.quarantined,
            bytes=draft.bytes,
            committed_at=now,
            manifest_sha256=checksum,
            last_by_source={**(head.last_by_source if head else {}), self._origin.key: seq},
            version=VERSION,
        )

    def _named(self) -> contextlib.AbstractContextManager[None]:
        return named(self._store.local, str(self._scratch.folder.parent))

    def _must_be_open(self) -> None:
        if not self._open:
            raise LakeError("lake: this package is already published or discarded", "Open another writer.")

    def _remove(self) -> None:
        """Remove every trace, unless the package may be committed after all: then the next sweep decides."""
        self._open = False
        self._rows.abandon()
        self._rejected.abandon()
        if self._path:
            try:
                if self._log.find(self._origin.load_id, self._opened_at) is None:
                    self._store.remove_package(self._path)
            except LakeError:
                self._scratch.release()
                return
        with self._named():
            self._scratch.discard()
