"""What is used of confluent_kafka's Message; its own annotations allow None wherever an event could stand for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Message(Protocol):
    """A message, or an event of a partition (`error` is set then)."""

    def __len__(self) -> int:
        """Return the bytes of key and value."""

    def error(self) -> Any:
        """Return confluent_kafka.KafkaError for an event."""

    def partition(self) -> int:
        """Return the partition's number."""

    def offset(self) -> int:
        """Return the offset in the partition."""

    def leader_epoch(self) -> int | None:
        """Return how often the partition had changed its leader; None where brokers do not say."""

    def key(self) -> bytes | None:
        """Return the key."""

    def value(self) -> bytes | None:
        """Return the value; None for a tombstone."""

    def headers(self) -> Sequence[tuple[str, bytes | str | None]] | None:
        """Return the headers, in order."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the time (0: none) and milliseconds since 1970."""
