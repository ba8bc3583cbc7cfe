"""Avro topics on a real broker: exact rows by schemas that change, poison told, and a registry that is away."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")
pytest.importorskip("fastavro")
import fastavro

from tests.kafka import brokers
from tests.kafka.registry import SchemaRegistry
from tests.kafka.topic_project import TABLE, TOPIC, TopicProject
from tests.kafka.topics import Message, produce, read

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]
PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}
FIRST: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "price", "type": PRICE},
        {"name": "made_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "quantity", "type": ["null", "long"]},
        {"name": "weight", "type": "double"},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
    ],
}
SECOND = FIRST | {"fields": [*FIRST["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
NESTED = FIRST | {"fields": [*FIRST["fields"], {"name": "lines", "type": {"type": "array", "items": PRICE}}]}
AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
LAST_DIGIT = Decimal("12345678901234567890.123456789012345678")


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def register(registry: SchemaRegistry, schema: Mapping[str, Any]) -> int:
    number: int = registry.schemas.register(f"{TOPIC}-value", {"schema": json.dumps(schema)})["id"]
    return number


def on(project: TopicProject, bootstrap: str, registry: SchemaRegistry, words: str = "dead_letter: ''") -> TopicProject:
    return project.on(
        bootstrap, source=f"schema_registry: {{url: '{registry.url}'}}", topic=f"format: avro, {words}", seconds=3
    )


def order(number: int, **further: Any) -> dict[str, Any]:
    row = {"id": number, "price": LAST_DIGIT, "made_at": AT, "quantity": 2**63 - 1, "weight": 0.1, "side": "SELL"}
    return row | further


def message(number: int, schema: Mapping[str, Any], row: Mapping[str, Any]) -> Message:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), row)
    return Message(str(row["id"]).encode(), b"\0" + struct.pack(">I", number) + out.getvalue())


def test_typed_values_land_to_the_last_digit(
    topic: Callable[..., str], project: TopicProject, registry: SchemaRegistry
) -> None:
    bootstrap = topic()
    number = register(registry, FIRST)
    produce(bootstrap, TOPIC, [message(number, FIRST, order(one)) for one in range(500)])
    assert on(project, bootstrap, registry).notices() == []
    assert project.landed() == [(0, one, one) for one in range(500)]
    columns = "price, made_at, quantity, weight, side, typeof(quantity), typeof(weight), typeof(made_at), _kafka_key"
    assert project.rows(f"select {columns} from landing.{TABLE} where id = 7") == [
        (LAST_DIGIT, AT, 2**63 - 1, 0.1, "SELL", "BIGINT", "DOUBLE", "TIMESTAMP WITH TIME ZONE", "7")
    ]
    assert project.rows(f"select distinct price, made_at, quantity, weight from landing.{TABLE}") == [
        (LAST_DIGIT, AT, 2**63 - 1, 0.1)
    ]
    assert registry.asked == [f"GET /schemas/ids/{number}"], "a schema is asked for once a run"
    assert project.notices() == []
    assert len(project.landed()) == 500


def test_schemas_that_change_land_in_one_table_in_order(
    topic: Callable[..., str], project: TopicProject, registry: SchemaRegistry
) -> None:
    bootstrap = topic()
    first, second, nested = (register(registry, schema) for schema in (FIRST, SECOND, NESTED))
    messages = [
        message(second, SECOND, order(one, note="new")) if one % 2 else message(first, FIRST, order(one))
        for one in range(100)
    ]
    messages += [message(nested, NESTED, order(100, quantity=None, lines=[LAST_DIGIT, Decimal("0.5")]))]
    produce(bootstrap, TOPIC, messages)
    assert on(project, bootstrap, registry).notices() == []
    assert project.landed() == [(0, one, one) for one in range(101)]
    assert project.rows(f"select note, count(*), sum(id) from landing.{TABLE} group by all order by all") == [
        ("new", 50, sum(range(1, 100, 2))),
        (None, 51, sum(range(0, 101, 2))),
    ]
    ((lines, quantity),) = project.rows(f"select lines, quantity from landing.{TABLE} where id = 100")
    assert json.loads(lines, parse_float=Decimal) == [LAST_DIGIT, Decimal("0.5")]
    assert quantity is None
    assert project.set_aside() == []


def test_poison_is_set_aside_and_sent_to_the_dead_letters(
    topic: Callable[..., str], project: TopicProject, registry: SchemaRegistry
) -> None:
    bootstrap = topic()
    topic(1, f"{TOPIC}.dead-letter")
    number = register(registry, FIRST)
    good = [message(number, FIRST, order(one)) for one in range(100)]
    whole = good[0].value or b""
    poison = {
        b"\0\0\0\x03\xe7" + whole[5:]: "schema 999: schema 999 is not in the registry",
        b'{"id": 1}': "not Avro in the registry's wire format",
        whole[:-3]: f"not Avro of schema {number}: it ends within a value",
        whole + b"\0": f"not Avro of schema {number}: 1 bytes are left over",
    }
    produce(bootstrap, TOPIC, [*good[:50], *(Message(b"bad", value) for value in poison), *good[50:]])
    assert on(project, bootstrap, registry, "max_message_kb: 64").notices() == []
    assert [row[2] for row in project.landed()] == list(range(100))
    told = {at["_kafka_offset"]: reason for reason, at in project.set_aside()}
    assert sorted(told) == [50, 51, 52, 53]
    for offset, expected in zip(sorted(told), poison.values(), strict=True):
        assert told[offset].startswith(expected)
    letters = read(bootstrap, f"{TOPIC}.dead-letter")
    assert sorted(letter.value or b"" for letter in letters) == sorted(poison)
    assert project.notices() == []
    assert len(project.set_aside()) == 4


@pytest.mark.faults
def test_a_registry_that_is_down_lands_nothing_and_once_it_is_up_everything(
    topic: Callable[..., str], project: TopicProject, registry: SchemaRegistry
) -> None:
    """F11: the registry at the start of runs, refusing connections and failing; then up again."""
    bootstrap = topic()
    number = register(registry, FIRST)
    produce(bootstrap, TOPIC, [message(number, FIRST, order(one)) for one in range(100)])
    on(project, bootstrap, registry)
    with registry.refusing():
        done = project.engine("run", "drain")
    assert done.returncode == 1
    (failed,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("FAILED:")]
    assert failed.startswith("FAILED: stream: schema registry: 127.0.0.1:")
    assert "Start the registry" in failed
    assert "Traceback" not in done.stdout + done.stderr
    with registry.failing():
        (reason,) = project.run("drain").failures
    assert "answered 503" in str(reason)
    assert project.packages(TABLE) == []
    assert project.notices() == []
    assert project.landed() == [(0, one, one) for one in range(100)]
    assert project.set_aside() == []
