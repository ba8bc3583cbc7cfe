"""The order of tombstones and of what was said before and after them, for each key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sources.kafka.page import in_turns
from sources.kafka.settings import KafkaTopic


@dataclass(frozen=True)
class Sent:
    """As much of a message as parts a batch."""

    _key: bytes | None
    _value: bytes | None

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value


def turns(*messages: tuple[bytes | None, bytes | None]) -> list[tuple[bool, list[Any]]]:
    batch: Any = [Sent(key, value) for key, value in messages]
    return [(deletions, [(each.key(), each.value()) for each in part]) for deletions, part in in_turns(batch)]


def test_a_batch_without_tombstones_stays_whole() -> None:
    batch = [(b"a", b"1"), (None, b"2"), (b"a", b"3")]
    assert turns(*batch) == [(False, batch)]
    assert turns() == []


def test_each_key_keeps_its_order_in_few_parts() -> None:
    assert turns((b"a", b"1"), (b"b", None), (b"a", None), (b"b", b"2"), (b"c", b"3"), (b"c", None), (b"b", None)) == [
        (False, [(b"a", b"1"), (b"c", b"3")]),
        (True, [(b"b", None), (b"a", None), (b"c", None)]),
        (False, [(b"b", b"2")]),
        (True, [(b"b", None)]),
    ]


def test_a_tombstone_without_a_key_deletes_nothing() -> None:
    assert turns((None, None), (None, b"1")) == [(False, [(None, None), (None, b"1")])]


def test_what_deletes_is_the_key_of_the_table() -> None:
    topic = KafkaTopic.model_validate({"primary_key": ["id"], "columns": {"id": {}}, "deletes": "id"})
    assert topic.every_column()[1].name == "is_deleted"
    refused: list[dict[str, Any]] = [
        {"primary_key": ["a", "b"]},
        {"columns": {"a": {}}},
        {"columns": {"id": {}, "is_deleted": {"type": "text"}}},
    ]
    for wrong in refused:
        with pytest.raises(ValueError, match="deletes"):
            KafkaTopic.model_validate({"deletes": "id", **wrong})
