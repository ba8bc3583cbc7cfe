"""`engine status`: the lag of each partition as the brokers have it now, and a warning when runs do not catch up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from engine.config.load import load_project
from engine.status import status
from tests.kafka import brokers
from tests.kafka.topic_project import TOPIC, TopicProject, orders
from tests.kafka.topics import produce

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]


def lag(project: TopicProject) -> list[tuple[int, int, int, str]]:
    """(partition, landed, lag, warning), of the command's own answer."""
    found: dict[str, Any] = status(load_project(project.folder / "pipelines.yaml"))
    return [(one["partition"], one["landed"], one["lag"], one["warning"]) for one in found["lag"]]


def test_lag_is_that_of_each_partition_now(topic: Callable[..., str], project: TopicProject) -> None:
    bootstrap = topic(2)
    produce(bootstrap, TOPIC, orders(range(10)))
    project.on(bootstrap)
    assert lag(project) == [(0, 0, 10, ""), (1, 0, 0, "")]
    project.notices()
    assert lag(project) == [(0, 10, 0, ""), (1, 0, 0, "")]
    produce(bootstrap, TOPIC, orders(range(3), partition=1))
    assert lag(project) == [(0, 10, 0, ""), (1, 0, 3, "")]


def test_a_topic_that_grows_faster_than_it_is_read_is_a_warning(
    topic: Callable[..., str], project: TopicProject
) -> None:
    bootstrap = topic()
    project.on(bootstrap, source="max_messages: 5")
    for _ in range(3):
        produce(bootstrap, TOPIC, orders(range(20)))
        project.notices()
    ((_, _, behind, warning),) = lag(project)
    assert behind > 20
    assert warning.startswith("growing: the last runs left")


def test_a_transaction_that_hangs_is_a_lag_that_is_stuck(topic: Callable[..., str], project: TopicProject) -> None:
    bootstrap = topic()
    project.on(bootstrap)
    hanging = Producer({"bootstrap.servers": bootstrap, "transactional.id": "hangs", "transaction.timeout.ms": 600_000})
    hanging.init_transactions(30)
    hanging.begin_transaction()
    hanging.produce(TOPIC, value=b'{"id": 1}')
    hanging.flush(30)
    for _ in range(3):
        project.run("drain")
    ((_, landed, behind, warning),) = lag(project)
    assert (landed, behind) == (0, 1)
    assert warning == "stuck: the last runs left 1, 1, 1"
    hanging.abort_transaction(30)


def test_brokers_that_are_down_are_a_note(project: TopicProject) -> None:
    project.on("127.0.0.1:1", seconds=1)
    assert project.run("drain").failures
    found = status(load_project(project.folder / "pipelines.yaml"))
    assert found["lag"] == []
    assert any("lag of stream.orders is not known" in note for note in found["notes"])
