"""What tests do to topics: make, change and delete them, fill them, and read them back as any consumer would.

Every function takes the address of a broker, waits until the broker has done it, and raises KafkaException otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Received
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

SECONDS = 30.0
QUIET: Mapping[str, Any] = {"log_level": 0}
"""Nothing on standard error about a broker that a test has killed."""
MOCK_CLUSTER = "mockCluster"
MOCK_PARTITIONS = 4

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `offset` is where it was found and takes no part in comparisons: holes in it are Kafka's affair."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int = 0
    offset: int | None = field(default=None, compare=False)


def create_topic(bootstrap: str, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
    """Make a topic and wait until every partition has a leader. The mock takes four partitions and no config."""
    admin = _admin(bootstrap)
    cluster = admin.list_topics(timeout=SECONDS)
    if str(cluster.cluster_id).startswith(MOCK_CLUSTER):
        if partitions != MOCK_PARTITIONS or config:
            raise ValueError(f"a topic of the mock has {MOCK_PARTITIONS} partitions, and no config")
        admin.list_topics(topic, timeout=SECONDS)  # it makes what it is asked for
        return
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
    _done(admin.create_topics([new], operation_timeout=SECONDS))
    _settled(admin, topic, partitions)


def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic and wait until its name is free."""
    admin = _admin(bootstrap)
    _done(admin.delete_topics([topic], operation_timeout=SECONDS))
    _settled(admin, topic, 0)
    deadline = time.monotonic() + SECONDS
    while True:  # with ZooKeeper it is gone from the metadata before its name is free
        try:
            _done(admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)], validate_only=True))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Give a topic so many partitions in all, and wait until each has a leader."""
    admin = _admin(bootstrap)
    _done(admin.create_partitions([NewPartitions(topic, total)], operation_timeout=SECONDS))
    _settled(admin, topic, total)


def delete_records(bootstrap: str, topic: str, partition: int, offset: int) -> None:
    """Delete what lies before an offset, as retention would; the partition begins with that offset then."""
    admin = _admin(bootstrap)  # kept: the answers of a client that is gone never come
    _done(admin.delete_records([TopicPartition(topic, partition, offset)], operation_timeout=SECONDS))


def produce(
    bootstrap: str, topic: str, messages: Iterable[Message], config: Mapping[str, Any] | None = None
) -> list[int]:
    """Send messages in their order, acknowledged by all replicas; return their offsets."""
    settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "delivery.timeout.ms": int(SECONDS * 1000)}
    producer = Producer({"bootstrap.servers": bootstrap, **QUIET, **settings, **(config or {})})
    return send(producer, topic, messages)


def send(producer: Producer, topic: str, messages: Iterable[Message]) -> list[int]:
    """Send with a producer of the test's own, in a transaction perhaps; return the offsets, in the order sent."""
    offsets: dict[int, int] = {}
    refused: list[KafkaError] = []

    def reported(index: int, error: KafkaError | None, message: Received) -> None:
        if error is not None:
            refused.append(error)
        else:
            offsets[index] = message.offset() or 0

    sent = 0
    for index, each in enumerate(messages):
        arguments: dict[str, Any] = {"value": each.value, "key": each.key, "headers": list(each.headers)}
        arguments["on_delivery"] = lambda error, message, index=index: reported(index, error, message)
        while True:
            try:
                producer.produce(topic, partition=each.partition, **arguments)
            except BufferError:
                producer.poll(0.1)  # full: room comes with the reports
            else:
                break
        producer.poll(0)
        sent += 1
    producer.flush(SECONDS)
    if refused:
        raise KafkaException(refused[0])
    if len(offsets) < sent:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{sent - len(offsets)} messages not acknowledged"))
    return [offsets[index] for index in range(sent)]


def read(
    bootstrap: str, topic: str, isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
) -> list[Message]:
    """Everything that a plain consumer finds in a topic from its beginning to its end, by partition and offset.

    Only for a topic that nobody writes to meanwhile: it is at its end when the broker says so.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "a reader without positions",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **QUIET,
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=SECONDS).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        partitions = known.partitions
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
        found = _until_end(consumer, set(partitions))
    finally:
        consumer.close()
    return sorted(found, key=lambda message: (message.partition, message.offset or 0))


def count(bootstrap: str, topic: str) -> int:
    """How many offsets a topic has used by now, also while somebody writes to it."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "a reader without positions", **QUIET})
    try:
        partitions = consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=SECONDS) for each in partitions]
    finally:
        consumer.close()
    return sum(end for _, end in ends)


def _until_end(consumer: Consumer, open_partitions: set[int]) -> list[Message]:
    """Poll until every partition has said that it has no more."""
    found = []
    deadline = time.monotonic() + SECONDS
    while open_partitions:
        message = consumer.poll(1.0)
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"partitions {sorted(open_partitions)} did not end"))
        if message is None:
            continue
        if (error := message.error()) is None:
            found.append(_message(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            open_partitions.discard(message.partition() or 0)
        elif not error.retriable():
            raise KafkaException(error)
    return found


def _message(message: Received) -> Message:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return Message(message.key(), message.value(), tuple(headers), message.partition() or 0, message.offset())


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, **QUIET})


def _done(futures: Mapping[Any, Future[Any]]) -> None:
    for each in futures.values():
        each.result(SECONDS)


def _settled(admin: AdminClient, topic: str, partitions: int) -> None:
    """Wait until the broker's metadata shows so many partitions with a leader: they follow its answer after a while."""
    deadline = time.monotonic() + SECONDS
    while True:
        known = admin.list_topics(timeout=SECONDS).topics.get(topic)
        leaders = [each.leader for each in known.partitions.values()] if known else []
        if len(leaders) == partitions and all(leader >= 0 for leader in leaders):
            return
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic} has not {partitions} partitions yet"))
        time.sleep(0.02)
