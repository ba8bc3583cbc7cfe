"""Write the landed positions to the consumer group, so that Kafka's own tools show lag. No run ever reads them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sources.kafka.client import reader_settings
from sources.kafka.positions import Positions

if TYPE_CHECKING:
    from sources.kafka.settings import KafkaSource
    from sources.protocol import SourceContext

log = logging.getLogger(__name__)
MARK = "tickhouse "


def write_back(source: KafkaSource, topic: str, state: dict[str, Any], ctx: SourceContext) -> None:
    """Commit the positions for monitoring; say so when another deployment writes to the same group."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    positions = Positions.of(state)
    if not positions.next:
        return
    mine = f"{MARK}{ctx.deployment}"
    consumer = Consumer(reader_settings(source))
    try:
        wanted = [TopicPartition(topic, partition) for partition in positions.next]
        there = consumer.committed(wanted, timeout=source.timeout_seconds)
        others = {one.metadata for one in there if (one.metadata or "").startswith(MARK) and one.metadata != mine}
        if others:
            ctx.notice(
                f"group_shared: another deployment writes to the group {source.group!r} too: give each its own `group`",
                item=topic,
            )
        consumer.commit(
            offsets=[TopicPartition(topic, p, offset, mine) for p, offset in positions.next.items()],
            asynchronous=False,
        )
    except KafkaException as error:  # landed is landed: monitoring may lag behind
        ctx.notice(f"the group's offsets were not written: {error.args[0].str()[:120]}", item=topic)
    finally:
        consumer.close()
