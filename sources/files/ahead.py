"""The first new file is read while the interpreter imports what every source needs, if it is worth a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sources.protocol import Notices

if TYPE_CHECKING:
    from sources.files.listing import Found
    from sources.files.spool import Spool


class Reading:
    """One file on its way into a spool, in a thread of its own: of one run, which takes it once or gives it up."""

    def __init__(self, file: Found, spool: Spool, read: Callable[[Spool, Notices], str | None]) -> None:
        """`read` fills the spool and returns the content's mark, None where the file moves."""
        from concurrent.futures import ThreadPoolExecutor

        self.file = file
        self.spool = spool
        self._free = True
        self._lock = threading.Lock()
        self._told: list[tuple[str, str | None]] = []
        pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._content = pool.submit(read, spool, self._keep)
        pool.shutdown(wait=False)

    def take(self, file: Found) -> bool:
        """Whether the spool is the caller's from now on: once, and only if it is of this file as it is now."""
        with self._lock:
            taken = self._free and file == self.file
            self._free = self._free and not taken
            return taken

    def content(self, notice: Notices) -> str | None:
        """Wait for the end of the file; hand on what there was to say of it, and raise what `read` raised."""
        try:
            return self._content.result()
        finally:
            for message, item in self._told:
                notice(message, item=item)

    def close(self) -> None:
        """Break off, and free what was read; nothing, if it was taken."""
        with self._lock:
            given_up, self._free = self._free, False
        if given_up:
            self.spool.given_up = True
            self._content.exception()
            with suppress(OSError):  # of a full disk, which whoever needs it will meet
                self.spool.close()

    def _keep(self, message: str, *, item: str | None = None) -> None:
        self._told.append((message, item))
