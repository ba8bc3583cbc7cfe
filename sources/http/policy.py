"""How far a request may go: times, sizes, tries and rates. Light: settings modules import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What an API allows. `per_minute` counts weight, in the API's own unit (1 a call where it has none).

    `used_header` names the response header that tells the weight used in the last minute.
    """

    per_minute: int | None = None
    per_month: int | None = None
    used_header: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds of one request. Seconds and bytes; `budget` is for all tries of a request together, waits included."""

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    deadline: float = 60.0
    budget: float = 120.0
    tries: int = 5
    backoff: float = 1.0
    max_body: int = 64 * MIB
    max_redirects: int = 3
    redirect_hosts: tuple[str, ...] = ()
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers and query parameters that only `host` may see.

    They join a request below the session, so that no URL, response, error or log of a caller ever holds them.
    """

    host: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
