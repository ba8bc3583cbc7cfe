"""TimescaleDB without its community part: hypertables are loaded, the rest is missing until the next run finds it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from destinations.postgres_session import PostgresSession
from destinations.timescale_edition import APACHE
from destinations.timescaledb import TimescaledbDestination
from engine.load import catch_up
from engine.table import Column, Table
from engine.timeseries import TimeSeries
from tests.conformance.landed_packages import FolderLake
from tests.conformance.test_timescale_faults import ask
from tests.servers.databases import Dsn
from tests.servers.timescale_server import TimescaleServer

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("timescale")]
DAY = timedelta(days=1)
QUOTES = Table(
    "raw_quotes",
    (Column("symbol", "text"), Column("price", "decimal"), Column("at", "timestamp")),
    primary_key=("symbol", "at"),
    timeseries=TimeSeries("at", DAY, compress_after=30 * DAY, retain=3650 * DAY, candles=("1d",)),
)
COMMUNITY = re.compile(r"alter_job|_policy\(|timescaledb\.compress|MATERIALIZED VIEW|refresh_continuous_aggregate")
KEPT = (
    "select (select count(*) from timescaledb_information.hypertables where hypertable_name = 'raw_quotes'),"
    " (select count(*) from timescaledb_information.jobs where hypertable_name = 'raw_quotes'),"
    " (select count(*) from timescaledb_information.continuous_aggregates),"
    " (select count(*) from timeseries.raw_quotes)"
)


def quotes(first: int, count: int) -> list[dict[str, object]]:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 20 * DAY
    return [{"symbol": "A", "price": Decimal(n), "at": start + n * DAY / 2} for n in range(first, first + count)]


def run(dsn: str, lake: FolderLake) -> list[str]:
    with TimescaledbDestination("timeseries", dsn) as opened:
        opened.ensure([QUOTES])
        assert catch_up(opened, lake, [QUOTES]).errors == []
        opened.publish()
        return opened.notes


def edition(dsn: str) -> str:
    """What `engine doctor` says of the extension; nothing is wrong."""
    examined = TimescaledbDestination("timeseries", dsn).examine()
    assert all(found.ok for found in examined)
    return next(found.detail for found in examined if found.what == "timescaledb")


@pytest.mark.parametrize("license_", ["apache", "timescale"])
def test_a_server_without_the_community_part(
    timescale: Dsn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, license_: str
) -> None:
    """As the Apache edition refuses it; one that was not given its community part calls its license `timescale`."""
    lake, dsn, execute = FolderLake(tmp_path / "lake"), timescale(f"edition {license_}"), PostgresSession.execute

    def apache(self: PostgresSession, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if "timescaledb.license" in statement:
            return [(license_,)]
        if COMMUNITY.search(statement):
            raise psycopg.errors.FeatureNotSupported('functionality not supported under the current "apache" license')
        return execute(self, statement, values)

    monkeypatch.setattr(PostgresSession, "execute", apache)
    for first in (0, 10):
        lake.land(quotes(first, 10), QUOTES)
        assert run(dsn, lake) == [APACHE]
        assert ask(dsn, KEPT) == [(1, 0, 0, first + 10)]
    assert edition(dsn).endswith(", the Apache edition: without compression, retention and candles")
    monkeypatch.setattr(PostgresSession, "execute", execute)
    for _ in range(2):
        assert run(dsn, lake) == []
        assert ask(dsn, KEPT) == [(1, 2, 1, 20)]
    assert "Apache" not in edition(dsn)
    monkeypatch.setattr(PostgresSession, "execute", apache)
    lake.land(quotes(20, 10), QUOTES)
    assert run(dsn, lake) == [APACHE]
    assert ask(dsn, KEPT) == [(1, 2, 1, 30)]
    monkeypatch.setattr(PostgresSession, "execute", execute)
    assert run(dsn, lake) == []
    assert ask(dsn, "select count(*) from timeseries.raw_quotes_1d") == [(15,)]


@pytest.mark.chaos
def test_a_server_that_does_not_find_its_community_part(tmp_path: Path) -> None:
    """A real one: what the stand-in has once it was started again."""
    lake, server = FolderLake(tmp_path / "lake"), TimescaleServer(tmp_path)
    try:
        server.start()
        server.kill()
        server.start()
        lake.land(quotes(0, 10), QUOTES)
        assert run(server.dsn, lake) == [APACHE]
        lake.land(quotes(10, 10), QUOTES)
        assert run(server.dsn, lake) == [APACHE]
        assert ask(server.dsn, KEPT) == [(1, 0, 0, 20)]
        assert "the Apache edition" in edition(server.dsn)
    finally:
        server.kill()
