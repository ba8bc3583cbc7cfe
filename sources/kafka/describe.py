"""What the brokers say of a topic before it is read: its id, and the offsets that each partition holds.

It is asked without regard to transactions, so that messages of one that is still open count as there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import SourceError
from sources.kafka.client import ELECTING, Admin, silent
from sources.kafka.mock import CLUSTER, MOCK, lifetime
from sources.kafka.positions import PASSING, Held, Positions

if TYPE_CHECKING:
    from sources.kafka.settings import KafkaSource

GLANCE_SECONDS = 3.0
"""How long somebody who only looks waits for brokers that do not answer."""
ELECTION_PAUSE = 0.2
UNKNOWN_TOPIC = {3, -188}
"""UNKNOWN_TOPIC_OR_PART, by the broker or by librdkafka."""


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as it is now; brokers before 2.8 give no id."""

    topic_id: str | None
    held: Mapping[int, Held]


def describe(source: KafkaSource, name: str, topic: str) -> Described:
    """Ask the brokers. Raises SourceError: they do not answer, refuse, or have no such topic."""
    from confluent_kafka import KafkaException

    admin = Admin(source, name)
    until = time.monotonic() + source.timeout_seconds
    while True:
        try:
            return _asked(admin.client, source, topic)
        except KafkaException as error:
            if error.args[0].code() not in ELECTING or time.monotonic() >= until:
                raise _refused(admin, name, topic, error.args[0]) from None
            time.sleep(ELECTION_PAUSE)
        except TimeoutError:
            raise silent(name, source) from None


def _asked(admin: Any, source: KafkaSource, topic: str) -> Described:
    from confluent_kafka import KafkaException

    listed = admin.list_topics(topic, timeout=source.timeout_seconds)
    found = listed.topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    mock = str(listed.cluster_id).startswith(CLUSTER)
    # the id comes first: of a topic that is made again right now, the offsets may be too new, never too old
    topic_id = _mock_id(source) if mock else _topic_id(admin, source, topic)
    return Described(topic_id, _held(admin, source, topic, sorted(found.partitions)))


def ends(source: KafkaSource, name: str, topic: str, state: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """Return for each partition the offset to land next and where its log ends; asked within a few seconds."""
    quick = source.model_copy(update={"timeout_seconds": min(source.timeout_seconds, GLANCE_SECONDS)})
    described, positions = describe(quick, name, topic), Positions.of(state)
    positions.settle(described.topic_id, described.held)
    return {partition: (positions.next[partition], there.high) for partition, there in described.held.items()}


def overdue(source: KafkaSource, name: str, topic: str, waiting: Mapping[int, int]) -> list[int]:
    """Return those of the partitions whose next offset, which waits for a transaction to end, is too old by now.

    Its age is what the brokers say of its timestamp. Raises SourceError.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import OffsetSpec

    admin = Admin(source, name)
    since = OffsetSpec.for_timestamp(int((time.time() - source.open_transaction_seconds) * 1000))
    try:
        newer = {
            each: found.result(source.timeout_seconds)
            for each, found in _ask(admin.client, source, topic, waiting, since)
        }
    except KafkaException as error:
        raise admin.broken(error.args[0]) from None
    except TimeoutError:
        raise silent(name, source) from None
    # no offset, -1, where no message is newer
    return sorted(each for each, found in newer.items() if found.offset < 0 or found.offset > waiting[each])


def _mock_id(source: KafkaSource) -> str | None:
    """Librdkafka's broker hangs up when it is asked for a topic's id; one in this process is as old as the process."""
    return f"{PASSING}{lifetime()}" if source.brokers == MOCK else None


def _topic_id(admin: Any, source: KafkaSource, topic: str) -> str | None:
    from confluent_kafka import TopicCollection

    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=source.timeout_seconds)
    found = asked[topic].result(timeout=source.timeout_seconds).topic_id
    named = "" if found is None else str(found)
    return named if named.strip("A=") else None  # nothing but zeros: none


def _held(admin: Any, source: KafkaSource, topic: str, partitions: list[int]) -> dict[int, Held]:
    from confluent_kafka.admin import OffsetSpec

    low = dict(_ask(admin, source, topic, partitions, OffsetSpec.earliest()))
    high = dict(_ask(admin, source, topic, partitions, OffsetSpec.latest()))
    seconds = source.timeout_seconds
    return {each: Held(low[each].result(seconds).offset, high[each].result(seconds).offset) for each in partitions}


def _ask(
    admin: Any, source: KafkaSource, topic: str, partitions: Iterable[int], spec: Any
) -> list[tuple[int, Future[Any]]]:
    from confluent_kafka import IsolationLevel, TopicPartition

    answers = admin.list_offsets(
        {TopicPartition(topic, partition): spec for partition in partitions},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=source.timeout_seconds,
    )
    return [(each.partition, answer) for each, answer in answers.items()]


def _refused(admin: Admin, name: str, topic: str, error: Any) -> SourceError:
    if error.code() not in UNKNOWN_TOPIC:
        return admin.broken(error)
    return SourceError(
        name,
        f"the brokers have no topic {topic!r}",
        f"Create it (kafka-topics --create --topic {topic}), or correct `topic` in pipelines.yaml.",
        terminal=True,
    )
