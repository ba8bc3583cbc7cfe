"""Looking after a lake: a full check for `engine doctor`, and a small one for every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from engine.errors import LakeError
from engine.lake.hints import Hints
from engine.lake.log import TableLog
from engine.lake.package import Entry
from engine.lake.reading import check_package
from engine.lake.store import Store
from engine.lake.stored import gap


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be. An `orphan` is harmless: a package that was never committed."""

    kind: Literal["damaged", "gap", "orphan"]
    table: str
    load_id: str
    path: str
    reason: str
    remedy: str

    @property
    def harmless(self) -> bool:
        """Whether the lake is sound in spite of it."""
        return self.kind == "orphan"


def _damage(store: Store, entry: Entry) -> list[Problem]:
    return [
        Problem("damaged", entry.table, entry.load_id, entry.path, error.reason, error.remedy)
        for error in check_package(store, entry)
    ]


def _unreadable(table: str, error: LakeError) -> Problem:
    return Problem("gap", table, "", f"_log/{table}", error.reason, error.remedy)


def verify(store: Store, hints: Hints, entries: Sequence[Entry] | None = None) -> list[Problem]:
    """Check the packages of `entries`; with None every package, every log for gaps, and what no entry commits."""
    if entries is not None:
        return [problem for entry in entries for problem in _damage(store, entry)]
    problems: list[Problem] = []
    committed: set[str] = set()
    for table in store.folders("_log"):
        log = TableLog(store, table, hints)
        try:
            problems += [_unreadable(table, gap(store.where, f"_log/{table}", seq)) for seq in log.missing()]
            for seq in store.numbers(f"_log/{table}"):
                entry = log.entry(seq)
                committed.add(entry.path)
                problems += _damage(store, entry)
        except LakeError as error:
            problems.append(_unreadable(table, error))
    for path in store.packages():
        if path not in committed:
            _, table, _, load_id = path.split("/")
            reason = f"{store.where}: package {path} was never committed; it is ignored"
            problems.append(Problem("orphan", table, load_id, path, reason, "Remove the folder if no run is going on."))
    return problems


class Scrubber:
    """Checks a bounded number of packages a call and remembers where it was."""

    def __init__(self, store: Store, hints: Hints) -> None:
        """The position is a hint: losing it starts over."""
        self._store, self._hints = store, hints

    def scrub(self, count: int) -> list[Problem]:
        """Check the newest package of each table, then older ones in turn, `count` in all."""
        problems: list[Problem] = []
        budget = count
        logs: dict[str, TableLog] = {}
        heads: dict[str, int] = {}
        for table in self._store.folders("_log"):
            log = TableLog(self._store, table, self._hints)
            try:
                head = log.head()
            except LakeError as error:
                problems.append(_unreadable(table, error))
                continue
            if head:
                logs[table], heads[table] = log, head.seq
                if budget > 0:
                    problems += _damage(self._store, head)
                    budget -= 1
        return problems + self._older(logs, heads, budget)

    def _older(self, logs: dict[str, TableLog], heads: dict[str, int], budget: int) -> list[Problem]:
        """Go on from the remembered (table, seq) through all entries below the heads, at most once around."""
        problems: list[Problem] = []
        total = sum(head - 1 for head in heads.values())
        position = self._hints.number("scrub", "position") % total if total else 0
        for place in islice(_around(position, total), max(0, budget)):
            table, seq = _at(heads, place)
            try:
                problems += _damage(self._store, logs[table].entry(seq))
            except LakeError as error:
                problems.append(_unreadable(table, error))
        if total:
            self._hints.put("scrub", position=(position + max(0, budget)) % total)
        return problems


def _around(start: int, total: int) -> Sequence[int]:
    return [*range(start, total), *range(start)]


def _at(heads: dict[str, int], place: int) -> tuple[str, int]:
    """Return the table and number of the place-th entry that is not a head, tables in order, numbers from 1."""
    for table, head in heads.items():
        if place < head - 1:
            return table, place + 1
        place -= head - 1
    raise IndexError(place)
