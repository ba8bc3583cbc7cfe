"""Read a topic from given offsets to where it ends now, in batches bounded by messages, bytes and time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sources.kafka.client import ELECTING
from sources.kafka.positions import Mark, Positions

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from sources.kafka.message import Message
    from sources.kafka.settings import KafkaSource

BATCH = 20_000
BATCH_BYTES = 16 << 20
POLL_SECONDS = 0.2
END_OF_PARTITION = -191
GONE = {1, -139, -140}
"""OFFSET_OUT_OF_RANGE, _LOG_TRUNCATION, _AUTO_OFFSET_RESET: the position is not in the log."""
PASSING = {-195, -187, -185, -184, -193} | ELECTING
"""Brokers that cannot be reached, or that elect a leader for now: librdkafka tries again by itself."""


class LostPositionError(Exception):
    """A partition's log does not hold the offset to be read; `end` is where it parts from what was read, if known."""

    def __init__(self, partition: int, text: str, end: int | None) -> None:
        super().__init__(text)
        self.partition = partition
        self.end = end


class BrokersGoneError(Exception):
    """No broker has answered for as long as is allowed, or one has refused; the argument is librdkafka's error."""

    def __init__(self, error: KafkaError | None) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Drain:
    """One pass over an assigned consumer; `positions` move on with the batches that were handed out.

    `until` are the ends that were seen at the start: a topic that is written all the while is read up to there.
    `ended` says whether all of that was read, False when one of the source's bounds came first.
    """

    consumer: Any
    source: KafkaSource
    positions: Positions
    until: Mapping[int, int]
    messages: int = 0
    bytes: int = 0
    ended: bool = False
    _ahead: dict[int, int] = field(default_factory=dict)
    _quiet_since: float = 0.0
    _lost: LostPositionError | None = None

    def batches(self) -> Iterator[list[Message]]:
        """Yield batches of messages, none of them an event. Raises LostPositionError, BrokersGoneError.

        What was read of a log before a position in it was found lost is handed out first: perhaps it is gone by now.
        """
        began = self._quiet_since = time.monotonic()
        self._ahead = dict(self.positions.next)
        waiting = set(self.until)  # also where nothing is new: a log that lost its end says so only when it is asked
        held: list[Message] = []
        held_bytes = 0
        full = False
        while waiting and not full and self._lost is None:
            room = min(BATCH - len(held), self.source.max_messages - self.messages - len(held), self._left(waiting))
            good = self._sorted(self.consumer.consume(room, POLL_SECONDS), waiting)
            held += good
            held_bytes += sum(map(len, good))
            full = (
                self.messages + len(held) >= self.source.max_messages
                or self.bytes + held_bytes >= self.source.max_megabytes * 1_000_000
                or time.monotonic() - began >= self.source.max_seconds
            )
            if held and (full or len(held) >= BATCH or held_bytes >= BATCH_BYTES):
                yield self._handed_out(held, held_bytes)
                held, held_bytes = [], 0
                self._quiet_since = time.monotonic()  # nobody listened to the brokers meanwhile
        if held:
            yield self._handed_out(held, held_bytes)
        if self._lost is not None:
            raise self._lost
        # what ends a partition may be markers of transactions, which are no messages
        self.positions.next.update(self._ahead)
        self.ended = not waiting

    def _left(self, waiting: set[int]) -> int:
        """Count what is still to come, the news of an end among it: asked for more, the client waits for its time."""
        return sum(max(1, self.until[partition] - self._ahead[partition]) for partition in waiting)

    def _handed_out(self, held: list[Message], held_bytes: int) -> list[Message]:
        self.messages += len(held)
        self.bytes += held_bytes
        # later messages of a partition overwrite earlier ones: the last one counts
        for partition, message in {message.partition(): message for message in held}.items():
            end, epoch = message.offset() + 1, message.leader_epoch()
            self.positions.next[partition] = end
            if epoch is not None and epoch >= 0:
                self.positions.marks[partition] = Mark(end, epoch)
            else:  # an older one would tell of another leader
                self.positions.marks.pop(partition, None)
        return held

    def _sorted(self, found: list[Message], waiting: set[int]) -> list[Message]:
        """Take events out, and strike out the partitions that are read up."""
        good = [message for message in found if message.error() is None]
        # a partition's messages come in order: its last one counts
        for partition, message in {message.partition(): message for message in good}.items():
            self._ahead[partition] = end = message.offset() + 1
            if end >= self.until[partition]:
                waiting.discard(partition)
        if len(good) < len(found):
            for message in found:
                if message.error() is not None:
                    self._event(message, waiting)
        if good:
            self._quiet_since = time.monotonic()
        elif time.monotonic() - self._quiet_since > self.source.timeout_seconds:
            raise BrokersGoneError(None)
        return good

    def _event(self, message: Message, waiting: set[int]) -> None:
        error = message.error()
        code, partition = error.code(), message.partition()
        if code == END_OF_PARTITION:
            self._quiet_since = time.monotonic()
            self._ahead[partition] = max(self._ahead[partition], message.offset())
            waiting.discard(partition)
        elif code in GONE:
            self._lost = self._lost or LostPositionError(partition, error.str(), _end_of(error.str()))
        elif code not in PASSING:
            raise BrokersGoneError(error)


def _end_of(text: str) -> int | None:
    """Find the end offset that librdkafka's text about a truncated log names."""
    named = re.search(r"broker end offset is (\d+)", text)
    return int(named.group(1)) if named else None
