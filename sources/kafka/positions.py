"""Up to where a topic is landed. The positions travel in the load package, so rows and offsets are committed as one.

State of a resource: {"topic_id": str or None, "next": {"0": offset to read next}, "marks": {"0": [offset, epoch]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GAP = "kafka_gap: retention deleted them before they were read"
TRUNCATED = "kafka_truncated: the leader lost them after they were read: what it has now is read again"
PASSING = "mock-"
"""How the ids of topics begin that end with the process whose broker holds them: nobody misses those."""
RECREATED = "topic_recreated: the topic was deleted and made again: it is read from its beginning"


@dataclass(frozen=True, slots=True)
class Held:
    """What the brokers hold of one partition: offsets [low, high)."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Offsets [start, end) of a partition that will never be read, and why."""

    partition: int
    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the last message that was read ends, and how often its partition had changed the leader by then.

    With it the brokers can tell a log that lost its end, and has grown again, from the one that was read. `next` may
    be further on: what follows the last message are markers of transactions, perhaps of a later leader.
    """

    offset: int
    epoch: int


@dataclass(slots=True)
class Positions:
    """The next offset of every partition that was ever read, and the topic and leader they belong to."""

    topic_id: str | None = None
    next: dict[int, int] = field(default_factory=dict)
    marks: dict[int, Mark] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Positions:
        """Read a resource's state; empty before the first package."""
        return cls(
            state.get("topic_id"),
            {int(partition): offset for partition, offset in state.get("next", {}).items()},
            {int(partition): Mark(*mark) for partition, mark in state.get("marks", {}).items()},
        )

    def keep(self, state: dict[str, Any]) -> None:
        """Write them into the resource's state."""
        state["topic_id"] = self.topic_id
        state["next"] = {str(partition): offset for partition, offset in sorted(self.next.items())}
        state["marks"] = {str(partition): [mark.offset, mark.epoch] for partition, mark in sorted(self.marks.items())}

    def settle(self, topic_id: str | None, held: Mapping[int, Held]) -> list[Hole]:
        """Make every position one that can be read from, and return what is lost between.

        A topic that was deleted and made again is another topic, for its id differs: it is read from its beginning
        (brokers before 2.8 give no id; there it looks like a log that lost its end). A new partition is read from its
        beginning, and a position before the beginning moves there. One behind the end is cut, unless it has a mark:
        the brokers will say where the logs part.
        """
        holes: list[Hole] = []
        if self.topic_id and topic_id and self.topic_id != topic_id:
            gone = {} if self.topic_id.startswith(PASSING) else self.next
            holes += [Hole(partition, offset, offset, RECREATED) for partition, offset in sorted(gone.items())]
            self.next.clear()
            self.marks.clear()
        self.topic_id = topic_id or self.topic_id
        for partition, there in held.items():
            ours = self.next.get(partition)
            if ours is None:
                self.next[partition] = there.low
            elif ours < there.low:
                holes.append(self.skip(partition, there.low))
            elif ours > there.high and partition not in self.marks:
                holes.append(self.cut(partition, there.high))
        return holes

    def start(self, partition: int, low: int) -> tuple[int, int | None]:
        """Return where to begin, and the leader's epoch up to there where it is known: at the mark while it is held."""
        mark = self.marks.get(partition)
        return (mark.offset, mark.epoch) if mark is not None and mark.offset >= low else (self.next[partition], None)

    def skip(self, partition: int, low: int) -> Hole:
        """Go on to `low`, the first offset that is still there."""
        ours = self.next[partition]
        self.next[partition] = low
        self.marks.pop(partition, None)
        return Hole(partition, ours, low, GAP)

    def cut(self, partition: int, end: int) -> Hole:
        """Go back to `end`, where the leader's log parts from the one that was read."""
        ours = self.next[partition]
        self.next[partition] = end
        self.marks.pop(partition, None)
        return Hole(partition, end, ours, TRUNCATED)


def lag(positions: Mapping[int, int], held: Mapping[int, Held]) -> dict[int, int]:
    """Return how many offsets of each partition are still to be read."""
    return {partition: max(0, there.high - positions.get(partition, there.low)) for partition, there in held.items()}
