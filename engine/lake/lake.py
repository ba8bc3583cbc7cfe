"""The lake: what the engine and the destinations call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.config.models import FilesystemLake, S3Lake
from engine.lake.doctor import Problem, Scrub, Scrubber, verify
from engine.lake.hints import Hints
from engine.lake.log import TableLog
from engine.lake.names import new_load_id, safe_part
from engine.lake.package import Entry, Manifest, Package
from engine.lake.reading import columns_at, manifest_of, open_package, state_at
from engine.lake.settle import entry_path
from engine.lake.store import Store
from engine.lake.writer import Origin, PackageWriter
from engine.table import Column, Table

if TYPE_CHECKING:
    from engine.lake.mirror import Copied

__all__ = ["Lake", "PackageWriter", "Problem", "Scrub", "new_load_id", "open_lake"]


class Lake:
    """One lake, for reading and for landing. Every method raises LakeError and nothing else of its own."""

    def __init__(self, store: Store, cache_dir: Path, *, csv: bool) -> None:
        """Use open_lake; `cache_dir` keeps hints (and S3 downloads) and may be lost at any time."""
        self._store, self._hints, self._csv = store, Hints(cache_dir), csv
        self._scrubber = Scrubber(store, self._hints)

    def __enter__(self) -> Self:
        """Return the lake itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let connections go."""
        self._store.close()

    @property
    def where(self) -> str:
        """The lake as a person knows it: `lake .data/lake`."""
        return self._store.where

    def head(self, table: str) -> Entry | None:
        """Return the newest entry of a table, None if it was never landed."""
        return self._log(table).head()

    def entries(self, table: str, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries behind `after`, ascending and without a gap, at most `limit`."""
        return self._log(table).entries(after, limit)

    def tables(self) -> list[str]:
        """Return the names of all landed tables."""
        return [name for name in self._store.folders("_log") if self._store.read(entry_path(name, 1))]

    def open(self, entry: Entry) -> Package:
        """Return a package with local paths of its files.

        Every file's size and checksum are checked: LakeError names the package, the file, what is wrong with it
        (missing, truncated, changed) and what to do. Files that the manifest does not name are ignored.
        """
        return open_package(self._store, entry)

    def manifest(self, entry: Entry) -> Manifest:
        """Return what an entry's package says of itself; LakeError if it is missing or was changed."""
        return manifest_of(self._store, entry)

    def columns(self, table: str) -> tuple[Column, ...]:
        """Return the columns of a table after its newest package, () if it was never landed."""
        return columns_at(self._store, self.head(table))

    def state(self, source: str, resource: str, table: str) -> tuple[dict[str, Any], int]:
        """Return (dlt state, seq) of the newest package of a source's resource; ({}, 0) if there is none.

        Hand the seq to `writer` as since_seq: it is how a stale extraction is recognised.
        """
        log = self._log(table)
        head = log.head()
        seq = head.last_by_source.get(f"{source}/{resource}", 0) if head else 0
        return dict(state_at(self._store, log, seq)), seq

    def writer(
        self,
        *,
        source: str,
        resource: str,
        table: Table,
        run_id: str,
        load_id: str,
        since_seq: int,
        simulated: bool = False,
    ) -> PackageWriter:
        """Open a package for one extraction of one resource. What dead writers left behind is removed first."""
        origin = Origin(source, resource, table, run_id, load_id, since_seq, simulated)
        return PackageWriter(self._store, self._log(table.name), origin, csv=self._csv)

    def verify(self, entries: Sequence[Entry] | None = None) -> list[Problem]:
        """Read everything (or the packages of some entries) and return what is not as landed. For `engine doctor`."""
        return verify(self._store, self._hints, entries)

    def scrub(self, count: int) -> Scrub:
        """Check `count` packages as they are stored: those damaged before, the newest of each table, then the others.

        The place is remembered between calls, so that a few packages a run cover the whole lake in time.
        """
        return self._scrubber.scrub(count)

    def copy_from(self, other: Lake, table: str, *, mend: bool = False) -> Iterator[Copied]:
        """Copy what another lake has of a table and this one has not; yield each package once it is committed here.

        Only what comes behind this lake's end, unless `mend`: then also what is missing or damaged in its middle.
        LakeError where the two are not copies of one lake.
        """
        from engine.lake.mirror import copy_missing, copy_new

        if mend:
            return copy_missing(other._store, self._store, other._log(table))
        head = self.head(table)
        return copy_new(other._store, self._store, other._log(table), head.seq if head else 0)

    def _log(self, table: str) -> TableLog:
        return TableLog(self._store, safe_part(table, "table"), self._hints)


def open_lake(settings: FilesystemLake | S3Lake, project_dir: Path, cache_dir: Path) -> Lake:
    """Open the lake of a profile; a folder or a bucket that does not exist yet is made by the first package.

    A relative path of `settings` is taken from `project_dir`.
    """
    csv = settings.format == "csv"
    if isinstance(settings, S3Lake):
        from engine.lake.bucket import BucketStore

        return Lake(BucketStore(settings, cache_dir), cache_dir, csv=csv)
    from engine.lake.folder import FolderStore

    return Lake(FolderStore(project_dir / settings.path, settings.path), cache_dir, csv=csv)
