"""Messages and a client without any broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from sources.kafka.settings import KafkaSource


@dataclass
class FakeError:
    number: int
    text: str = ""

    def code(self) -> int:
        return self.number

    def str(self) -> str:
        return self.text


@dataclass
class FakeMessage:
    """A message, or an event where `failed` is set."""

    at: int | None
    payload: bytes | None = b"{}"
    part: int = 0
    epoch: int | None = 3
    failed: FakeError | None = None
    named: bytes | None = None
    heads: Sequence[tuple[str, bytes | None]] | None = None
    time: tuple[int, int] = (1, 1_700_000_000_000)

    def __len__(self) -> int:
        return len(self.payload or b"")

    def error(self) -> FakeError | None:
        return self.failed

    def partition(self) -> int:
        return self.part

    def offset(self) -> int | None:
        return self.at

    def leader_epoch(self) -> int | None:
        return self.epoch

    def key(self) -> bytes | None:
        return self.named

    def value(self) -> bytes | None:
        return self.payload

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return self.heads

    def timestamp(self) -> tuple[int, int]:
        return self.time


class FakeConsumer:
    """Hands out what it was given, as many as are asked for at a time; then nothing."""

    def __init__(self, found: Sequence[FakeMessage]) -> None:
        self.left = list(found)

    def consume(self, count: int, _seconds: float) -> list[FakeMessage]:
        taken, self.left = self.left[:count], self.left[count:]
        return taken


@pytest.fixture
def source() -> Any:
    """Settings, changed by words."""

    def make(**words: Any) -> KafkaSource:
        block = {"type": "kafka", "brokers": "127.0.0.1:1", "resources": {"orders": {}}, "timeout_seconds": 0.05}
        return KafkaSource.model_validate(block | words)

    return make
