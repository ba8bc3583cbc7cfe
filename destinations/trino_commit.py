"""How packages come into Trino: files first, and ONE statement on one table that makes them count.

Trino has no transaction over several tables, so a load has one commit point: the rows of `landing._packages`. That
table is the cursor too (`landing._cursor` is a view: the highest number of each table), so arrival and cursor cannot
part. The order of a load, and what a kill after each step leaves:

1. The files are linked (on S3: copied) to where the tables' files lie. *Killed:* files that nobody reads; the next
   attempt replaces them.
2. `ALTER TABLE ... EXECUTE add_files` makes a package's files rows of landing.<table>, in one commit of the table; then
   those of the quarantine. *Killed:* the rows are in the table, and count for nobody: every model reads landed rows
   through their package's row in `_packages`. The next attempt counts them: all there, they stay; else they are taken
   out, and the files are added anew. By rows, not by files: merging small files gives theirs to a file of another name.
3. `MERGE INTO landing._packages` adds the packages' rows, provided that the table's highest number, the last arrival
   and the fence of the last model run are still what they were, and that nobody has taken the lease since. *Killed
   before its commit:* as after 2. *After it, or its answer lost:* the packages are loaded, and the cursor, which is
   these very rows, says so: nothing is lost or loaded twice.

A stalled old writer that wakes up after another one has loaded the same packages adds nothing: their rows are there,
and its MERGE finds another number; one that wakes up after another one has made the table anew finds another holder of
the lease. Of two MERGE statements that run at the same moment one is refused: Trino validates what a MERGE has read
against what was committed since, and both want to add the package behind the cursor. That two machines do not add the
same files at one moment, and that no fence is set while another machine's packages are about to arrive behind it, is
the lease's to see to (destinations/trino_lease.py).
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from destinations.landing_rules import AGAIN, check_sequence, landed_files, loaded, wanted_columns
from destinations.package_rows import LandedFile
from destinations.protocol import Loaded
from destinations.trino_files import Files, place
from destinations.trino_lease import Lease
from destinations.trino_session import EXISTS, Session
from destinations.trino_tables import Tables
from destinations.trino_values import EPOCH, MICROSECOND, listed, texts, timestamp, value
from engine.errors import DestinationError, GoneError
from engine.sql import identifier, literal
from engine.table import QUARANTINE

if TYPE_CHECKING:
    from engine.lake.package import Package

FOLDERS = 8
"""Up to so many packages have a folder and an add_files each, under a name that never changes; more share one: each
add_files is a commit of a third of a second."""


class Loads:
    """Loads packages through one session. The caller has the lease."""

    def __init__(self, session: Session, tables: Tables, files: Files, lease: Lease) -> None:
        """Asks nothing yet."""
        self._session, self._tables, self._files, self._lease = session, tables, files, lease

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        """Load consecutive packages of one table; they count with the last statement, all at once."""
        first, last = packages[0].entry.seq, packages[-1].entry.seq
        held, arrived, fence = self._standing(table)
        check_sequence(self._session.name, table, held, packages)
        self._tables.prepare(table, wanted_columns(packages))
        files = list(landed_files(table, packages))
        for target in (table, QUARANTINE):
            into = [file for file in files if file.table == target and file.rows]
            for folder, members in _folders(target, into, f"{table}-{first}-{last}"):
                self._add(target, folder, members)
        self._arrive(table, packages, arrived, fence)
        return loaded(packages)

    def _standing(self, table: str) -> tuple[int, datetime | None, datetime | None]:
        """Return the table's cursor, the last arrival of any table, and the last fence."""
        ((held, arrived, fence),) = self._session.rows(
            "SELECT (SELECT MAX(seq) FROM landing._packages WHERE table_name = "
            f"{literal(table)}), (SELECT MAX(arrived_at) FROM landing._packages), "
            "(SELECT MAX(until) FROM landing._model_runs)"
        )
        return held or 0, arrived, fence

    def _add(self, table: str, folder: str, files: Sequence[LandedFile]) -> None:
        """Make files rows of landing.`table`, but for those that an attempt before made so."""
        expected: Counter[str] = Counter()
        for file in files:
            expected[file.load_id] += file.rows
        there = self._rows_of(table, expected)
        missing = [file for file in files if there.get(file.load_id) != expected[file.load_id]]
        if not missing:
            return
        if there:  # something of these packages is there, so one of their files may still be the table's, and empty
            folder = f"{folder}-{secrets.token_hex(4)}"
        parts = {file.load_id for file in missing} & there.keys()
        if parts:
            self._session.rows(f"DELETE FROM landing.{identifier(table)} WHERE _load_id IN ({texts(parts)})")
        try:
            self._add_files(table, folder, missing)
        except DestinationError as error:
            if EXISTS not in error.reason:
                raise
            if self._rows_of(table, expected) != expected:  # a file that rows were taken out of, down to the last
                self._add_files(table, f"{folder}-{secrets.token_hex(4)}", missing)

    def _rows_of(self, table: str, load_ids: Iterable[str]) -> dict[str, int]:
        """Count what is in landing.`table` of packages that have not arrived."""
        counted = self._session.rows(
            f"SELECT _load_id, COUNT(*) FROM landing.{identifier(table)} "
            f"WHERE _load_id IN ({texts(load_ids)}) GROUP BY _load_id"
        )
        return {str(load_id): int(rows) for load_id, rows in counted}

    def _add_files(self, table: str, folder: str, files: Sequence[LandedFile]) -> None:
        url = place(self._files, self._session.name, folder, files, self._tables.stored(table))
        self._session.rows(
            f"ALTER TABLE landing.{identifier(table)} EXECUTE "
            f"add_files(location => {literal(url)}, format => 'PARQUET')"
        )

    def _arrive(
        self, table: str, packages: Sequence[Package], arrived: datetime | None, fence: datetime | None
    ) -> None:
        """Commit the load: a row for each package, later than every arrival and fence before it (clocks jump back)."""
        last = max((instant for instant in (arrived, fence) if instant), default=EPOCH)
        start = max(datetime.now(UTC), last.astimezone(UTC) + MICROSECOND)
        body = listed(
            [
                [
                    value(package.entry.load_id),
                    value(package.entry.table),
                    timestamp(start + number * MICROSECOND),
                    value(package.manifest.rows),
                    value(package.entry.source),
                    value(package.entry.seq),
                ]
                for number, package in enumerate(packages)
            ]
        )
        names = "_load_id, table_name, arrived_at, rows, source, seq"
        before = packages[0].entry.seq - 1
        merge = f"""
            MERGE INTO landing._packages AS p USING (
              SELECT * FROM (VALUES {body}) AS arrived ({names})
              WHERE (SELECT COALESCE(MAX(seq), 0) FROM landing._packages WHERE table_name = {literal(table)}) = {before}
                AND (SELECT MAX(arrived_at) FROM landing._packages) IS NOT DISTINCT FROM {timestamp(arrived)}
                AND (SELECT MAX(until) FROM landing._model_runs) IS NOT DISTINCT FROM {timestamp(fence)}
                AND (SELECT MAX(holder) FROM landing._lease) = {literal(self._lease.holder)}
            ) AS n ON p._load_id = n._load_id AND p.table_name = n.table_name
            WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({", ".join(f"n.{name}" for name in names.split(", "))})
            """
        try:
            ((added,),) = self._session.rows(merge)
        except GoneError as error:
            name = self._session.name
            raise GoneError(
                name,
                f"no answer came while a load was being committed ({error.reason.removeprefix(f'{name}: ')})",
                "Run again: whether it was committed is read from the cursor there; nothing is lost or doubled.",
            ) from error
        if added != len(packages):
            raise DestinationError(
                self._session.name,
                f"the cursor of {table} is no longer at {before}, or another program's load or models came between",
                AGAIN,
            )


def _folders(table: str, files: Sequence[LandedFile], together: str) -> Iterator[tuple[str, list[LandedFile]]]:
    """Share files out among folders: one a package, or one for all where these are many."""
    by_package: dict[str, list[LandedFile]] = {}
    for file in files:
        by_package.setdefault(file.load_id, []).append(file)
    if len(by_package) > FOLDERS:
        yield f"{table}/{together}", list(files)
        return
    for load_id, members in by_package.items():
        yield f"{table}/{load_id}", members
