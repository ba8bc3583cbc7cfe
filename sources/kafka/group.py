"""Write the landed positions to the consumer group, so that Kafka's own tools show lag. No run ever reads them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from sources.kafka.client import reader_settings
from sources.kafka.positions import Positions

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaException

    from sources.kafka.settings import KafkaSource
    from sources.protocol import SourceContext

log = logging.getLogger(__name__)
MARK = "tickhouse "
TRIES, PAUSE_SECONDS = 4, 0.5


def write_back(source: KafkaSource, topic: str, state: dict[str, Any], ctx: SourceContext) -> None:
    """Commit the positions for monitoring; say so when another deployment writes to the same group."""
    from confluent_kafka import Consumer, KafkaException

    positions = Positions.of(state)
    if not positions.next:
        return
    consumer = Consumer(reader_settings(source))
    try:
        for left in reversed(range(TRIES)):
            try:
                shared = _write(consumer, source, topic, positions, ctx.deployment)
                break
            except KafkaException as error:
                if not left or not _moves(error):
                    raise
                time.sleep(PAUSE_SECONDS)
        if shared:
            ctx.notice(
                f"group_shared: another deployment writes to the group {source.group!r} too: give each its own `group`",
                item=topic,
            )
    except KafkaException as error:  # landed is landed: monitoring may lag behind
        ctx.notice(f"the group's offsets were not written: {error.args[0].str()[:120]}", item=topic)
    finally:
        consumer.close()


def _write(consumer: Consumer, source: KafkaSource, topic: str, positions: Positions, deployment: str) -> bool:
    """Commit; return whether another deployment had written there before."""
    from confluent_kafka import TopicPartition

    mine = f"{MARK}{deployment}"
    wanted = [TopicPartition(topic, partition) for partition in positions.next]
    there = consumer.committed(wanted, timeout=source.timeout_seconds)
    others = {one.metadata for one in there if (one.metadata or "").startswith(MARK) and one.metadata != mine}
    consumer.commit(
        offsets=[TopicPartition(topic, p, offset, mine) for p, offset in positions.next.items()],
        asynchronous=False,
    )
    return bool(others)


def _moves(error: KafkaException) -> bool:
    """Whether the group's coordinator is just being found or moved: a moment later it answers."""
    from confluent_kafka import KafkaError

    moving = (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    return error.args[0].code() in moving
