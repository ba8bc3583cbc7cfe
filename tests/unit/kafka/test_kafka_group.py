"""Writing positions back to the consumer group: a coordinator that is being moved is waited for, others are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException

from sources.kafka import group

STATE = {"partitions": {"0": {"next": 7}}}


@pytest.mark.parametrize(
    ("code", "fails", "told"),
    [
        (KafkaError.NOT_COORDINATOR, 2, False),
        (KafkaError.NOT_COORDINATOR, 99, True),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, 1, True),
    ],
)
def test_a_coordinator_that_moves_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, code: int, fails: int, *, told: bool
) -> None:
    asked, committed, notices = [], [], []

    class Broker:
        def committed(self, wanted: list[Any], **_: Any) -> list[Any]:
            asked.append(wanted)
            if len(asked) <= fails:
                raise KafkaException(KafkaError(code))
            return []

        def commit(self, *, offsets: list[Any], **_: Any) -> None:
            committed.extend(offsets)

        def close(self) -> None:
            pass

    monkeypatch.setattr(confluent_kafka, "Consumer", lambda _settings: Broker())
    monkeypatch.setattr(group, "reader_settings", lambda _source: {})
    monkeypatch.setattr(group, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(group.Positions, "of", lambda _state: SimpleNamespace(next={0: 7}))
    source: Any = SimpleNamespace(timeout_seconds=1, group="g")
    context: Any = SimpleNamespace(deployment="d", notice=lambda text, **_: notices.append(text))
    group.write_back(source, "topic", STATE, context)
    assert [one.offset for one in committed] == ([] if told else [7])
    assert bool(notices) is told
    assert len(asked) == (min(fails + 1, group.TRIES) if code == KafkaError.NOT_COORDINATOR else 1)
