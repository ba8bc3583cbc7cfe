"""One statement over the lake's tables, the time series in PostgreSQL and a topic, by the names of deploy/trino."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from destinations.postgres import PostgresDestination
from destinations.trino import TrinoWarehouse
from destinations.trino_settings import TrinoSettings
from tests.conformance.landed_packages import FolderLake, price_rows
from tests.kafka.jars import require_broker
from tests.kafka.topics import create_topic
from tests.servers.trino_server import GROUP, TrinoServer

pytestmark = pytest.mark.xdist_group(GROUP)


def test_one_query_joins_the_lake_the_time_series_and_a_topic(
    trino: TrinoServer, trino_landing: Callable[[str], TrinoSettings], tmp_path: Path
) -> None:
    require_broker("kafka-4")
    assert trino.broker is not None
    packages = [FolderLake(tmp_path / "lake").land(price_rows(0, 5))]
    with TrinoWarehouse("warehouse", trino_landing("warehouse"), tmp_path, tmp_path / "data") as lake:
        lake.load("raw_prices", packages)
    with PostgresDestination("timeseries", trino.postgres.dsn("timeseries")) as series:
        series.load("raw_prices", packages)
    trino.broker.start()
    try:
        create_topic(trino.broker.bootstrap, "raw_customers")
        producer = Producer({"bootstrap.servers": trino.broker.bootstrap})
        for number in (2, 4, 9):
            producer.produce("raw_customers", json.dumps({"customer_id": f"S{number}", "country": "VN"}))
        assert producer.flush(30) == 0
        found = trino.execute(
            "SELECT p.symbol, p.price, t.trades, k.country, k._partition_offset "
            "FROM lake.landing.raw_prices AS p "
            "JOIN timeseries.landing.raw_prices AS t ON t.symbol = p.symbol AND t.price = p.price "
            "JOIN kafka.topics.raw_customers AS k ON k.customer_id = p.symbol ORDER BY p.symbol"
        )
    finally:
        trino.broker.stop()
    last = Decimal("0.000000000000000001")
    assert found == [["S2", 2 + last, 2, "VN", 0], ["S4", 4 + last, 4, "VN", 1]]
