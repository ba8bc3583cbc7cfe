"""The ledger: every row the replay served, written down before its bytes leave.

A test compares it with what arrived: a row that is in the ledger without a fault and not in the lake was lost.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
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
        self._entries: list[Entry] = []
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def record(
        self, rows: list[Any], *, time: float, host: str, path: str, query: str, resource: str, fault: str
    ) -> None:
        """Write down the rows of one answer."""
        if not rows:
            return
        with self._lock:
            first = len(self._entries) + 1
            new = [Entry(first + i, time, host, path, query, resource, fault, row) for i, row in enumerate(rows)]
            self._entries.extend(new)
            if self._file is not None:
                self._file.write("".join(json.dumps(asdict(entry)) + "\n" for entry in new))
                self._file.flush()
                os.fsync(self._file.fileno())

    def entries(self, resource: str = "") -> list[Entry]:
        """What was served so far, of one resource or of all."""
        with self._lock:
            return [entry for entry in self._entries if not resource or entry.resource == resource]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
