"""The watch over a PostgreSQL connection: what it cuts, and what it leaves alone."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from destinations import postgres_watch
from destinations.postgres_session import connect
from engine.errors import GoneError
from tests.conformance.landed_packages import PRICES, FolderLake
from tests.conformance.loopback_proxy import Proxy
from tests.conformance.targets import Target, in_mid_load

pytestmark = pytest.mark.parametrize("target", ["postgres"], indirect=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_watch, "SILENT_SECONDS", 0.6)
    monkeypatch.setattr(postgres_watch, "GLANCE_SECONDS", 0.1)


@pytest.mark.faults
def test_a_connection_that_is_dead_alone_is_cut(
    target: Target, proxy: Proxy, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D02: the server answers others, and waits for us as we wait for it."""
    with target.opened(proxy.port) as opened:
        opened.ensure([PRICES])
        in_mid_load(opened, monkeypatch, lambda: proxy.swallow(newcomers=False))
        with pytest.raises(GoneError, match="was lost"):
            opened.load("raw_prices", six_packages.packages["raw_prices"])
    assert proxy.fired
    proxy.open()
    target.recovers(six_packages)


def test_a_long_statement_is_left_alone(target: Target) -> None:
    with connect(target.extra["dsn"]) as connection:
        started = time.monotonic()
        connection.execute("SELECT pg_sleep(2.5)")
        assert time.monotonic() - started >= 2.5
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_refusal_is_an_answer(target: Target) -> None:
    """The role's one connection is the statement's own: the question is refused, by a server that is alive."""
    owned = target.extra["dsn"]
    name = f"one_{conninfo_to_dict(owned)['dbname']}"
    with psycopg.connect(owned, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'never-shown' CONNECTION LIMIT 1".encode())
        dsn = make_conninfo(owned, user=name, password="never-shown")  # noqa: S106
        with connect(dsn) as connection:
            connection.execute("SELECT pg_sleep(2.5)")
            assert postgres_watch._ask(dsn, connection.info.backend_pid) == postgres_watch.NOTHING_KNOWN
            wrong = make_conninfo(owned, user=name, password="wrong")  # noqa: S106
            assert postgres_watch._ask(wrong, 0) == postgres_watch.NOTHING_KNOWN
        owner.execute(f"DROP ROLE {name}".encode())


def test_without_an_answer_there_is_none(target: Target, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens, or what listens says nothing: neither is a server that refuses."""
    monkeypatch.setattr(postgres_watch, "PROBE_SECONDS", 1.0)
    dsn = make_conninfo(target.extra["dsn"], port=str(proxy.port))
    assert postgres_watch._ask(dsn, 0) == postgres_watch.NOTHING_KNOWN
    proxy.swallow()
    assert postgres_watch._ask(dsn, 0) is None
    proxy.refuse()
    assert postgres_watch._ask(dsn, 0) is None


def test_its_thread_ends_with_the_connection(target: Target) -> None:
    import threading

    before = threading.active_count()
    connection = connect(target.extra["dsn"])
    assert threading.active_count() == before + 1
    connection.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_connection_that_ended_meanwhile_needs_no_cut(target: Target) -> None:
    connection = connect(target.extra["dsn"])
    connection.close()
    postgres_watch._cut(connection)
