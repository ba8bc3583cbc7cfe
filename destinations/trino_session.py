"""Trino's connection as a destination uses it: statements and rows, and every failure as one clear sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from destinations.trino_settings import TrinoSettings
from engine.errors import DestinationError, GoneError

if TYPE_CHECKING:
    from trino.dbapi import Connection

EXISTS = "File already exists"
"""What add_files says of a file that the table has already."""
ANSWER_SECONDS = 25.0
"""How long one request may go without an answer: Trino answers each within a second, whatever the statement takes. The
client asks three times, and as often again to take the statement back. A statement that is sent again runs once: Trino
starts the one whose first answer is fetched."""
STARTING, STARTING_SECONDS = "is still starting", 15.0
LATER = "Run again in a few seconds."
AGAIN = "Run again: nothing is lost, and nothing of this load counts."
GONE = (
    (
        (
            *("Connection refused", "NewConnectionError", "Max retries", "timed out", "Connection aborted"),
            *("Connection reset", "RemoteDisconnected", "Connection broken"),
        ),
        "{where} does not answer",
        "Start it, or check host and port, then run again: nothing is lost.",
    ),
    (("name=SERVER_STARTING_UP", "name=NO_NODES_AVAILABLE", "error 503"), f"{{where}} {STARTING}", LATER),
    (
        ("name=SERVER_SHUTTING_DOWN", "name=REMOTE_", "name=ABANDONED_QUERY", "error 404", "error 410"),
        "{where}, or a node of it, was stopped in the middle of a statement",
        AGAIN,
    ),
)
REFUSED = (
    (
        ("name=ICEBERG_COMMIT_ERROR", "conflicting files"),
        "another program wrote to the same table of {where} at the same moment ({said})",
        AGAIN,
    ),
    (
        ("name=PERMISSION_DENIED",),
        "a permission is missing at {where}: {said}",
        "Grant it to the destination's `user` there, then run again: nothing of this load counts.",
    ),
    (
        ("error 401", "error 403"),
        "{where} refuses: {said}",
        "Check `user` and `password` of the destination, and its rights.",
    ),
    (
        ("name=CATALOG_NOT_FOUND", "name=CATALOG_UNAVAILABLE"),
        "{where}: {said}",
        "Name an Iceberg catalog of that server in `catalog:` (deploy/trino/catalog).",
    ),
)
"""What the client's message has in it; what is wrong; what to do. After GONE the other tables need not be tried."""


class Session:
    """One connection, in UTC, whose catalog is the destination's. Every statement is a transaction of its own."""

    def __init__(self, name: str, settings: TrinoSettings) -> None:
        """`name` is the destination's, for errors. Connects with the first statement."""
        self.name = name
        self.where = f"Trino at {settings.scheme}://{settings.host}:{settings.port}"
        self._settings = settings
        self._opened: Connection | None = None

    def rows(self, statement: str) -> list[Any]:
        """Run one statement; return its rows, or the counts of what it changed. Raises DestinationError.

        A server that has just started and has no node yet refuses it before it does anything: it is asked again.
        """
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                return self._rows(statement)
            except GoneError as error:
                if not error.reason.endswith(STARTING) or time.monotonic() >= deadline:
                    raise
                time.sleep(0.5)

    def _rows(self, statement: str) -> list[Any]:
        with clear_errors(self.name, self.where):
            cursor = self._connection.cursor()
            cursor.execute(statement)
            found: list[Any] = cursor.fetchall()
        return found

    def one(self, statement: str) -> Any:
        """Return the first value of the first row; None if there is none."""
        found = self.rows(statement)
        return found[0][0] if found and found[0] else None

    def close(self) -> None:
        """Let the connection go."""
        if self._opened is not None:
            self._opened.close()  # type: ignore[no-untyped-call]
            self._opened = None

    @property
    def _connection(self) -> Connection:
        if self._opened is None:
            from trino.auth import BasicAuthentication
            from trino.dbapi import connect

            settings, password = self._settings, self._settings.password
            self._opened = connect(  # type: ignore[no-untyped-call]
                host=settings.host,
                port=settings.port,
                http_scheme=settings.scheme,
                user=settings.user,
                auth=BasicAuthentication(settings.user, password.get_secret_value()) if password else None,
                catalog=settings.catalog,
                timezone="UTC",
                source="tickhouse",
                request_timeout=ANSWER_SECONDS,
            )
        return self._opened


def model_errors() -> tuple[type[Exception], ...]:
    """Return the client's own errors, which a plan of SQLMesh lets through."""
    import requests
    from trino.exceptions import Error

    return Error, requests.exceptions.RequestException


@contextmanager
def clear_errors(name: str, where: str) -> Iterator[None]:
    """Raise what Trino, its client or the network says inside the block as DestinationError."""
    try:
        yield
    except model_errors() as error:
        raise explain(name, where, str(error)) from error


def explain(name: str, where: str, message: str) -> DestinationError:
    """Return the DestinationError for one message."""
    found = re.search(r'message="(.*?)"(?:, query_id|\))', message, re.DOTALL)
    said = " ".join((found[1] if found else message).split())[:400]
    for kind, known in ((GoneError, GONE), (DestinationError, REFUSED)):
        for words, reason, remedy in known:
            if any(word in message for word in words):
                return kind(name, reason.format(where=where, said=said), remedy)
    return DestinationError(name, f"{said} ({where})", "Run again; `engine doctor` looks for what is wrong.")
