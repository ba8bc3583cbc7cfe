"""A replay whose clock stands still at a Wednesday noon (UTC), and a session that redirects hosts to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from sources.market_replay import MarketReplay

NOON = datetime(2026, 5, 20, 12, 34, 56, tzinfo=UTC)


class ToReplay(HTTPAdapter):
    """Sends https://HOST/PATH to REPLAY/HOST/PATH."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def send(self, request, *args, **kwargs):
        parts = urlsplit(request.url)
        if parts.hostname != "127.0.0.1":
            request = request.copy()
            query = f"?{parts.query}" if parts.query else ""
            request.url = f"{self.base_url}/{parts.netloc}{parts.path}{query}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def replay() -> Iterator[MarketReplay]:
    with MarketReplay(seed=7, now=NOON) as server:
        yield server


@pytest.fixture
def web(replay: MarketReplay) -> Iterator[requests.Session]:
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, ToReplay(replay.url))
        yield session


@pytest.fixture
def direct() -> Iterator[requests.Session]:
    """A session that goes where it is told."""
    with requests.Session() as session:
        yield session
