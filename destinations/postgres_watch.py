"""A watch over a PostgreSQL connection: a server that takes every word and says nothing does not hold up a run.

TCP notices a machine that is gone (keepalives, tcp_user_timeout), but not a proxy, a load balancer or a stopped server
that goes on accepting bytes: COPY and COMMIT would wait without end. How long a statement takes says nothing, for a
large one is silent too. So once a command has been under way for a minute the server is asked about it, through a
connection of its own. The command's connection is cut, which fails the load as any lost connection does, where

- no answer comes through that connection either, or
- the server says, twice and with nothing in between, that it waits for us while we wait for it.

A server that refuses the question (no connection left, a password changed meanwhile) is alive: the command goes on.
"""

from __future__ import annotations

import re
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection, Error

SILENT_SECONDS = 60.0
"""How long a command may be under way before the server is asked, and between two questions."""
PROBE_SECONDS = 15.0
"""Within which a question has to be answered."""
GLANCE_SECONDS = 0.5
LOOK = """
    SELECT state, state_change, query_start, wait_event, coalesce(bytes_processed, 0)
    FROM pg_stat_activity LEFT JOIN pg_stat_progress_copy USING (pid) WHERE pid = %s
"""
NOTHING_KNOWN = ("active", None, None, None, 0)
"""What is taken for the answer of a server that says nothing of the process."""
SEVERITY = re.compile(r"failed: \S+:  ")
"""How libpq passes on what a server says at connecting; the word for FATAL is in the server's language."""


class Watch:
    """The watch over one connection, until that is closed."""

    backend = 0
    """Its process on the server; 0 where that is not known, as behind a pooler: then only an answer counts."""

    def __init__(self, connection: Connection[tuple[Any, ...]], dsn: str) -> None:
        """`dsn` is how the connection was made, its settings among it."""
        self._watched, self._dsn = weakref.ref(connection), dsn
        threading.Thread(target=self._run, name="postgres-watch", daemon=True).start()

    def _run(self) -> None:
        since, seen = time.monotonic(), None
        while (connection := self._watched()) is not None and not connection.closed:
            if not _is_waiting(connection):
                since, seen = time.monotonic(), None
            elif time.monotonic() - since >= SILENT_SECONDS:
                found = _ask(self._dsn, self.backend)
                if found is None or (found == seen and _waits_for_us(found)):
                    _cut(connection)
                    return
                since, seen = time.monotonic(), found
            del connection
            time.sleep(GLANCE_SECONDS)


def _is_waiting(connection: Connection[tuple[Any, ...]]) -> bool:
    from psycopg.pq import TransactionStatus

    return connection.pgconn.transaction_status == TransactionStatus.ACTIVE


def _waits_for_us(found: tuple[Any, ...]) -> bool:
    state, _, _, event, _ = found
    return bool(state != "active" or event == "ClientRead")


def _ask(dsn: str, backend: int) -> tuple[Any, ...] | None:
    """Return what the server says of that process, NOTHING_KNOWN where it is not told; None without an answer."""
    answers: list[tuple[Any, ...]] = []

    def ask() -> None:
        import psycopg

        bound = max(2, int(PROBE_SECONDS))
        try:
            with psycopg.connect(dsn, autocommit=True, prepare_threshold=None, connect_timeout=bound) as asking:
                rows = asking.execute(LOOK, [backend]).fetchall() if backend else asking.execute("SELECT 1").fetchall()
                answers.append(rows[0] if backend and rows else NOTHING_KNOWN)
        except psycopg.Error as error:
            if _is_refusal(error):
                answers.append(NOTHING_KNOWN)

    asked = threading.Thread(target=ask, name="postgres-probe", daemon=True)
    asked.start()
    asked.join(PROBE_SECONDS)
    return answers[0] if answers else None


def _is_refusal(error: Error) -> bool:
    """Whether a server said so: libpq keeps no SQLSTATE of what is said at connecting."""
    return bool(error.sqlstate or SEVERITY.search(str(error)))


def _cut(connection: Connection[tuple[Any, ...]]) -> None:
    """End the connection under libpq's hands: it finds it closed and raises what it always does.

    One that ended by itself meanwhile has no socket any more.
    """
    import psycopg

    ended = suppress(OSError, psycopg.Error)
    with ended, socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as handle:
        handle.shutdown(socket.SHUT_RDWR)
