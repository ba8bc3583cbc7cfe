"""librdkafka's own broker, inside this process: `brokers: mock` shows topics where there is no Kafka.

It keeps messages in memory and is gone with the process; it has four partitions a topic, no consumer groups that
outlive it, and no topic ids. For demos and tests only: real brokers are named by host:port.
"""

from __future__ import annotations

import threading
import uuid
from functools import cache
from typing import Any

MOCK = "mock"
CLUSTER = "mockCluster"
"""How the mock's cluster id begins."""
SECONDS = 10.0
_starting = threading.Lock()


def address() -> str:
    """Return host:port of this process's mock; it is started when it is first asked for."""
    with _starting:
        return _broker()[1]


@cache
def lifetime() -> str:
    """Name this process's mock among all that ever were."""
    return uuid.uuid4().hex


@cache
def _broker() -> tuple[Any, str]:
    from confluent_kafka import Producer

    # it lives as long as the client that made it
    client = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = client.list_topics(timeout=SECONDS).brokers.values()
    return client, f"{broker.host}:{broker.port}"
