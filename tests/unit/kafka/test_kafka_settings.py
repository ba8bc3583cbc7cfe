"""The YAML of a topic: what is refused, and that passwords are not shown."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sources.kafka.settings import KafkaSource

SASL = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "u", "password": "secret"}


def block(topic: dict[str, Any] | None = None, **words: Any) -> dict[str, Any]:
    return {"type": "kafka", "brokers": "b:1", "resources": {"orders": topic or {}}, **words}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (block(security={"protocol": "SASL_SSL", "mechanism": "PLAIN"}), "needs mechanism, username and password"),
        (block(security={**SASL, "protocol": "SSL"}), "signs nobody in"),
        (block({"format": "avro"}), "needs schema_registry"),
        (block({"columns": {"id": {"from": "ID"}}}), "from, value and fold are not available"),
        (block({"format": "xml"}), "json"),
        (block(max_messages=0), "greater than 0"),
    ],
)
def test_a_wrong_block_says_what_is_wrong(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KafkaSource.model_validate(wrong)


def test_topic_and_table_are_named_by_the_resource_unless_they_say_otherwise() -> None:
    (resource,) = KafkaSource.model_validate(block({"topic": "shop.orders"})).resources_of("stream", {})
    assert (resource.name, resource.table.name) == ("orders", "orders")
    assert [column.name for column in resource.table.columns][:3] == [
        "_kafka_topic",
        "_kafka_partition",
        "_kafka_offset",
    ]


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(KafkaSource.model_validate(block(security=SASL)))
