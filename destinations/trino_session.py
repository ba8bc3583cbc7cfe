"""Trino's connection as a destination uses it: statements and rows, and every failure as one clear sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from destinations.trino_settings import TrinoSettings
from engine.errors import DestinationError

if TYPE_CHECKING:
    from trino.dbapi import Connection

EXISTS = "File already exists"
"""What add_files says of a file that the table has already."""


class Session:
    """One connection, in UTC, whose catalog is the destination's. Every statement is a transaction of its own."""

    def __init__(self, name: str, settings: TrinoSettings) -> None:
        """`name` is the destination's, for errors. Connects with the first statement."""
        self.name = name
        self.where = f"Trino at {settings.scheme}://{settings.host}:{settings.port}"
        self._settings = settings
        self._opened: Connection | None = None

    def rows(self, statement: str) -> list[Any]:
        """Run one statement; return its rows, or the counts of what it changed. Raises DestinationError."""
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
                request_timeout=60,
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
    found = re.search(r'name=(\w+), message="(.*?)"(?:, query_id|\))', message, re.DOTALL)
    kind, said = (found[1], found[2]) if found else ("", message.strip())
    first = " ".join(said.split())[:400]
    if any(words in message for words in ("Connection refused", "NewConnectionError", "Max retries", "timed out")):
        return DestinationError(
            name, f"{where} does not answer", "Start it, or check host and port, then run again: nothing is lost."
        )
    if "SERVER_STARTING_UP" in kind or "error 503" in message:
        return DestinationError(name, f"{where} is still starting", "Run again in a few seconds.")
    if "401" in message or "403" in message or kind == "PERMISSION_DENIED":
        return DestinationError(
            name, f"{where} refuses: {first}", "Check `user` and `password` of the destination, and its rights."
        )
    if kind in {"CATALOG_NOT_FOUND", "CATALOG_UNAVAILABLE"}:
        return DestinationError(
            name, f"{where}: {first}", "Name an Iceberg catalog of that server in `catalog:` (deploy/trino/catalog)."
        )
    return DestinationError(name, f"{first} ({where})", "Run again; `engine doctor` looks for what is wrong.")


def listed(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of SQL expressions as the body of VALUES."""
    return ", ".join(f"({', '.join(row)})" for row in rows)
