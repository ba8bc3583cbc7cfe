"""Batches that are read at once because a count of their colons shows what they are: never another value than alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.kafka import json_format
from sources.kafka.json_format import ONE_BY_ONE, JsonFormat, row
from sources.kafka.json_shape import Shape, shape_of
from sources.kafka.json_texts import TextReader

TEXTS = TextReader()
"""One for all of these tests: what it costs is its making."""
GOOD = b'{"a":"x","b":"007","A":null}'
NUMBERS = b'{"a":"x","n":7,"m":-1.50}'
COUNT = ONE_BY_ONE * 2


@pytest.fixture(autouse=True, scope="module")
def every_batch() -> Iterator[None]:
    """Let a batch of any size take the way of large ones."""
    with patch.object(json_format, "MANY", 1), patch.object(json_format, "TextReader", lambda: TEXTS):
        yield


def read(values: Sequence[bytes]) -> tuple[list[Any], bool]:
    """Every message's fields that are not null, or the reason why it has none; and whether all came as columns."""
    found: list[Any] = []
    parts = list(JsonFormat().parse(values))
    for part in parts:
        found += part.rows if part.columns is None else part.columns.to_pylist()
    assert len(found) == len(values)
    return [present(one) for one in found], all(part.columns is not None for part in parts)


def present(fields: dict[str, Any] | str) -> Any:
    """Compare values by what they are: NaN too, and 1.50 as 1.5."""
    if isinstance(fields, str):
        return fields
    return {name: repr(value) if value != value else value for name, value in fields.items() if value is not None}  # noqa: PLR0124


def expected(values: Sequence[bytes]) -> list[Any]:
    return [present(row(value)) for value in values]


@pytest.mark.parametrize("good", [GOOD, NUMBERS, json.dumps({"a": 'é"\\', "b": None}).encode(), b'{"":""}'])
def test_alike_messages_come_as_columns(good: bytes) -> None:
    found, columns = read([good] * COUNT)
    assert columns
    assert found == expected([good] * COUNT)


def test_texts_do_not_see_arrows_parser_and_numbers_see_it_once() -> None:
    with patch.object(json_format, "_table", side_effect=AssertionError):
        assert read([GOOD] * COUNT)[1]
    with patch.object(json_format, "_table", wraps=json_format._table) as parser:
        assert read([NUMBERS] * COUNT)[1]
    assert parser.call_count == 1


@pytest.mark.parametrize("good", [GOOD, NUMBERS])
@pytest.mark.parametrize(
    "odd",
    [
        b'{"a":"x","b":"y","A":null,}',
        b'{"a":"x","b":"y","A":"z" , }',
        b'{"a":"x","b":"y","A":nan}',
        b'{"a":"x","b":NaN,"A":"z"}',
        b'{"a":"x","b":"y","A":nuclear}',
        b'{"a":"x","b":7,"A":"z"}',
        b'{"a":"x","b" :7,"A":"\\":\\""}',
        b'{"a":"x","b"\t:true,"A":":"}',
        b'{"a":"x","b":"y","A":"z","c":"new"}',
        b'{"a":"x","b":"y","A":"z","c":null}',
        b'{"a":"x","b":"y","b":null,"A":"z"}',
        b'{"a":"x","b":null,"b":"y","A":"z"}',
        b'{"a":"x","b":"y"}',
        b'{"a":"x","b":"\\":\\"","\\u0041":"z"}',
        b'{"a":"x","b":"\\ud800","A":"z"}',
        b'{"a":"x","b":"\\u0000","A":"z"}',
        b'{"a":"x","b":"\t","A":"z"}',
        b'{"a":"x","b":"\xff","A":"z"}',
        b'{"a":"x","b":["y"],"A":"z"}',
        b'{"a":"x","b":{"a":"y"},"A":"z"}',
        b'{"a":"x",\n"b":"y",\n"A":"z"}',
        b'{"a":"x","n":"7","m":2}',
        b'{"a":"x","n" :"007","m":2}',
        b'{"a":"x","n":"\\u0037","m":2}',
        b'{"a":"\\":\\"","n": "7","m":2}',
        b'{"a":"x","n":  "7","m":2}',
        b'{"a":"x","n":1e36,"m":0.1234567890123456789}',
        b'{"a":null,"n":"7","m":null}',
        b"null",
        b"{}",
        b'{"a":"x"}{"a":"y"}',
        b'{"a":"x","b":"y","A":"z"} {}',
        b'{"a":"x","b":"y","A":"z"}/**/',
        b'{"a":"x","b":"y","A":"z"',
        b"{'a':'x','b':'y','A':'z'}",
        b'{"a":"x","b":"y","A":"z"' + b'{"a":' * 100_000,
    ],
    ids=lambda case: repr(case[:40]),
)
def test_an_odd_message_among_others_is_what_it_is_alone(odd: bytes, good: bytes) -> None:
    values = [good] * COUNT
    values[COUNT // 3] = odd
    assert read(values)[0] == expected(values)
    assert read([odd] * COUNT)[0] == expected([odd] * COUNT)


def test_what_two_messages_lack_and_have_too_much_does_not_add_up() -> None:
    for pair in (
        (b'{"a":"x","b":"y"}', b'{"a":"x","b":"y","A":"z","c":"d"}'),
        (b'{"a":"x","b" :"y","A":"z"}', b'{"a":"x","b":"y","A":"\\":"}'),
        (b'{"a":"x","n" :"7","m":1}', b'{"a":"\\":\\"","n":7,"m":1}'),
        (b"{}", b'{"a":"x","b":"y","A":"z","c":"d","e":"f","g":"h"}'),
    ):
        values = [*[GOOD] * COUNT, *pair, *[NUMBERS] * COUNT]
        assert read(values)[0] == expected(values)
        values = [*[GOOD] * COUNT, *pair]
        assert read(values)[0] == expected(values)


PIECES = [
    b'"',
    b":",
    b",",
    b"{",
    b"}",
    b"[",
    b"\\",
    b" ",
    b"\n",
    b"7",
    b"e",
    b"n",
    b'":',
    b'":"',
    b'" :',
    b'","',
    b"nan",
    b"null",
]
PIECES += [b"true", b"-", b".", b"\\u0037", b'\\":\\"', "é".encode(), b"\xff", b"", b'"a":', b',"b":"1"', b"  "]
KEYS = st.sampled_from(["a", "b", "A", "", ":", '":"', "é", "_x", "a b"])
LEAVES = st.one_of(
    st.sampled_from(["", ":", '":"', "007", "nan", "é", "\0", '\\":', "null", "}"]), st.text(max_size=5), st.none()
)
OTHERS = st.one_of(
    st.integers(-(10**40), 10**40), st.booleans(), st.sampled_from([1.5, 0.1, 1e-18, 1e-19, 1e36, -0.0]), LEAVES
)


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Messages of the same fields, a few of them changed at random places by what JSON is made of."""
    keys = draw(st.lists(KEYS, min_size=1, max_size=4, unique=True))
    kinds = [draw(st.sampled_from([LEAVES, LEAVES, OTHERS])) for _ in keys]
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (",", " : ")]))
    ascii_only = draw(st.booleans())

    def message() -> bytes:
        fields = {key: draw(kind) for key, kind in zip(keys, kinds, strict=True)}
        return json.dumps(fields, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    some = [message() for _ in range(draw(st.integers(1, 4)))]
    values = [some[at % len(some)] for at in range(ONE_BY_ONE)]
    for _ in range(draw(st.integers(0, 3))):
        at, piece = draw(st.integers(0, len(values) - 1)), draw(st.sampled_from(PIECES))
        begin = draw(st.integers(0, len(values[at])))
        end = draw(st.integers(begin, min(begin + 3, len(values[at]))))
        values[at] = values[at][:begin] + piece + values[at][end:]
    return values


@settings(max_examples=300, deadline=None)
@given(batches())
def test_no_batch_changes_a_value(values: list[bytes]) -> None:
    found, columns = read(values)
    assert found == expected(values)
    with patch.object(json_format, "shape_of", return_value=None):  # both parses, and never DuckDB
        without, columns_without = read(values)
    assert found == without
    assert columns or not columns_without


def test_the_shape_is_counted_across_windows() -> None:
    values = [b'{"a":"%s","b": null,"c":1}' % (b"x" * (at % 97)) for at in range(20_000)]
    assert shape_of(pa.array(values, pa.binary())) == Shape(60_000, 20_000, 20_000, closed=False)
    assert shape_of(pa.array([*values, b'{"a" :"x"}'], pa.binary())) is None
    assert shape_of(pa.array([*values, b'{"a":"x"} '], pa.binary())) is None
    assert shape_of(pa.array([*values, b""], pa.binary())) is None
