"""Pages of a topic: where each message stood, what is set aside, and the letters about it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.conform import Conformer
from engine.table import Table
from sources.kafka.dead_letters import _letter
from sources.kafka.json_format import ONE_BY_ONE, JsonFormat
from sources.kafka.page import KEPT_BYTES, pages
from sources.kafka.settings import POSITION_COLUMNS
from sources.protocol import SetAside
from tests.unit.kafka.conftest import FakeMessage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 1_000_000


def landed(batch: Sequence[FakeMessage]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and quarantine rows, as the engine makes them of a batch for a table with a bigint `id`."""
    from sources.columns import ColumnSettings, columns_of

    table = Table("raw_orders", (*columns_of({"id": ColumnSettings(type="bigint")}), *POSITION_COLUMNS))
    conformer = Conformer(table, (), source="stream", load_id="l", run_id="r")
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for page in pages("orders", batch, JsonFormat(), LIMIT):
        take = conformer.set_aside if isinstance(page, SetAside) else conformer.conform
        found = take(page, NOW)
        rows += found.rows.to_pylist()
        rejected += found.rejected.to_pylist()
    return rows, rejected


@pytest.mark.parametrize("count", [1, ONE_BY_ONE * 2])
def test_every_row_says_where_it_stood(count: int) -> None:
    batch = [
        FakeMessage(at, b'{"id": %d, "_kafka_offset": 7}' % at, part=3, named=b"\xff", heads=[("a", b"1"), ("b", None)])
        for at in range(count)
    ]
    rows, rejected = landed(batch)
    assert rejected == []
    assert [(row["id"], row["_kafka_offset"], row["_kafka_partition"]) for row in rows] == [
        (at, at, 3) for at in range(count)
    ]
    assert {(row["_kafka_topic"], row["_kafka_key"]) for row in rows} == {("orders", "/w==")}
    assert {row["_kafka_headers"] for row in rows} == {'[["a", "1"], ["b", null]]'}
    assert {row["_kafka_timestamp"] for row in rows} == {datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}
    assert {int(row["payload_kafka_offset"]) for row in rows} == {7}


def test_a_message_without_a_time_has_none() -> None:
    rows, _ = landed([FakeMessage(0, b'{"id": 1}', time=(0, -1))])
    assert rows[0]["_kafka_timestamp"] is None


def headers(letter: tuple[Any, Any, list[tuple[str, Any]]] | None) -> dict[str, str]:
    assert letter is not None
    return {name: text.decode() for name, text in letter[2]}


def test_a_letter_has_the_bytes_of_a_message_that_could_not_be_read() -> None:
    _, rejected = landed([FakeMessage(5, b"{\xff", part=2, named=b"k"), FakeMessage(6, None)])
    second, first = (_letter(row) for row in rejected)  # tombstones are told first
    assert first is not None
    assert first[:2] == (b"k", b"{\xff")
    told = headers(first)
    assert (told["topic"], told["partition"], told["offset"], told["value_bytes"]) == ("orders", "2", "5", "2")
    assert told["reason"].startswith("not UTF-8")
    assert second is not None
    assert second[:2] == (None, None)
    assert headers(second)["reason"].startswith("tombstone")


def test_a_letter_of_a_long_value_has_its_beginning_and_says_how_long_it_was() -> None:
    _, rejected = landed([FakeMessage(5, b"x" * (LIMIT + 1))])
    letter = _letter(rejected[0])
    assert letter is not None
    assert letter[1] == b"x" * KEPT_BYTES
    assert headers(letter)["value_bytes"] == str(LIMIT + 1)
    assert len(base64.b64decode(json.loads(rejected[0]["row"])["_kafka_value_base64"])) == KEPT_BYTES


@pytest.mark.parametrize("name", ["cut", "value_bytes", "value_base64", "_kafka_cut", "_kafka_value_bytes"])
@pytest.mark.parametrize("value", ["5", "null", '"x"'])
def test_a_payload_may_call_its_fields_as_it_likes(name: str, value: str) -> None:
    _, rejected = landed([FakeMessage(5, f'{{"id": "one", "{name}": {value}}}'.encode())])
    letter = _letter(rejected[0])
    assert letter is not None
    assert json.loads(letter[1])["id"] == "one"
    assert json.loads(value) in json.loads(letter[1]).values()
    assert "value_bytes" not in headers(letter)


def test_a_number_beyond_all_measure_is_set_aside() -> None:
    rows, rejected = landed([FakeMessage(5, b'{"id": 1e9999999999999999999}'), FakeMessage(6, b'{"id": 2}')])
    assert [row["id"] for row in rows] == [2]
    assert "beyond all measure" in rejected[0]["reason"]


@pytest.mark.parametrize("ms", [1_700_000_000_000_000, 1_700_000_000_000_000_000])
@pytest.mark.parametrize("count", [1, ONE_BY_ONE * 2])
def test_a_time_in_another_unit_is_none(ms: int, count: int) -> None:
    rows, rejected = landed([FakeMessage(at, b'{"id": 1}', time=(1, ms)) for at in range(count)])
    assert {row["_kafka_timestamp"] for row in rows} == {None}
    assert (len(rows), rejected) == (count, [])


@pytest.mark.parametrize("count", [1, ONE_BY_ONE * 2])
def test_a_letter_of_a_value_that_does_not_fit_has_every_digit(count: int) -> None:
    value = b'{"id": "one", "price": 0.12345678901234567890123}'
    rows, rejected = landed([FakeMessage(at, value) for at in range(count)])
    assert (rows, len(rejected)) == ([], count)
    letter = _letter(rejected[-1])
    assert letter is not None
    assert b"0.12345678901234567890123" in letter[1]
    assert json.loads(letter[1]).keys() == {"id", "price"}
    assert (headers(letter)["column"], headers(letter)["offset"]) == ("id", str(count - 1))


def test_a_letter_of_a_row_that_the_quarantine_cut_still_says_where_it_stood() -> None:
    _, rejected = landed([FakeMessage(5, b'{"id": "one", "text": "%s"}' % (b"x" * 200_000), part=2)])
    letter = _letter(rejected[0])
    assert letter is not None
    assert (headers(letter)["partition"], headers(letter)["offset"]) == ("2", "5")
    assert b"xxx" in letter[1]


def test_no_letter_of_a_row_that_landed_or_is_no_message() -> None:
    rows, rejected = landed([FakeMessage(5, b'{"id": NaN}')])
    assert ([row["id"] for row in rows], len(rejected)) == ([None], 1)
    assert _letter(rejected[0]) is None
    assert _letter({"row": '{"start": 1}', "reason": "kafka_gap: x"}) is None
