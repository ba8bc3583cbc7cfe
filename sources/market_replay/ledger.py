"""The ledger: every row the replay served, written down before its bytes leave.

A test compares it with what arrived: a row that is in the ledger without a fault and not in the lake was lost.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One served row. `fault` names the fault that touched its answer; `number` counts from 1."""

    number: int
    time: float
    host: str
    path: str
    query: str
    resource: str
    fault: str
    row: Any


class Ledger:
    """Entries in memory and, if a file is given, as JSON lines that are on the disk before the row is served."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._answers: list[tuple[Entry, bytes]] = []
        self._count = 0
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def record(
        self, rows: list[Any], *, time: float, host: str, path: str, query: str, resource: str, fault: str
    ) -> None:
        """Write down the rows of one answer."""
        if not rows:
            return
        # one text an answer: a year of charts as objects would take ten times the memory
        text = json.dumps(rows, separators=(",", ":"))
        with self._lock:
            first = Entry(self._count + 1, time, host, path, query, resource, fault, None)
            self._count += len(rows)
            self._answers.append((first, text.encode()))
            if self._file is not None:
                self._file.writelines(json.dumps(asdict(entry)) + "\n" for entry in _entries(first, text))
                self._file.flush()
                os.fsync(self._file.fileno())

    def entries(self, resource: str = "") -> list[Entry]:
        """What was served so far, of one resource or of all."""
        with self._lock:
            answers = [answer for answer in self._answers if not resource or answer[0].resource == resource]
        return [entry for first, text in answers for entry in _entries(first, text)]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _entries(first: Entry, text: str | bytes) -> list[Entry]:
    return [replace(first, number=first.number + i, row=row) for i, row in enumerate(json.loads(text))]
