"""Catch-up: a destination loads from the lake what it lacks, table by table, from its own cursor to the lake's head."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from engine.errors import BusyError, DestinationError, GoneError, TickhouseError
from engine.lake.at_once import at_once
from engine.lost import forgotten, loaded_columns
from engine.table import Table

if TYPE_CHECKING:
    from destinations.protocol import Destination
    from engine.lake.package import Entry, Manifest, Package

BATCH_PACKAGES = 64
BATCH_BYTES = 512 << 20
"""One transaction loads at most this many packages and, beyond its first package, this many bytes."""


class LakeReader(Protocol):
    """What catch-up asks of the lake."""

    def head(self, table: str) -> Entry | None:
        """Return the newest entry of a table."""

    def entries(self, table: str, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries behind `after`, ascending."""

    def open(self, entry: Entry) -> Package:
        """Return a package whose files are checked. Raises LakeError."""

    def manifest(self, entry: Entry) -> Manifest:
        """Return what a package says of itself. Raises LakeError."""


@dataclass(slots=True)
class TableLoad:
    """One table's catch-up. `seq` is the destination's cursor afterwards, `head` the lake's newest package."""

    table: str
    head: int
    seq: int
    packages: int = 0
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    seconds: float = 0.0
    error: str | None = None


@dataclass(slots=True)
class LoadReport:
    """What one destination loaded."""

    tables: list[TableLoad] = field(default_factory=list)
    busy: bool = False
    """Whether another writer has the destination now."""

    @property
    def packages(self) -> int:
        """Packages loaded."""
        return sum(table.packages for table in self.tables)

    @property
    def rows(self) -> int:
        """Rows loaded."""
        return sum(table.rows for table in self.tables)

    @property
    def quarantined(self) -> int:
        """Rows that came to landing._quarantine."""
        return sum(table.quarantined for table in self.tables)

    @property
    def bytes(self) -> int:
        """Bytes of the packages' files."""
        return sum(table.bytes for table in self.tables)

    @property
    def errors(self) -> list[str]:
        """One line for each table that stopped."""
        return [table.error for table in self.tables if table.error]


def refuse_another_lake(destination: Destination, lake: LakeReader) -> None:
    """Raise TickhouseError if nothing that the opened destination has loaded came from this lake.

    It is another project's, or this one's lake is: told before anything is changed there. Where one table fits, the
    others are refused one by one (`catch_up`).
    """
    error = another_lake(destination.name, destination.cursors(), destination.newest(), lake)
    if error is not None:
        raise error


def another_lake(
    name: str, cursors: Mapping[str, int], newest: Mapping[str, str], lake: LakeReader
) -> TickhouseError | None:
    """Return what shows that nothing of what a destination has loaded came from this lake; None if something did."""
    wrong = []
    for _, error in tables_against(name, cursors, newest, lake):
        if error is None:
            return None
        wrong.append(error)
    if not wrong:
        return None
    apart = "If another project fills it: give each project a database, folder or catalog of its own."
    return TickhouseError(wrong[0].reason, f"{wrong[0].remedy} {apart}")


def tables_against(
    name: str, cursors: Mapping[str, int], newest: Mapping[str, str], lake: LakeReader
) -> Iterator[tuple[str, TickhouseError | None]]:
    """Yield each table that a destination has loaded, with why a run would refuse it, if it is of another lake."""
    for table, seq in sorted(cursors.items()):
        head = lake.head(table)
        load = TableLoad(table, head=head.seq if head else 0, seq=seq)
        yield table, _of_another_lake(name, lake, load, newest.get(table))


@dataclass(slots=True)
class Prepared:
    """What was found before a load: why tables are refused, by name, and which are filled from the lake again."""

    refused: dict[str, TickhouseError] = field(default_factory=dict)
    lost: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(destination: Destination, lake: LakeReader, declared: Sequence[Table]) -> Prepared:
    """Make the tables that are declared. What is wrong with one stops that one alone.

    A table that somebody dropped would come back empty behind a cursor that says all is loaded: it is made with its
    cursor set back, if the lake is the one that it was loaded from, and refused where a destination cannot do that. One
    whose filling did not end then is lost still.
    Raises DestinationError for what concerns every table.
    """
    found = Prepared()
    cursors, newest, there = destination.cursors(), destination.newest(), destination.tables()
    destination.watch_columns(partial(loaded_columns, lake))
    unfilled = destination.unfilled() if hasattr(destination, "unfilled") else ()
    for table in declared:
        if table.name in there and table.name in cursors and table.name not in newest:
            found.refused[table.name] = forgotten(destination.name, table.name)
        if table.name in there or table.name not in cursors:
            if table.name in unfilled and table.name not in found.refused and _has_more(lake, table.name, cursors):
                found.lost.append(table)
                found.notes.append(f"landing.{table.name} is filled from the lake again: a run before did not end that")
            continue
        head = lake.head(table.name)
        load = TableLoad(table.name, head=head.seq if head else 0, seq=cursors[table.name])
        wrong = _of_another_lake(destination.name, lake, load, newest.get(table.name))
        gone = f"landing.{table.name} is gone, though packages of it were loaded"
        if wrong is not None:
            found.refused[table.name] = wrong
        elif (set_back := getattr(destination, "set_back", None)) is None:
            remedy = (
                f"`engine replay --destination {destination.name}` fills it from the lake and builds the models anew."
            )
            found.refused[table.name] = DestinationError(destination.name, gone, remedy)
        else:
            try:
                set_back(table)
            except GoneError:
                raise
            except DestinationError as error:
                found.refused[table.name] = _of_table(error, table.name)
                continue
            found.lost.append(table)
            found.notes.append(f"{gone}: it is filled from the lake again")
    found.refused |= _make(destination, [table for table in declared if table.name not in found.refused])
    return found


def _has_more(lake: LakeReader, table: str, cursors: Mapping[str, int]) -> bool:
    head = lake.head(table)
    return head is not None and head.seq > cursors.get(table, 0)


def _make(destination: Destination, tables: Sequence[Table]) -> dict[str, TickhouseError]:
    """Make these tables all at once, or, if that is refused, one by one; return what each is refused for.

    Raises DestinationError if all of several tables are refused for one reason: it is not theirs.
    """
    try:
        destination.ensure(tables)
    except GoneError:
        raise
    except DestinationError:
        refused: dict[str, DestinationError] = {}
        for table in tables:
            try:
                destination.ensure([table])
            except GoneError:
                raise
            except DestinationError as error:
                refused[table.name] = error
        if len(refused) == len(tables) > 1 and len({error.reason for error in refused.values()}) == 1:
            raise
        return {name: _of_table(error, name) for name, error in refused.items()}
    return {}


def catch_up(
    destination: Destination,
    lake: LakeReader,
    tables: Sequence[Table],
    progress: Callable[[str], None] = lambda _: None,
    refused: Mapping[str, TickhouseError] | None = None,
) -> LoadReport:
    """Load every package of `tables` that the opened destination lacks, in order, in bounded transactions.

    Of a table that is `refused` already nothing is loaded.

    A package that is damaged, or that the destination refuses, stops its own table only: what stands before it is
    loaded, what stands behind it waits, and the error is in the report. A server that is gone, or that
    another writer has, ends it all, with one error. Raises LakeError or DestinationError if not even the cursors can be
    read.
    """
    cursors, newest = destination.cursors(), destination.newest()
    report = LoadReport()
    for table in tables:
        started = time.monotonic()
        load = TableLoad(table.name, head=0, seq=cursors.get(table.name, 0))
        report.tables.append(load)
        try:
            if refused and table.name in refused:
                raise refused[table.name]
            _catch_up_table(destination, lake, load, newest.get(table.name), progress)
        except TickhouseError as error:
            load.error = error.line
            report.busy = isinstance(error, BusyError)
            if isinstance(error, GoneError | BusyError):  # one line says it: the other tables wait for the next run
                break
        finally:
            load.seconds = time.monotonic() - started
    return report


def _catch_up_table(
    destination: Destination, lake: LakeReader, load: TableLoad, newest: str | None, progress: Callable[[str], None]
) -> None:
    head = lake.head(load.table)
    load.head = head.seq if head else 0
    _refuse_another_lake(destination.name, lake, load, newest)
    most = BATCH_PACKAGES
    while load.seq < load.head:
        batch, error = _open_batch(lake, load, most)
        if batch:
            try:
                loaded = destination.load(load.table, batch)
            except DestinationError as refused:
                if isinstance(refused, GoneError):
                    raise
                if _is_overtaken(destination, load):
                    _refuse_another_lake(destination.name, lake, load, destination.newest().get(load.table))
                    continue
                if len(batch) == 1:
                    raise _of_package(refused, batch[0].entry.load_id) from refused
                most = 1  # one by one: what stands before the package that it refuses is loaded, and that is named
                continue
            load.seq = loaded.seq
            load.packages += len(batch)
            load.rows += loaded.rows
            load.quarantined += loaded.quarantined
            load.bytes += loaded.bytes
            progress(f"{load.table}: {load.rows:,} rows, package {load.seq:,} of {load.head:,}")
        if error is not None:
            raise error


def _is_overtaken(destination: Destination, load: TableLoad) -> bool:
    """Whether another machine's run has loaded on meanwhile, where no lock keeps two apart: it is followed."""
    before, load.seq = load.seq, max(load.seq, destination.cursors().get(load.table, 0))
    return load.seq > before


def _refuse_another_lake(name: str, lake: LakeReader, load: TableLoad, newest: str | None) -> None:
    wrong = _of_another_lake(name, lake, load, newest)
    if wrong is not None:
        raise wrong


def _of_another_lake(name: str, lake: LakeReader, load: TableLoad, newest: str | None) -> TickhouseError | None:
    """Return what shows that the package at a table's cursor was loaded from a lake whose log is another."""
    if load.seq > load.head:
        return TickhouseError(
            f"{name}: holds {load.seq} packages of {load.table}, the lake only {load.head}",
            "Is this the right lake? If it is, restore it from a newer backup. Without one, move the destination away, "
            f"or wait until runs have landed as many: then `engine replay --destination {name}` makes it follow.",
        )
    if newest is None or not load.seq:
        return None
    entry = next(iter(lake.entries(load.table, after=load.seq - 1, limit=1)), None)
    if entry is None or entry.load_id == newest:
        return None
    return TickhouseError(
        f"{name}: loaded {newest} as package {load.seq} of {load.table}, the lake has {entry.load_id}",
        "This is another lake. Correct `lake:` in pipelines.yaml, or rebuild the destination with "
        f"`engine replay --destination {name}`.",
    )


def _of_table(error: DestinationError, table: str) -> DestinationError:
    """Name the table in what the destination says of it."""
    if f"landing.{table}" in error.reason:
        return error
    reason = error.reason.removeprefix(f"{error.destination}: ")
    return DestinationError(error.destination, f"landing.{table}: {reason}", error.remedy)


def _of_package(error: DestinationError, load_id: str) -> DestinationError:
    """Name the package in what the destination says of it."""
    if load_id in error.reason or type(error) is not DestinationError:
        return error
    reason = error.reason.removeprefix(f"{error.destination}: ")
    return DestinationError(error.destination, f"{reason} (package {load_id})", error.remedy)


def _of_a_batch(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries up to BATCH_BYTES, but the first in any case."""
    size = 0
    for number, entry in enumerate(entries):
        size += entry.bytes
        if number and size > BATCH_BYTES:
            return
        yield entry


def _open_batch(lake: LakeReader, load: TableLoad, most: int) -> tuple[list[Package], TickhouseError | None]:
    """Open the next packages of a table, up to a batch's bounds or the first damaged one, whose error comes along."""
    batch: list[Package] = []
    limit = min(most, load.head - load.seq)
    try:
        batch.extend(at_once(lake.open, _of_a_batch(lake.entries(load.table, after=load.seq, limit=limit))))
    except TickhouseError as error:
        return batch, error
    if not batch:
        return batch, TickhouseError(
            f"the lake's log of {load.table} ends before package {load.head}",
            "Run again; `engine doctor` checks the lake.",
        )
    return batch, None
