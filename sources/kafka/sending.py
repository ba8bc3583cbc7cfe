"""Arrow tables as JSON messages: decimals and instants as text, to the last digit; every message acknowledged.

The producer is idempotent: a message that is sent again because its answer was lost stands in the topic once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from sources.kafka.client import Admin, broken, settings_of, silent
from sources.kafka.mock import CLUSTER

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from sources.kafka.settings import KafkaSource

SENDING = {"enable.idempotence": True, "acks": "all", "compression.type": "lz4", "linger.ms": 20}
QUEUED = 200_000
"""Messages that wait in the client at most."""
ROOM_SECONDS = 0.2
BROKER_SETTING = -1
"""Partitions and replicas of a topic that is made: what the brokers are set to."""


def create_topics(source: KafkaSource, name: str, topics: Sequence[str]) -> list[str]:
    """Make the topics that the brokers do not have, as they are set to make them; return those. Raises SourceError."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.cimpl import NewTopic

    asking = Admin(source, name)
    admin = asking.client
    try:
        there = admin.list_topics(timeout=source.timeout_seconds)
        missing = [topic for topic in topics if topic not in there.topics]
        if str(there.cluster_id).startswith(CLUSTER):
            for topic in missing:
                admin.list_topics(topic, timeout=source.timeout_seconds)  # the mock makes what it is asked for
            return missing
        news = [NewTopic(topic, num_partitions=BROKER_SETTING, replication_factor=BROKER_SETTING) for topic in missing]
        for made in admin.create_topics(news, operation_timeout=source.timeout_seconds).values() if news else ():
            try:
                made.result(source.timeout_seconds)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise asking.broken(error.args[0]) from None
    except TimeoutError:
        raise silent(name, source) from None
    return missing


class Sender:
    """Sends tables to topics; `acknowledged` counts messages by topic, and `told` hears of each one (topic, key)."""

    def __init__(self, source: KafkaSource, name: str, told: Callable[[str, bytes], None] | None = None) -> None:
        """Connect to the source's brokers; `name` is the source's name, for messages."""
        from confluent_kafka import Producer

        self._source = source
        self._name = name
        self._told = told
        self._refused: KafkaError | None = None
        timeout = max(int(source.timeout_seconds * 1000), 1_000)
        self._producer = Producer(
            settings_of(source)
            | SENDING
            | {"delivery.timeout.ms": timeout, "queue.buffering.max.messages": QUEUED, "socket.timeout.ms": timeout}
        )
        self.acknowledged: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Send within a `with` block: at its end all messages are acknowledged."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait for what is on its way, unless something else went wrong."""
        if kind is None:
            self.flush()
        else:
            with suppress(Exception):
                self._producer.purge()
                self._producer.flush(1)

    def send(self, topic: str, key: str, rows: pa.Table) -> None:
        """Send each row, keyed by the column `key`. Raises SourceError when a message was refused."""
        keys = rows[key].cast(pa.binary()).to_pylist()
        for name, value in zip(keys, json_rows(rows), strict=True):
            while True:
                try:
                    self._producer.produce(topic, value=value, key=name, on_delivery=self._delivered)
                except BufferError:  # full of messages on their way
                    self._producer.poll(ROOM_SECONDS)
                    self._raise()
                else:
                    break
        self._producer.poll(0)
        self._raise()

    def flush(self) -> None:
        """Wait until every message is acknowledged. Raises SourceError: one was not, in time."""
        while self._producer.flush(ROOM_SECONDS) and self._refused is None:
            pass  # each ends by itself: delivered, refused, or after its time
        self._raise()

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._refused = self._refused or error
            return
        topic = message.topic()
        self.acknowledged[topic] = self.acknowledged.get(topic, 0) + 1
        if self._told is not None:
            self._told(topic, message.key())

    def _raise(self) -> None:
        if self._refused is not None:
            raise broken(self._name, self._source, self._refused)


def json_rows(rows: pa.Table) -> list[str]:
    """Write each row as a JSON object: decimals and dates as text, instants as ISO 8601 in UTC."""
    import duckdb

    plain = pa.table({name: _plain(column) for name, column in zip(rows.column_names, rows.columns, strict=True)})
    with duckdb.connect() as connection:
        connection.register("plain", plain)
        found: Mapping[str, pa.ChunkedArray] = {
            "value": connection.sql("select to_json(plain)::varchar as value from plain").to_arrow_table()["value"]
        }
    values: list[str] = found["value"].to_pylist()
    return values


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    return column
