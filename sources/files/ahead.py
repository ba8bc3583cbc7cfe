"""The first new file is read while the interpreter imports what every source needs, if it is worth a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sources.protocol import Notices

if TYPE_CHECKING:
    from sources.files.listing import Found
    from sources.files.spool import Spool


class Reading:
    """One file on its way into a spool, in a thread of its own."""

    def __init__(self, spool: Spool, read: Callable[[Spool, Notices], str | None]) -> None:
        """`read` fills the spool and returns the content's mark, None where the file moves."""
        from concurrent.futures import ThreadPoolExecutor

        self.spool = spool
        self._told: list[tuple[str, str | None]] = []
        pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._content = pool.submit(read, spool, self._keep)
        pool.shutdown(wait=False)

    def content(self, notice: Notices) -> str | None:
        """Wait for the end of the file; hand on what there was to say of it, and raise what `read` raised."""
        try:
            return self._content.result()
        finally:
            for message, item in self._told:
                notice(message, item=item)

    def close(self) -> None:
        """Wait for the end, and free what was read."""
        self._content.exception()
        self.spool.close()

    def _keep(self, message: str, *, item: str | None = None) -> None:
        self._told.append((message, item))


class Ahead:
    """Of one resource: the file whose reading was begun, if any."""

    def __init__(self) -> None:
        self._file: Found | None = None
        self._reading: Reading | None = None

    def begin(self, file: Found, reading: Reading) -> None:
        """Keep a reading for `take`; one that was never taken is freed."""
        if self._reading is not None:
            self._reading.close()
        self._file, self._reading = file, reading

    def take(self, file: Found) -> Reading | None:
        """Give the reading, once, if it is of this file as it is now."""
        if self._file is None or (self._file.name, self._file.stamp) != (file.name, file.stamp):
            return None
        reading, self._file, self._reading = self._reading, None, None
        return reading
