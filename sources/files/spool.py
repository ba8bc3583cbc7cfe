"""A file is read to its end before its first row is handed on, so that a broken one leaves nothing behind.

Pages of small files wait in memory as they are, larger ones in a nameless temporary file (gone with the process,
however it ends).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

ARROW_BYTES = 128 << 20
"""Typed batches held in memory; compressing them and reading them back costs about as much as parsing them."""
SPILL_BYTES = 32 << 20
"""Batches that are written to the file together, once there are too many for memory; pickled rows held in memory."""

Page: TypeAlias = pa.RecordBatch | list[dict[str, Any]]


class GivenUpError(Exception):
    """Nobody wants the pages any more."""


class Spool:
    """Pages of one file, all of one kind: written once, read once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(max_size=SPILL_BYTES, dir=str(folder))  # noqa: SIM115 - closed in close
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.rows = 0
        self.given_up = False
        """Set from another thread: nobody wants it any more, whoever fills it stops."""

    def fill(self, pages: Iterable[Page]) -> None:
        """Write all pages; an error on the way leaves the spool empty."""
        try:
            for page in pages:
                if self.given_up:
                    raise GivenUpError
                if isinstance(page, pa.RecordBatch):
                    self._take(page)
                    self.rows += page.num_rows
                else:
                    pickle.dump(page, self._file, protocol=pickle.HIGHEST_PROTOCOL)
                    self.rows += len(page)
            if self._writer is not None:
                self._spill()
                self._writer.close()
        except BaseException:
            self._held, self._held_bytes, self._writer = [], 0, None
            self._file.seek(0)
            self._file.truncate()
            self.rows = 0
            raise

    def pages(self) -> Iterator[pa.Table | list[dict[str, Any]]]:
        """Read the pages back, in order; each is let go of as it is handed on."""
        self._file.seek(0)
        if not self.rows:
            return
        if self.spilled:
            for batch in pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")):
                yield pa.Table.from_batches([batch])
            return
        if self._held:
            self._held.reverse()
            while self._held:
                yield pa.Table.from_batches([self._held.pop()])
            return
        while True:
            try:
                yield pickle.load(self._file)  # noqa: S301 - what this process wrote into its own nameless file
            except EOFError:
                return

    @property
    def spilled(self) -> bool:
        """Whether the batches were too many for memory."""
        return self._writer is not None

    def close(self) -> None:
        """Free memory and disk."""
        self._held.clear()
        self._file.close()

    def _take(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        if self._held_bytes > ARROW_BYTES or (self.spilled and self._held_bytes > SPILL_BYTES):
            self._spill()

    def _spill(self) -> None:
        """Write what is held to the file, compressed."""
        if self._writer is None:
            self._file.rollover()
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            sink = pa.PythonFile(self._file, mode="w")
            self._writer = pa.ipc.new_stream(sink, self._held[0].schema, options=options)
        for batch in self._held:
            self._writer.write_batch(batch)
        self._held, self._held_bytes = [], 0
