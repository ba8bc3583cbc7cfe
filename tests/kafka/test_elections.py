"""A leader that is being elected, or that has just come back, is asked again; what stays wrong is told."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.errors import SourceError
from sources.kafka import describe as described
from sources.kafka.client import ELECTING
from sources.kafka.drain import BrokersGoneError, Drain
from sources.kafka.positions import Held, Positions
from sources.kafka.settings import KafkaSource

SOURCE = KafkaSource.model_validate(
    {"type": "kafka", "brokers": "127.0.0.1:1", "timeout_seconds": 1, "resources": {"raw_news": {"topic": "news"}}}
)
HELD = described.Described("id", {0: Held(0, 1)})


class Answers:
    """Gives errors by code, then what is there."""

    def __init__(self, codes: list[int]) -> None:
        self.codes = codes
        self.asked = 0

    def __call__(self, *_: Any) -> described.Described:
        self.asked += 1
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return HELD


def test_brokers_that_elect_a_leader_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers([75, 6])
    monkeypatch.setattr(described, "_asked", answers)
    assert described.describe(SOURCE, "kafka", "news") == HELD
    assert answers.asked == 3


@pytest.mark.parametrize(("code", "most"), [(75, 20), (29, 1)])
def test_what_stays_wrong_is_told_with_the_address(code: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers([code] * 100)
    monkeypatch.setattr(described, "_asked", answers)
    with pytest.raises(SourceError, match=r"kafka (at 127.0.0.1:1|refuses)"):
        described.describe(SOURCE, "kafka", "news")
    assert 1 <= answers.asked <= most


class Event:
    """What consume() hands out in place of a message."""

    def __init__(self, code: int) -> None:
        self._code = code

    def error(self) -> KafkaError:
        return KafkaError(self._code)

    def partition(self) -> int:
        return 0


class Consumer:
    """A consumer with one event."""

    def __init__(self, code: int) -> None:
        self.events = [[Event(code)]]

    def consume(self, _count: int, _seconds: float) -> list[Event]:
        return self.events.pop() if self.events else []


@pytest.mark.parametrize("code", sorted(ELECTING))
def test_an_election_ends_no_drain(code: int) -> None:
    drain = Drain(Consumer(code), SOURCE, Positions.of({}), {0: 1})
    drain._quiet_since = time.monotonic()
    assert drain._sorted(drain.consumer.consume(1, 0), {0}) == []


def test_any_other_error_ends_it() -> None:
    drain = Drain(Consumer(29), SOURCE, Positions.of({}), {0: 1})
    with pytest.raises(BrokersGoneError):
        drain._sorted(drain.consumer.consume(1, 0), {0})
