"""Servers that a test kills and starts again, each reached through a proxy, for some come back on another port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import targets
from tests.conformance.loopback_proxy import Proxy
from tests.conformance.targets import Target
from tests.servers.postgres_server import PostgresServer


@dataclass(slots=True)
class Killable:
    """A destination whose server can be killed. `target` is the one that runs now."""

    target: Target
    proxy: Proxy
    kill: Callable[[], None]
    start: Callable[[], Target]

    def restart(self) -> None:
        """Start the server again over what it left."""
        self.target = self.start()
        self.proxy.server = self.target.port


@contextmanager
def killable(kind: str, get: Callable[[str], Any], folder: Path) -> Iterator[Killable]:
    """Give the server of this kind. Trino is the one that all tests share; the others are the test's own."""
    with (
        {"postgres": _postgres, "timescaledb": _timescale, "trino": _trino, "snowflake": _snowflake}[kind](
            get, folder
        ) as (target, kill, start),
        Proxy(target.port) as proxy,
    ):
        yield Killable(target, proxy, kill, start)


Made = Iterator[tuple[Target, Callable[[], None], Callable[[], Target]]]


@contextmanager
def _postgres(_get: Callable[[str], Any], _folder: Path) -> Made:
    with PostgresServer() as server:

        def start() -> Target:
            server.restart()
            return targets.postgres(server.dsn())

        yield targets.postgres(server.dsn()), server.kill, start


@contextmanager
def _timescale(_get: Callable[[str], Any], folder: Path) -> Made:
    from tests.servers.timescale_server import TimescaleServer

    server = TimescaleServer(folder)

    def start() -> Target:
        server.start()
        return targets.postgres(server.dsn, timescale=True)

    try:
        yield start(), server.kill, start
    finally:
        server.kill()


@contextmanager
def _trino(get: Callable[[str], Any], folder: Path) -> Made:
    server = get("trino")
    target = targets.trino(get("trino_landing")("warehouse"), folder)

    def start() -> Target:
        server.restart()
        return target

    try:
        yield target, server.kill, start
    finally:
        if server.process.poll() is not None:
            server.restart()


@contextmanager
def _snowflake(_get: Callable[[str], Any], folder: Path) -> Made:
    """The stand-in keeps its databases in memory: started again it is a new, empty account."""
    from contextlib import ExitStack

    from tests.servers.snowflake_server import snowflake_server, snowflake_settings

    with ExitStack() as stack:
        running = stack.enter_context(ExitStack())

        def start() -> Target:
            return targets.snowflake(snowflake_settings(running.enter_context(snowflake_server()), "KILLED"), folder)

        yield start(), running.close, start


@pytest.fixture
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Killable]:
    """The server of this name, which the test may kill."""
    with killable(request.param, request.getfixturevalue, tmp_path) as made:
        yield made
