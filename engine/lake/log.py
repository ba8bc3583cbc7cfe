"""The log of a table, and the protocol by which a package becomes part of it.

A log is a folder `_log/<table>/` of small JSON files 00000000000000000001.json, ...02.json and so on. Each commits one
package. Nothing in it is ever changed or removed, and there is no other index: a package exists for readers exactly
if its entry exists. Writers need no server and no lock between them. A writer goes through four steps.

1. *Build.* It writes the package's files under an unpredictable name in the staging folder (`_staging/` of the lake;
   for a bucket a folder of the local cache), each one synced, and holds a lock file there for as long as it lives.
2. *Say.* It writes into its lock file which package it is about to commit, and the log's head at that moment.
3. *Place.* manifest.json is written and synced, then the whole folder is renamed to
   `<source>/<table>/<date>/<load_id>/` and the parent folder is synced. (Bucket: the files are uploaded there, the
   manifest last.) Readers still see nothing.
4. *Commit.* The entry for head + 1 is created exclusively. Locally its bytes are written and synced in staging and
   hard-linked to the final name, which fails if the name is taken; then the log folder is synced. On S3 it is one PUT
   with `If-None-Match: *`; a server that ignores the header is found out by one probe, and writers then take turns by
   leases (see lease.py). After this step the package is landed; the lock file is removed.

Death at any point before step 4 leaves no entry, so no reader ever sees the package; the next writer that opens the
lake finds a lock file which nobody holds, reads what was said in step 2, looks whether the log has that package behind
that head, removes the package if not, and the leftovers in any case. Death after step 4 leaves a landed package and
leftovers.

Losing step 4 means that somebody else took the number. The loser reads the new head and decides:
- the entry that took the number is its own (the answer to an earlier try was lost): it is done;
- a package of the same source and resource was landed since this run read that resource's state: what it extracted is
  stale, and landing it would double rows. LakeConflictError; its files are removed; the run is repeated;
- the head's columns cannot be joined with those it typed its rows with (see merge.py): LakeConflictError as well;
- otherwise it joins the columns, replaces the manifest, and tries head + 1 again.

So numbers are consecutive, entries of a table are totally ordered, and `last_by_source` of the head gives for every
source and resource the newest package, and in that package's manifest the state from which the next run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.lake.codec import read_entry
from engine.lake.hints import Hints
from engine.lake.package import Entry
from engine.lake.settle import entry_path
from engine.lake.store import Store
from engine.lake.stored import gap

AT_ONCE = 64
"""Entries read in one go (concurrently on S3)."""


class TableLog:
    """Reads one table's log. Raises LakeError."""

    def __init__(self, store: Store, table: str, hints: Hints) -> None:
        """`hints` remembers the head's number, so that finding it again takes two looks."""
        self._store, self._table, self._hints = store, table, hints
        self._folder = entry_path(table, 0).rsplit("/", 1)[0]

    @property
    def table(self) -> str:
        """The table whose log it is."""
        return self._table

    def head(self) -> Entry | None:
        """Return the newest entry, None for a table that was never landed."""
        hint = self._hints.number(f"head-{self._table}", "seq")
        seq = self._store.newest(self._folder, hint)
        if not seq:
            return None
        entry = self.entry(seq)
        if seq != hint:
            self._hints.put(f"head-{self._table}", seq=seq)
        return entry

    def entry(self, seq: int) -> Entry:
        """Return one entry that has to be there."""
        path = entry_path(self._table, seq)
        data = self._store.read(path)
        if data is None:
            raise gap(self._store.where, self._folder, seq)
        return self._read(data, path, seq)

    def entries(self, after: int, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries behind `after`, ascending and consecutive, as far as the head of this moment."""
        head = self.head()
        last = head.seq if head else 0
        if limit is not None:
            last = min(last, after + limit)
        for start in range(after + 1, last + 1, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, last + 1))
            paths = [entry_path(self._table, seq) for seq in numbers]
            for seq, path, data in zip(numbers, paths, self._store.read_many(paths), strict=True):
                if data is None:
                    raise gap(self._store.where, self._folder, seq)
                yield self._read(data, path, seq)

    def find(self, load_id: str, after: int) -> Entry | None:
        """Return the entry of a package behind `after`, None if it is not committed."""
        return next((entry for entry in self.entries(after) if entry.load_id == load_id), None)

    def missing(self) -> list[int]:
        """Return the numbers that a full listing lacks (doctor)."""
        numbers = self._store.numbers(self._folder)
        return sorted(set(range(1, numbers[-1] + 1)) - set(numbers)) if numbers else []

    def _read(self, data: bytes, path: str, seq: int) -> Entry:
        entry = read_entry(data, f"{self._store.where}: {path}")
        if entry.seq != seq or entry.table != self._table:
            raise gap(self._store.where, self._folder, seq)
        return entry
