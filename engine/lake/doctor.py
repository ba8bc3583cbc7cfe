"""Looking after a lake: a full check for `engine doctor`, and a small one for every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Literal

from engine.errors import LakeError
from engine.lake.at_once import at_once
from engine.lake.hints import Hints
from engine.lake.log import TableLog
from engine.lake.package import Entry
from engine.lake.reading import check_package
from engine.lake.store import Store
from engine.lake.stored import gap

SCRUBBED_BYTES = 512 << 20
"""A scrub stops behind the package that brings it over this many bytes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be. An `orphan` is harmless: a package that was never committed."""

    kind: Literal["damaged", "gap", "orphan"]
    table: str
    load_id: str
    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        """One line: the lake, the package (with its load id) or the log, what is wrong with it, and what to do."""
        return f"{self.reason} — {self.remedy}"

    @property
    def harmless(self) -> bool:
        """Whether the lake is sound in spite of it."""
        return self.kind == "orphan"


@dataclass(frozen=True, slots=True)
class Scrub:
    """What one small check found: `sound` are the packages that are as they were landed."""

    problems: tuple[Problem, ...]
    sound: tuple[Entry, ...]


def _damage(store: Store, entry: Entry) -> list[Problem]:
    return [
        Problem("damaged", entry.table, entry.load_id, entry.path, error.reason, error.remedy)
        for error in check_package(store, entry)
    ]


def _examined(store: Store, log: TableLog, seq: int) -> tuple[Entry, list[Problem]]:
    entry = log.entry(seq)
    return entry, _damage(store, entry)


def _unreadable(table: str, error: LakeError) -> Problem:
    return Problem("gap", table, "", f"_log/{table}", error.reason, error.remedy)


def verify(store: Store, hints: Hints, entries: Sequence[Entry] | None = None) -> list[Problem]:
    """Check the packages of `entries`; with None every package, every log for gaps, and what no entry commits."""
    if entries is not None:
        return list(chain.from_iterable(at_once(partial(_damage, store), entries)))
    problems: list[Problem] = []
    committed: set[str] = set()
    unsure: set[str] = set()
    for table in store.folders("_log"):
        log = TableLog(store, table, hints)
        try:
            missing = log.missing()
            if missing:
                unsure.add(table)
            problems += [_unreadable(table, gap(store.where, f"_log/{table}", seq)) for seq in missing]
            for entry, damage in at_once(partial(_examined, store, log), store.numbers(f"_log/{table}")):
                committed.add(entry.path)
                problems += damage
        except LakeError as error:
            unsure.add(table)
            problems.append(_unreadable(table, error))
    for path in store.packages():
        _, table, _, load_id = path.split("/")
        # a package whose entry cannot be read is committed for all we know: nobody may be told to remove it
        if path not in committed and table not in unsure:
            reason = f"{store.where}: package {path} was never committed; it is ignored"
            problems.append(Problem("orphan", table, load_id, path, reason, "Remove the folder if no run is going on."))
    return problems


class Scrubber:
    """Checks a bounded number of packages a call and remembers where it was, and what was damaged."""

    def __init__(self, store: Store, hints: Hints) -> None:
        """The position is a hint: losing it starts over."""
        self._store, self._hints = store, hints

    def scrub(self, count: int) -> Scrub:
        """Check what was damaged last time, newest packages and all in turn: `count` in all, SCRUBBED_BYTES at most.

        A damaged package is thus reported at every call until it is restored.
        """
        problems: list[Problem] = []
        logs: dict[str, TableLog] = {}
        heads: dict[str, Entry] = {}
        for table in self._store.folders("_log"):
            log = TableLog(self._store, table, self._hints)
            try:
                head = log.head()
            except LakeError as error:
                problems.append(_unreadable(table, error))
                continue
            if head:
                logs[table], heads[table] = log, head
        sound: list[Entry] = []
        damaged: list[tuple[str, int]] = []
        spent = 0
        for table, seq in self._chosen(heads, count):
            try:
                entry = logs[table].entry(seq)
            except LakeError as error:
                problems.append(_unreadable(table, error))
                continue
            found = _damage(self._store, entry)
            problems += found
            if found:
                damaged.append((table, seq))
            else:
                sound.append(entry)
            spent += entry.bytes
            if spent > SCRUBBED_BYTES:
                break
        self._hints.put("damaged", packages=damaged)
        return Scrub(tuple(problems), tuple(sound))

    def _chosen(self, heads: dict[str, Entry], count: int) -> Iterator[tuple[str, int]]:
        """Yield (table, seq) of at most `count` packages: known damage, then by halves newest ones and all in turn.

        The places in both rounds move on with every package that is taken, so that no package waits for ever.
        """
        chosen = list(dict.fromkeys(self._damaged_before(heads)))[:count]
        yield from chosen
        left = count - len(chosen)
        newest = [(table, head.seq) for table, head in heads.items()]
        total = sum(head.seq for head in heads.values())
        rounds = (("newest", len(newest), min((left + 1) // 2, len(newest))), ("all", total, left))
        for name, size, budget in rounds:
            position = self._hints.number(f"scrub-{name}", "position") % size if size else 0
            for place in islice(_around(position, size), budget):
                self._hints.put(f"scrub-{name}", position=(place + 1) % size)
                package = newest[place] if name == "newest" else _at(heads, place)
                if package not in chosen:
                    chosen.append(package)
                    yield package
                if len(chosen) >= count:
                    return

    def _damaged_before(self, heads: dict[str, Entry]) -> Iterator[tuple[str, int]]:
        """Yield what the last call noted, as far as the log still has it: notes are never believed."""
        packages = self._hints.get("damaged").get("packages")
        for package in packages if isinstance(packages, list) else ():
            match package:
                case [str(table), int(seq)] if table in heads and 1 <= seq <= heads[table].seq:
                    yield table, seq
                case _:
                    continue


def _around(start: int, total: int) -> Iterator[int]:
    return chain(range(start, total), range(start))


def _at(heads: dict[str, Entry], place: int) -> tuple[str, int]:
    """Return the table and number of the place-th entry, tables in order, numbers from 1."""
    for table, head in heads.items():
        if place < head.seq:
            return table, place + 1
        place -= head.seq
    raise IndexError(place)
