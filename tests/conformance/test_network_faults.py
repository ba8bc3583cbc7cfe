"""The network between Tickhouse and a server fails: refused, reset, silent, an answer lost. Over every server."""

from __future__ import annotations

import time

import pytest

from destinations import postgres_watch, trino_session
from engine.errors import DestinationError, GoneError
from engine.load import catch_up
from engine.table import Table
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.loopback_proxy import Proxy
from tests.conformance.targets import SERVERS, Target, at_commit, in_mid_load

pytestmark = [pytest.mark.faults, pytest.mark.parametrize("target", SERVERS, indirect=True)]
OTHER = Table("raw_other", PRICES.columns)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a silent server up after seconds where a run waits for a minute."""
    monkeypatch.setattr(postgres_watch, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(postgres_watch, "PROBE_SECONDS", 1.0)
    monkeypatch.setattr(trino_session, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("snowflake.connector.network.DEFAULT_SOCKET_CONNECT_TIMEOUT", 2)


def one_line(error: DestinationError) -> str:
    """A line for the user: which destination, what is wrong, what to do; no secret."""
    assert error.line.startswith("warehouse: ")
    assert "run again" in error.line.lower()
    assert "never-shown" not in error.line
    assert len(error.line) < 700
    return error.line


def test_refused_then_reset_in_mid_load_then_good(
    target: Target, proxy: Proxy, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01, D20: the other tables are not tried where the server is gone: one line is enough."""
    six_packages.land(price_rows(0, 1), OTHER)
    proxy.refuse()
    with pytest.raises(GoneError) as refused, target.opened(proxy.port):
        pass
    one_line(refused.value)
    proxy.open()
    with target.opened(proxy.port) as opened:
        opened.ensure([PRICES, OTHER])
        in_mid_load(opened, monkeypatch, lambda: proxy.reset_after(0))
        report = catch_up(opened, six_packages, [PRICES, OTHER])
    assert proxy.fired, "nothing was reset"
    [line] = report.errors
    assert line.startswith("warehouse: ")
    assert [table.table for table in report.tables] == ["raw_prices"]
    assert target.run(six_packages, [PRICES, OTHER]).errors == []
    assert target.findings(six_packages) == []


def test_a_server_that_says_nothing_more_is_given_up(
    target: Target, proxy: Proxy, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D02: every byte is taken and none is answered, in mid-load; then whoever connects meets the same."""
    with target.opened(proxy.port) as opened:
        opened.ensure([PRICES])
        in_mid_load(opened, monkeypatch, proxy.swallow)
        started = time.monotonic()
        with pytest.raises(GoneError) as raised:
            opened.load("raw_prices", six_packages.packages["raw_prices"])
    assert time.monotonic() - started < 30
    assert proxy.fired, "nothing was swallowed"
    one_line(raised.value)
    proxy.open()
    target.recovers(six_packages)


def test_a_lost_answer_to_the_commit_loses_and_doubles_nothing(
    target: Target, proxy: Proxy, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits, and nobody hears it; the next run goes on behind it."""
    with target.opened(proxy.port) as opened:
        opened.ensure([PRICES])
        at_commit(opened, monkeypatch, lambda: proxy.lose_answer(target.answer_of_commit))
        with pytest.raises(GoneError) as raised:
            opened.load("raw_prices", six_packages.packages["raw_prices"][:3])
    assert proxy.fired, "no answer was lost"
    assert "nothing is lost or doubled" in one_line(raised.value)
    deadline = time.monotonic() + 20
    while target.ask("select count(*) from landing._packages") != [(3,)]:
        assert time.monotonic() < deadline, "the server did not commit: no answer to a commit was lost"
        time.sleep(0.1)
    target.recovers(six_packages)
