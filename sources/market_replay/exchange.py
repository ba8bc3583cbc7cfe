"""What passes between the server and an API: a request, and an answer whose payload is still an object.

The payload stays an object until the server writes it, so that a fault can change it and the ledger can read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sources.market_replay.market import Market

TRUTHY = {"1", "true", "yes"}


@dataclass(frozen=True, slots=True)
class Request:
    """One call: https://HOST/PATH?query as the client meant it. Header names are in lower case."""

    method: str
    host: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    shift: int = 0
    """Rows that appeared in front of a paged listing since it was first read (a fault sets it)."""
    page: int | None = None
    """The page that is served whatever page is asked (a fault sets it)."""

    def get(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def integer(self, name: str, default: int) -> int:
        """A whole-number parameter; the default where it is missing or no number."""
        text = self.get(name)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else default

    def flag(self, name: str) -> bool:
        """A boolean parameter as the APIs spell it."""
        return self.get(name).lower() in TRUTHY


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API says. `payload` is a JSON object, or the text of an HTML or plain page."""

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=utf-8"
    resource: str = ""
    """What kind of rows the payload holds (see rows.py); empty: none."""


class Api(Protocol):
    """One of the APIs that the replay speaks."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts it stands for."""
        ...

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request."""
        ...

    def failure(self, status: int, market: Market) -> Answer:
        """The body with which this API reports that status (429, 401, 500...)."""
        ...
