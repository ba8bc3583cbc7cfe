"""Avro messages: values exact against another implementation's writer, schemas that change, and what is no message."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

pytest.importorskip("fastavro")
import fastavro

from engine.conform import Conformer
from engine.table import Table
from sources.columns import ColumnSettings, columns_of
from sources.kafka.avro_format import SOME_PARTS, AvroFormat
from sources.kafka.json_format import Parsed
from sources.kafka.schema_registry import Schema, UnusableSchemaError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Known:
    """Schemas without a registry, their ids counted from 1."""

    def __init__(self, *schemas: Any, references: Sequence[Any] = ()) -> None:
        self.schemas = schemas
        self.references = tuple(json.dumps(one) for one in references)

    def schema(self, number: int) -> Schema:
        if not 0 < number <= len(self.schemas):
            raise UnusableSchemaError("not in the registry")
        return Schema(json.dumps(self.schemas[number - 1]), self.references)


def record(fields: Mapping[str, Any], name: str = "Order") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": one, "type": of} for one, of in fields.items()]}


def wire(number: int, encoded: bytes) -> bytes:
    return b"\0" + struct.pack(">I", number) + encoded


def encoded(schema: Any, row: Any, number: int = 1) -> bytes:
    """A message as fastavro writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), row)
    return wire(number, out.getvalue())


def parts(known: Known, values: Sequence[bytes]) -> list[Parsed]:
    found = list(AvroFormat(known).parse(values))
    assert [part.start for part in found] == [sum(one.count for one in found[:at]) for at in range(len(found))]
    assert sum(part.count for part in found) == len(values)
    return found


def rows(known: Known, values: Sequence[bytes]) -> list[dict[str, Any] | str]:
    found: list[dict[str, Any] | str] = []
    for part in parts(known, values):
        found += part.rows if part.columns is None else part.columns.to_pylist()
    return found


def refused(schema: Any, *encodings: bytes) -> list[dict[str, Any] | str]:
    return rows(Known(schema), [wire(1, one) for one in encodings])


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}
FIXED = {"type": "fixed", "name": "Amount", "size": 16, "logicalType": "decimal", "precision": 30, "scale": 4}
INSTANT, MICROS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
WHEN = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
WIDE = Decimal("12345678901234567890.123456789012345678")
VALUES: Sequence[tuple[Any, Any, Any]] = [
    ("long", -(2**63), -(2**63)),
    ("long", 2**63 - 1, 2**63 - 1),
    ("int", -(2**31), -(2**31)),
    ("boolean", True, True),
    ("string", "héllo 😀", "héllo 😀"),
    ("bytes", b"\xff\x00", "/wA="),
    ("bytes", b"text", "dGV4dA=="),
    ("double", 0.1, 0.1),
    ("float", 0.5, 0.5),
    (["null", "long"], None, None),
    (["long", "null"], 7, 7),
    ({"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}, "SELL", "SELL"),
    (DECIMAL, WIDE, WIDE),
    (DECIMAL, -WIDE, -WIDE),
    (DECIMAL, Decimal("0.000000000000000001"), Decimal("0.000000000000000001")),
    (FIXED, Decimal("-99999999999999999999999999.9999"), Decimal("-99999999999999999999999999.9999")),
    (["null", DECIMAL], WIDE, WIDE),
    ({"type": "int", "logicalType": "date"}, date(1969, 12, 31), date(1969, 12, 31)),
    ({"type": "int", "logicalType": "time-millis"}, time(23, 59, 59, 999000), "23:59:59.999000"),
    ({"type": "long", "logicalType": "time-micros"}, time(0, 0, 0, 1), "00:00:00.000001"),
    (MICROS, WHEN, WHEN),
    (INSTANT, WHEN.replace(microsecond=123000), WHEN.replace(microsecond=123000)),
    (INSTANT, datetime(1931, 5, 6, tzinfo=UTC), datetime(1931, 5, 6, tzinfo=UTC)),
    (LOCAL, WHEN.replace(tzinfo=None), WHEN.replace(tzinfo=None)),
    ({"type": "string", "logicalType": "uuid"}, str(UUID(int=7)), str(UUID(int=7))),
    ({"type": "fixed", "name": "Raw", "size": 3}, b"\x00\x01\xff", "AAH/"),
]


@pytest.mark.parametrize(("kind", "sent", "expected"), VALUES)
def test_a_value_arrives_as_it_was_sent_in_a_column_and_beside_a_nested_one(
    kind: Any, sent: Any, expected: Any
) -> None:
    flat = record({"v": kind})
    (part,) = parts(Known(flat), [encoded(flat, {"v": sent})] * 3)
    assert part.columns is not None
    assert part.columns.to_pylist() == [{"v": expected}] * 3
    nested = record({"v": kind, "n": {"type": "array", "items": "long"}})
    assert rows(Known(nested), [encoded(nested, {"v": sent, "n": [1, 2]})]) == [{"v": expected, "n": [1, 2]}]


def test_nested_values_keep_every_digit_and_a_reference_is_followed() -> None:
    money = record({"amount": DECIMAL, "currency": "string"}, "shop.Money")
    order = record({"paid": "shop.Money", "by": {"type": "map", "values": ["null", "long", "string"]}}, "shop.Order")
    whole = record({"paid": money, "by": {"type": "map", "values": ["null", "long", "string"]}}, "shop.Order")
    row = {"paid": {"amount": WIDE, "currency": "EUR"}, "by": {"a": 2**62, "b": "x", "c": None}}
    assert rows(Known(order, references=[money]), [encoded(whole, row)]) == [row]


def test_a_union_of_records_is_whichever_it_is_and_what_is_no_record_is_said() -> None:
    union = [record({"a": "long"}, "A"), record({"b": "string"}, "B")]
    assert rows(Known(union), [encoded(union, {"a": 1}), encoded(union, {"b": "x"})]) == [{"a": 1}, {"b": "x"}]
    assert rows(Known("string"), [encoded("string", "x")]) == ["schema 1: no record but str"]


def test_any_row_of_any_flat_schema_comes_as_another_implementation_wrote_it() -> None:
    chance = random.Random(20)
    for _ in range(40):
        chosen = chance.sample(VALUES, chance.randint(1, 8))
        fields: dict[str, Any] = {f"f{at}": of for at, (of, _, _) in enumerate(chosen)}
        names = [str(of["name"]) for of in fields.values() if isinstance(of, dict) and "name" in of]
        if len(names) != len(set(names)):
            continue
        schema = record(fields)
        value = encoded(schema, {f"f{at}": sent for at, (_, sent, _) in enumerate(chosen)})
        assert rows(Known(schema), [value] * 2) == [{f"f{at}": one for at, (_, _, one) in enumerate(chosen)}] * 2


def test_a_float_of_four_bytes_is_the_number_that_was_sent() -> None:
    table = Table("raw", columns_of({"v": ColumnSettings(type="decimal")}))
    for fields in ({"v": "float"}, {"v": "float", "n": {"type": "array", "items": "long"}}):
        schema = record(fields)
        (part,) = parts(Known(schema), [encoded(schema, {"v": 0.1, "n": []})])
        page = list(part.rows) if part.columns is None else part.columns
        conformer = Conformer(table, (), source="s", load_id="l", run_id="r")
        assert conformer.conform(page, NOW).rows["v"].to_pylist() == [Decimal("0.100000000000000000")]


def test_local_times_follow_the_declared_zone() -> None:
    schema = record({"at": LOCAL})
    local = datetime(2026, 7, 1, 12, 0)  # noqa: DTZ001 - that is the case
    (part,) = parts(Known(schema), [encoded(schema, {"at": local})])
    columns = columns_of({"at": ColumnSettings(type="timestamp", timezone="Europe/Berlin")})
    conformed = Conformer(Table("raw", columns), (), source="s", load_id="l", run_id="r").conform(part.columns, NOW)
    assert conformed.rows["at"].to_pylist() == [datetime(2026, 7, 1, 10, 0, tzinfo=UTC)]


def test_a_decimal_that_its_schema_does_not_allow_keeps_its_digits() -> None:
    schema = record({"v": DECIMAL | {"precision": 4, "scale": 2}})
    long = (10**50 + 1).to_bytes(22, "big", signed=True)
    values = [wire(1, bytes([2 * len(one)]) + one) for one in (b"\x01", long)]
    assert rows(Known(schema), values) == [{"v": Decimal("0.01")}, {"v": Decimal(f"{10**50 + 1}E-2")}]


def test_schemas_that_grow_share_a_batch_and_messages_keep_their_order() -> None:
    one, two = record({"id": "long"}), record({"id": ["null", "long"], "note": ["null", "string"]})
    values = [encoded(two, {"id": at, "note": "x"}, 2) if at % 3 else encoded(one, {"id": at}) for at in range(100)]
    (part,) = parts(Known(one, two), values)
    assert part.columns is not None
    assert part.columns.to_pylist() == [{"id": at, "note": "x" if at % 3 else None} for at in range(100)]


def test_a_field_of_another_kind_begins_another_part_unless_they_take_turns() -> None:
    one, two = record({"id": "long"}), record({"id": "string"})
    values = [encoded(one, {"id": at}) for at in range(50)] + [encoded(two, {"id": "x"}, 2)] * 50
    assert [part.columns.schema.types for part in parts(Known(one, two), values) if part.columns] == [
        [pa.int64()],
        [pa.string()],
    ]
    turns = [encoded(two, {"id": "x"}, 2) if at % 2 else encoded(one, {"id": at}) for at in range(SOME_PARTS * 4)]
    (part,) = parts(Known(one, two), turns)
    assert list(part.rows) == [{"id": "x" if at % 2 else at} for at in range(SOME_PARTS * 4)]


def test_a_union_that_is_widened_is_read_beside_the_narrow_one() -> None:
    one, two = record({"v": ["null", "long"]}), record({"v": ["null", "long", "string"]})
    values = [encoded(one, {"v": 1}), encoded(two, {"v": "x"}, 2), encoded(two, {"v": 2}, 2), encoded(one, {"v": None})]
    assert rows(Known(one, two), values) == [{"v": 1}, {"v": "x"}, {"v": 2}, {"v": None}]


LONGS = record({"v": "long"})
NODE = record({"next": ["null", "Node"]}, "Node")
NULLS = record({"v": {"type": "array", "items": "null"}})
POISON: Sequence[tuple[Any, bytes, str]] = [
    (LONGS, b"", "it ends within a value"),
    (LONGS, b"\x80", "it ends within a value"),
    (LONGS, b"\x02\x02", "1 bytes are left over"),
    (LONGS, b"\xff" * 9 + b"\x03", "more than 64 bits"),
    (LONGS, b"\xff" * 5_000, "more than 64 bits"),
    (record({"v": "int"}), b"\x80\x80\x80\x80\x20", "more than 32 bits"),
    (record({"v": "boolean"}), b"\x02", "a boolean of 2"),
    (record({"v": "double"}), b"1234567", "it ends within a value"),
    (record({"v": "string"}), b"\x02\xff", "not UTF-8"),
    (record({"v": "string"}), b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a length of 9,223,372,036,854,775,807"),
    (record({"v": "bytes"}), b"\x01", "a length of -1"),
    (record({"v": {"type": "fixed", "name": "F", "size": 9}}), b"12345678", "9 bytes where 8 are left"),
    (record({"v": ["null", "long"]}), b"\x01\x02", "branch -1 of a union of 2"),
    (record({"v": ["null", "long"]}), b"\x04", "branch 2 of a union of 2"),
    (record({"v": {"type": "enum", "name": "E", "symbols": ["A"]}}), b"\x01", "symbol -1 of an enum of 1"),
    (record({"v": DECIMAL}), b"\x00", "a decimal of no bytes"),
    (record({"v": DECIMAL}), b"\xc8\x01" + b"\x7f" * 100, "a decimal of more than 76 digits"),
    (record({"v": {"type": "int", "logicalType": "time-millis"}}), b"\x01", "a time of day of -1"),
    (NODE, b"\x02" * 3_000_000 + b"\x00", "nested too deeply"),
    (NULLS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "items in"),
    (NULLS, b"\x04" * 400 + b"\x00", "items in"),
    (record({"v": {"type": "map", "values": "long"}}), b"\x7f\x00", "items in"),
]


@pytest.mark.parametrize(
    ("schema", "data", "reason"), POISON, ids=lambda case: case[:30] if isinstance(case, str) else ""
)
def test_what_does_not_decode_has_a_reason_and_costs_no_other_message(schema: Any, data: bytes, reason: str) -> None:
    good = encoded(LONGS, {"v": 5}, 2)
    found = rows(Known(schema, LONGS), [good, wire(1, data), good])
    assert found[0] == found[2] == {"v": 5}
    assert isinstance(found[1], str)
    assert found[1].startswith("not Avro of schema 1: ")
    assert reason in found[1]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_message_that_is_cut_off_is_never_a_row(cut: int) -> None:
    schema = record({"id": "long", "price": DECIMAL, "s": "string", "at": MICROS, "d": "double"})
    whole = encoded(schema, {"id": 300, "price": WIDE, "s": "abc", "at": WHEN, "d": 1.5})
    assert isinstance(rows(Known(schema), [whole[: len(whole) - cut]])[0], str)


@pytest.mark.parametrize("value", [b"", b'{"id": 1}', b"\0\0\0", b"\1\0\0\0\1\2"])
def test_what_is_not_in_wire_format_says_how_it_begins(value: bytes) -> None:
    (found,) = rows(Known(LONGS), [value])
    assert isinstance(found, str)
    assert found.startswith("not Avro in the registry's wire format: it begins with ")


def test_a_schema_that_is_not_there_or_none_is_a_reason() -> None:
    known = Known({"type": "record"}, record({"v": "Nowhere"}))
    found = rows(known, [wire(number, b"\x02") for number in (1, 2, 9)])
    assert [str(one).split(":")[0] for one in found] == ["schema 1", "schema 2", "schema 9"]


def test_a_schema_that_is_nested_without_end_is_a_reason() -> None:
    class Deep:
        def schema(self, _number: int) -> Schema:
            return Schema('{"type":"array","items":' * 50_000 + '"long"' + "}" * 50_000)

    (part,) = AvroFormat(Deep()).parse([wire(1, b"\x00")])
    assert "more than 100 levels" in str(part.rows[0])


def test_settings_of_an_avro_topic_import_nothing_heavy() -> None:
    code = (
        "import sys; from sources.kafka.settings import KafkaSource;"
        "KafkaSource.model_validate({'type': 'kafka', 'brokers': 'b:1', 'schema_registry': {'url': 'http://r'},"
        " 'resources': {'orders': {'format': 'avro'}}}).resources_of('stream', {});"
        "print([n for n in ('fastavro', 'requests', 'urllib3', 'confluent_kafka', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
