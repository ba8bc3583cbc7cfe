"""Real brokers for the tests of topics: one of each kind for all of them, and a topic and a project for each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kafka import jars
    from tests.kafka.brokers import Broker
    from tests.kafka.topic_project import TopicProject


@pytest.fixture(scope="package")
def broker_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[jars.Kind], Broker]]:
    """Brokers that are started when they are first asked for."""
    from tests.kafka.brokers import Broker

    started: dict[jars.Kind, Broker] = {}
    with contextlib.ExitStack() as stack:

        def broker(kind: jars.Kind) -> Broker:
            if kind not in started:
                started[kind] = stack.enter_context(Broker(kind, tmp_path_factory.mktemp(kind)))
            return started[kind]

        yield broker


@pytest.fixture
def kafka(request: pytest.FixtureRequest, broker_of: Callable[[jars.Kind], Broker]) -> Broker:
    """The broker: Kafka 4, or the kind that the test is parametrised by."""
    return broker_of(getattr(request, "param", "kafka-4"))


@pytest.fixture
def topic(kafka: Broker) -> Iterator[Callable[..., str]]:
    """Make the topic; it is deleted after the test."""
    from tests.kafka.topics import create_topic, delete_topic

    made: list[str] = []

    def make(partitions: int = 1, name: str = "orders", **config: str) -> str:
        create_topic(kafka.bootstrap, name, partitions, {key.replace("_", "."): value for key, value in config.items()})
        made.append(name)
        return kafka.bootstrap

    yield make
    for name in made:
        delete_topic(kafka.bootstrap, name)


@pytest.fixture
def project(tmp_path: Path) -> TopicProject:
    from tests.kafka.topic_project import TopicProject

    return TopicProject(tmp_path / "project")
