"""JSON messages: exact to the last digit, in columns or one by one alike, and a reason where there is no row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from sources.kafka.json_format import ONE_BY_ONE, JsonFormat, row

MANY = ONE_BY_ONE * 4


def parsed(values: Sequence[bytes]) -> tuple[list[dict[str, Any] | str], bool]:
    """Every message's fields or reason, in order, and whether all came as columns."""
    found: list[dict[str, Any] | str] = []
    columns = True
    for part in JsonFormat().parse(values):
        assert part.start == len(found)
        if part.columns is not None:
            assert part.columns.num_rows == part.count
            found += part.columns.to_pylist()
        else:
            columns = False
            assert len(part.rows) == part.count
            found += part.rows
    assert len(found) == len(values)
    return found, columns


def filled(values: Sequence[bytes], filler: bytes = b'{"id": 1, "price": 1.5}') -> list[bytes]:
    """The values, spread among so many good ones that the batch is not read one by one from the start."""
    batch = [filler] * MANY
    for at, value in enumerate(values):
        batch[ONE_BY_ONE + at * 3] = value
    return batch


def at(found: list[dict[str, Any] | str], number: int) -> dict[str, Any] | str:
    return found[ONE_BY_ONE + number * 3]


def present(fields: dict[str, Any] | str) -> dict[str, Any] | str:
    return fields if isinstance(fields, str) else {name: value for name, value in fields.items() if value is not None}


def test_alike_messages_come_as_columns_with_every_digit() -> None:
    values = [b'{"id": %d, "price": %d.123456789012345678, "s": "a", "ok": true}' % (n, n) for n in range(MANY)]
    found, columns = parsed(values)
    assert columns
    assert found == [
        {"id": Decimal(n), "price": Decimal(f"{n}.123456789012345678"), "s": "a", "ok": True} for n in range(MANY)
    ]


@pytest.mark.parametrize(
    "number",
    [
        "0.1234567890123456789",  # nineteen digits
        "1e36",
        "99999999999999999999999999999999999999",
        "123456789012345678901234567890123456789.5",
        "1e-30",
        "-1e36",
        "1E400",
    ],
)
def test_a_number_beyond_the_column_is_read_exactly_one_by_one(number: str) -> None:
    found, _ = parsed(filled([b'{"id": 1, "price": %s}' % number.encode()]))
    assert at(found, 0) == {"id": 1, "price": Decimal(number)}
    assert {str(one) for one in found if one != at(found, 0)} <= {
        str({"id": Decimal("1.000000000000000000"), "price": Decimal("1.500000000000000000")}),
        str({"id": 1, "price": Decimal("1.5")}),
    }


@pytest.mark.parametrize("number", ["1e19", "10000000000000000000.000000000000000001", "1.000000000000000001"])
def test_a_number_that_fits_keeps_its_value(number: str) -> None:
    found, columns = parsed([b'{"price": %s}' % number.encode()] * MANY)
    assert columns
    assert found == [{"price": Decimal(number)}] * MANY


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (b'{"id": "007", "price": 1.5}', {"id": "007", "price": Decimal("1.5")}),
        (b'{"\\u0069d": "007"}', {"id": "007"}),
        (b'{"id": "1", "price": 1.5}', {"id": "1", "price": Decimal("1.5")}),
        (b'{"id": true}', {"id": True}),
        (b'{"id": null, "price": null}', {}),
        (b'{"id": 1, "price": {"a": [1, 2.50]}}', {"id": 1, "price": {"a": [1, Decimal("2.50")]}}),
        (b'{"price": 2, "new": "x"}', {"price": 2, "new": "x"}),
        (b'{"id": 1, "id": 2}', {"id": 2}),
        (b"{}", {}),
        (b' {"id": 7}', {"id": 7}),
        (b'{"s": "2026-01-01T00:00:00Z"}', {"s": "2026-01-01T00:00:00Z"}),
        ('{"s": "é\\u00e9\\ud83d\\ude00"}'.encode(), {"s": "éé😀"}),
    ],
)
def test_whatever_the_types_are_no_value_changes(value: bytes, fields: dict[str, Any]) -> None:
    found, _ = parsed(filled([value]))
    assert present(at(found, 0)) == fields
    assert parsed([value] * MANY)[0][-1] == fields or present(parsed([value] * MANY)[0][-1]) == fields


def test_a_column_that_begins_with_nulls_loses_nothing() -> None:
    values = [b'{"a": null, "n": %d}' % number for number in range(MANY)]
    values += [b'{"a": %d, "n": %d}' % (number, number) for number in range(MANY)]
    found, _ = parsed(values)
    assert [present(one) for one in found] == [
        *({"n": number} for number in range(MANY)),
        *({"a": number, "n": number} for number in range(MANY)),
    ]


def test_a_format_that_remembers_fields_reads_others_after_them() -> None:
    values = JsonFormat()
    for text, expected in ((b'{"a": "1"}', "1"), (b'{"a": 1}', Decimal(1)), (b'{"a": "1"}', "1")):
        (part,) = values.parse([text] * MANY)
        assert part.columns is not None
        assert part.columns.to_pylist() == [{"a": expected}] * MANY


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not JSON"),
        (b"  ", "not JSON"),
        (b"{oops", "not JSON"),
        (b'{"id": 1} {"id": 2}', "not JSON"),
        (b'{"id": 1}\n{"id": 2}', "not JSON"),
        (b'{"id": 1}{"id": 2}', "not JSON"),
        (b"[1]", "not a JSON object but list"),
        (b"null", "not a JSON object but NoneType"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b'{"id": ' * 100_000 + b"1" + b"}" * 100_000, "not JSON that can be read: nested too deeply"),
        (b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON that can be read: nested too deeply"),
        (b'{"id": ' + b"9" * 5_000 + b"}", "not JSON"),
    ],
    ids=lambda case: case[:20] if isinstance(case, str) else None,
)
def test_what_is_no_object_has_a_reason_and_costs_no_other_message(value: bytes, reason: str) -> None:
    found, _ = parsed(filled([value]))
    refused = at(found, 0)
    assert isinstance(refused, str)
    assert refused.startswith(reason)
    assert sum(isinstance(one, str) for one in found) == 1


def test_pretty_printed_messages_are_rows_also_among_blank_ones() -> None:
    pretty = b'{\n  "id": 1,\n  "price": 1.5\n}'
    found, _ = parsed([pretty, b"", pretty, b"\n"] * MANY)
    assert [isinstance(one, str) for one in found] == [False, True, False, True] * MANY
    assert found[0] == {"id": 1, "price": Decimal("1.5")}


def test_two_objects_in_one_message_and_none_in_another_do_not_make_up_for_each_other() -> None:
    found, _ = parsed(filled([b'{"id": 8}\n{"id": 9}', b"\n"]))
    assert [isinstance(at(found, number), str) for number in (0, 1)] == [True, True]
    assert {str(one.get("id")) for one in found if isinstance(one, dict)} <= {"1", "1.000000000000000000"}


@pytest.mark.parametrize("word", [b"NaN", b"-Infinity", b"Infinity"])
def test_what_is_not_a_number_is_left_to_the_rule_for_all_sources(word: bytes) -> None:
    found, _ = parsed(filled([b'{"id": 1, "price": %s}' % word]))
    assert isinstance(found[ONE_BY_ONE], dict)
    assert str(found[ONE_BY_ONE]["price"]) == str(float(word))


def test_one_message_by_itself() -> None:
    assert row(b'{"a": 1.10, "b": [1]}') == {"a": Decimal("1.10"), "b": [1]}
