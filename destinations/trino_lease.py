"""One writer at a time on a Trino catalog, whatever machine it is on: a lease, a row of `landing._lease`.

`add_files` looks whether a table has a file and then appends it, and Iceberg lets appends commute: two machines that
add the same package within the same second would both succeed, and double its rows before either commits. So a load
first takes the lease by a MERGE, of which Iceberg lets one of two succeed. Its holder is a machine's data folder, not a
process: on one machine a lock keeps others out, and who comes after a killed writer goes on at once. Another machine
waits until the lease is given back, or its time is over by Trino's clock. Who makes or changes a landing table takes it
too (destinations/trino_tables.py).

A writer that stalls for longer than the lease finds, at its next step, that another one holds it, or that the cursor
moved.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from destinations.trino_session import Session
from engine.errors import BusyError, DestinationError, GoneError
from engine.locks import GLANCE_SECONDS
from engine.sql import literal

LEASE_SECONDS = 600
POLL_SECONDS = 1.0


class Lease:
    """The lease of one destination, taken with its first change and given back when it is closed.

    `holder` is the name of this machine's data folder.
    """

    def __init__(
        self, session: Session, lock: Path, *, wait_seconds: float, waiting: Callable[[str], None] | None
    ) -> None:
        """`lock` is the file that keeps others of this machine out: it is held."""
        self._session = session
        self.holder = _machine(lock.with_suffix(".machine"))
        self._wait_seconds, self._waiting = wait_seconds, waiting
        self._taken: float | None = None

    def take(self) -> bool:
        """Have the lease for at least half of its time from now on; True: it was asked for. Raises BusyError.

        Whoever has to ask may have had others before: what was read earlier may no longer be so.
        """
        started = time.monotonic()
        if self._taken is not None and started - self._taken < LEASE_SECONDS / 2:
            return False
        what, waiting = f"destination {self._session.name}", self._waiting
        while not self._try():
            waited = time.monotonic() - started
            until = self._session.one("SELECT MAX(until) FROM landing._lease")
            holder = f"another machine (until {str(until)[:19]} UTC unless it ends sooner)"
            if waited >= max(self._wait_seconds, GLANCE_SECONDS):
                raise BusyError(
                    f"{what} is busy: {holder} holds it",
                    "Let it finish, or run again with --wait SECONDS to queue behind it.",
                )
            if waiting is not None:
                waiting(f"waiting up to {self._wait_seconds:.0f} s: {holder} holds {what}")
                waiting = None
            time.sleep(POLL_SECONDS)
        return True

    def give_back(self) -> None:
        """Let others in at once. Where that fails its time runs out."""
        if self._taken is None:
            return
        self._taken = None
        with suppress(DestinationError):
            self._session.rows(
                "UPDATE landing._lease SET until = current_timestamp - INTERVAL '1' SECOND "
                f"WHERE holder = {literal(self.holder)}"
            )

    def _try(self) -> bool:
        started = time.monotonic()
        until = f"CAST(current_timestamp + INTERVAL '{LEASE_SECONDS}' SECOND AS timestamp(6) with time zone)"
        try:
            ((taken,),) = self._session.rows(
                "MERGE INTO landing._lease AS l "
                f"USING (VALUES ('writer', {literal(self.holder)})) AS n (name, holder) ON l.name = n.name "
                "WHEN MATCHED AND (l.holder = n.holder OR l.until < current_timestamp) "
                f"THEN UPDATE SET holder = n.holder, until = {until} "
                f"WHEN NOT MATCHED THEN INSERT (name, holder, until) VALUES (n.name, n.holder, {until})"
            )
        except GoneError:
            raise
        except DestinationError as error:
            if "same moment" in error.reason:  # another machine's MERGE came first
                return False
            raise
        if taken:
            self._taken = started
        return bool(taken)


def _machine(path: Path) -> str:
    """Return the name that this data folder was given; the caller holds the lock beside it."""
    with suppress(FileNotFoundError):
        name = path.read_text(encoding="utf-8")
        if name:
            return name
    name = secrets.token_hex(8)
    path.write_text(name, encoding="utf-8")
    return name
