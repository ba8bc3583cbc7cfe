"""A file is read to its end before its first row is handed on, so that a broken one leaves nothing behind.

Small files wait in memory, larger ones in a nameless temporary file (gone with the process, however it ends).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

MEMORY_BYTES = 32 << 20

Page: TypeAlias = pa.RecordBatch | list[dict[str, Any]]


class Spool:
    """Pages of one file: written once, read once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 - closed in close
        self._arrow = False
        self.rows = 0

    def fill(self, pages: Iterable[Page]) -> None:
        """Write all pages; an error on the way leaves the spool empty."""
        writer: pa.RecordBatchStreamWriter | None = None
        try:
            for page in pages:
                if isinstance(page, pa.RecordBatch):
                    if writer is None:
                        options = pa.ipc.IpcWriteOptions(compression="lz4")
                        writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), page.schema, options=options)
                    writer.write_batch(page)
                    self.rows += page.num_rows
                else:
                    pickle.dump(page, self._file, protocol=pickle.HIGHEST_PROTOCOL)
                    self.rows += len(page)
            if writer is not None:
                writer.close()
                self._arrow = True
        except BaseException:
            self._file.seek(0)
            self._file.truncate()
            self.rows = 0
            raise

    def pages(self) -> Iterator[pa.Table | list[dict[str, Any]]]:
        """Read the pages back, in order."""
        self._file.seek(0)
        if not self.rows:
            return
        if self._arrow:
            for batch in pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")):
                yield pa.Table.from_batches([batch])
            return
        while True:
            try:
                yield pickle.load(self._file)  # noqa: S301 - what this process wrote into its own nameless file
            except EOFError:
                return

    def close(self) -> None:
        """Free memory and disk."""
        self._file.close()
