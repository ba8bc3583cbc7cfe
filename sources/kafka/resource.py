"""The dlt resource of a topic: from the landed positions to the topic's end, or to the source's bounds."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dlt

from engine.errors import SourceError
from engine.table import Table
from sources.kafka.ahead import ahead
from sources.kafka.client import broken, reader, silent
from sources.kafka.describe import Described, describe, overdue
from sources.kafka.drain import BrokersGoneError, Drain, LostPositionError
from sources.kafka.page import MessageFormat, pages
from sources.kafka.positions import Held, Hole, Positions, lag
from sources.kafka.settings import KafkaSource, KafkaTopic
from sources.protocol import SetAside, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

    from sources.kafka.message import Message

log = logging.getLogger(__name__)
NOT_YET = -172
"""_STATE: the partition is not being read yet."""
SEEK_PAUSE = 0.01
LOST_AT_MOST = 1_000
"""Positions that one run finds lost, before it gives up: more than partitions that any topic has."""


def messages(source: KafkaSource, topic: str, settings: KafkaTopic, table: Table, ctx: SourceContext) -> DltResource:
    """Build the resource: pages are Arrow batches, lists of dicts, and what is set aside."""

    def extract() -> Iterator[Any]:
        state = dlt.current.resource_state()
        with closing(reader(source, ctx.source)) as consumer, _spared():
            reading = _Reading(consumer, source, topic, settings, ctx, Positions.of(state))
            yield from reading.pages()
        reading.positions.keep(state)

    return dlt.resource(extract, name=table.name)


@contextmanager
def _spared() -> Iterator[None]:
    """Let the garbage collector rest: a batch is so many objects that it would search all of them again and again.

    Without this a tenth of the processor's time goes there. What is read has no cycles; cycles of other sources wait.
    """
    rested = not gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not rested:  # of readings beside each other the one that was first
            gc.enable()


class _Reading:
    """One run's reading of one topic."""

    def __init__(
        self,
        consumer: Any,
        source: KafkaSource,
        topic: str,
        settings: KafkaTopic,
        ctx: SourceContext,
        positions: Positions,
    ) -> None:
        self.positions = positions
        self._consumer = consumer
        self._source = source
        self._topic = topic
        self._settings = settings
        self._ctx = ctx

    def pages(self) -> Iterator[Any]:
        """Yield what the topic has from the positions on, and move them."""
        described = self._described()
        held = described.held
        holes = self.positions.settle(described.topic_id, held)
        if holes:
            yield self._told(holes)
        values = self._format()
        for _ in range(LOST_AT_MOST):
            drain = self._assigned(held)
            try:
                for parsed in ahead(drain.batches(), partial(self._parsed, values)):
                    yield from parsed
            except LostPositionError as error:
                holes = self._lost(error)
                if holes:
                    yield self._told(holes)
            except BrokersGoneError as error:
                raise self._gone(error) from None
            else:
                break
        self._report(held, ended=drain.ended)

    def _parsed(self, values: MessageFormat, batch: Sequence[Message]) -> list[Any]:
        most = self._settings.max_message_kb * 1024
        return list(pages(self._topic, batch, values, most, self._settings.deletes))

    def _described(self) -> Described:
        return describe(self._source, self._ctx.source, self._topic)

    def _format(self) -> MessageFormat:
        if self._settings.format == "avro":
            from sources.kafka.avro_format import AvroFormat
            from sources.kafka.schema_registry import Registry

            return AvroFormat(Registry(self._source, self._ctx))
        from sources.kafka.json_format import JsonFormat

        return JsonFormat()

    def _assigned(self, held: Mapping[int, Held]) -> Drain:
        from confluent_kafka import KafkaException, TopicPartition

        try:  # a client that is assigned partitions whose leader it does not know yet may look for it a second later
            self._consumer.list_topics(self._topic, self._source.timeout_seconds)
        except KafkaException as error:
            raise broken(self._ctx.source, self._source, error.args[0]) from None
        starts = {partition: self.positions.start(partition, there.low) for partition, there in held.items()}
        self._consumer.assign([TopicPartition(self._topic, partition, at) for partition, (at, _) in starts.items()])
        for partition, (at, epoch) in starts.items():
            if epoch is not None:  # a client asks the brokers whether their log still is the one of this epoch
                self._seek(TopicPartition(self._topic, partition, at, leader_epoch=epoch))  # when it seeks, else never
        until = {partition: there.high for partition, there in held.items()}
        return Drain(self._consumer, self._source, self.positions, until)

    def _seek(self, position: Any) -> None:
        """Set a partition's position; the client refuses it until its own thread has taken up the assignment."""
        from confluent_kafka import KafkaException

        until = time.monotonic() + self._source.timeout_seconds
        while True:
            try:
                self._consumer.seek(position)
            except KafkaException as error:
                if error.args[0].code() != NOT_YET or time.monotonic() >= until:
                    raise broken(self._ctx.source, self._source, error.args[0]) from None
                time.sleep(SEEK_PAUSE)
            else:
                return

    def _lost(self, error: LostPositionError) -> list[Hole]:
        """Move a position that the log does not hold: forward to the log's beginning, or back to where it parts."""
        partition = error.partition
        now = self._described()
        there = now.held.get(partition)
        if there is None or (now.topic_id and now.topic_id != self.positions.topic_id):
            raise SourceError(
                self._ctx.source,
                f"the topic {self._topic!r} was made again while it was read",
                "Run again: it is read from its beginning. Of this run nothing of it was landed.",
            )
        ours, (began, _) = self.positions.next[partition], self.positions.start(partition, 0)
        log.info("%s: partition %s: %s", self._topic, partition, error)
        if ours < there.low:
            return [self.positions.skip(partition, there.low)]
        if began < there.low:  # retention has just come by the mark; between it and the position is no message
            self.positions.marks.pop(partition)
            return []
        end = there.high if error.end is None else error.end
        return [self.positions.cut(partition, max(there.low, min(end, ours)))]

    def _told(self, holes: list[Hole]) -> SetAside:
        """Say it in the summary, and keep it in the quarantine."""
        rows = []
        for hole in holes:
            where = f"partition {hole.partition}, offsets {hole.start} to {hole.end}"
            self._ctx.notice(f"{where}: {hole.why}", item=self._topic)
            row = {
                "_kafka_topic": self._topic,
                "_kafka_partition": hole.partition,
                "start": hole.start,
                "end": hole.end,
            }
            rows.append((hole.why, f"{hole.start}-{hole.end}", row))
        return SetAside(rows)

    def _report(self, held: Mapping[int, Held], *, ended: bool) -> None:
        behind = lag(self.positions.next, held)
        self._ctx.lag(behind)
        total = sum(behind.values())
        if total and not ended:
            self._ctx.notice(
                f"{total:,} messages are left for the next run (max_messages and its like)", item=self._topic
            )
        elif total:
            why = "wait for a producer's transaction to end"
            waiting = {partition: self.positions.next[partition] for partition, wait in behind.items() if wait}
            stuck = overdue(self._source, self._ctx.source, self._topic, waiting)
            alert = ""
            if stuck:
                named, limit = ", ".join(map(str, stuck)), self._source.open_transaction_seconds
                alert = f", since more than {limit:.0f} s in partition {named} (open_transaction: end its producer)"
            self._ctx.notice(f"{total:,} messages {why}{alert}", item=self._topic)

    def _gone(self, error: BrokersGoneError) -> SourceError:
        if error.error is not None:
            return broken(self._ctx.source, self._source, error.error)
        return silent(self._ctx.source, self._source)
