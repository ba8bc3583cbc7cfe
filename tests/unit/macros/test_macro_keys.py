"""Keys and hashes on DuckDB, and what is rendered for Snowflake and Trino, against a reference in Python."""

from __future__ import annotations

import hashlib
import string
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.macros.engines import ENGINES, Engines

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("macros"),
]
WHITE_SPACE = [chr(code) for code in (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F)]
WHITE_SPACE += [chr(code) for code in (*range(0x2000, 0x200B), 0x205F, 0x3000)]
LOOKALIKES = ["\x1c", "\x1f", "\u180e", "\u200b", "\u2060", "\ufeff", "\u0301"]
LETTERS = [
    "v",
    "f",
    "t",
    "n",
    "r",
    "x",
    "Z",
    "\\",
    "'",
    '"',
    "\u00df",
    "\u0131",
    "\u0130",
    "\u00c5",
    "\uff41",
    "\U0001f680",
]
texts = st.text(st.sampled_from([*WHITE_SPACE, *LOOKALIKES, *LETTERS]), max_size=8)
tight = st.none() | st.text(st.sampled_from("|~01nN\\"), max_size=4)
decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda whole: Decimal(whole).scaleb(-18, Context(prec=50)))
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
days = st.dates(date(1900, 1, 1), date(2200, 1, 1))
phases = (Phase.explicit, Phase.generate)  # the rows of an example are few; to shrink them takes minutes
seeded = settings(max_examples=25, derandomize=True, deadline=None, database=None, phases=phases)


def trimmed(text: str | None) -> str | None:
    return (text or "").strip("".join(WHITE_SPACE)) or None


def folded(text: str | None, what: str, by: str) -> str | None:
    found = trimmed(text)
    return found and found.translate(str.maketrans(what, by))


def written(value: Any) -> str:
    """The text of a value within a hash, written as the contract words it, not as the macro does."""
    if value is None:
        return "~n"
    if isinstance(value, str):
        return value.replace("~", "~0").replace("|", "~1")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond:06}"
    return f"{value:.18f}" if isinstance(value, Decimal) else str(value)


def hashed(*values: Any) -> str:
    return hashlib.md5("|".join(map(written, values)).encode(), usedforsecurity=False).hexdigest()


def test_the_reference_knows_the_white_space_that_unicode_knows() -> None:
    assert len(set(WHITE_SPACE)) == 25
    controls = {"\t", "\n", "\x0b", "\x0c", "\r", "\x85"}
    separators = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in {"Zs", "Zl", "Zp"}}
    assert set(WHITE_SPACE) == controls | separators


@pytest.mark.parametrize("engine", ENGINES)
@seeded
@given(values=st.lists(st.none() | texts, min_size=1, max_size=12))
def test_texts_are_trimmed_and_keys_folded(engines: Engines, engine: str, values: list[str | None]) -> None:
    rows = [{"a": value} for value in values]
    assert engines.ask(engine, "trimmed", rows) == [trimmed(value) for value in values]
    lower, upper = string.ascii_lowercase, string.ascii_uppercase
    assert engines.ask(engine, "upper", rows) == [folded(value, lower, upper) for value in values]
    assert engines.ask(engine, "lower", rows) == [folded(value, upper, lower) for value in values]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_white_space_character_is_trimmed_and_nothing_else(engines: Engines, engine: str) -> None:
    characters = [*WHITE_SPACE, *LOOKALIKES, *string.printable]
    rows = [{"a": f"{one}k{one}"} for one in characters]
    expected = ["k" if one in WHITE_SPACE else f"{one}k{one}" for one in characters]
    assert engines.ask(engine, "trimmed", rows) == expected


@pytest.mark.parametrize("engine", ENGINES)
@seeded
@given(pairs=st.lists(st.tuples(tight | texts, tight | texts), min_size=1, max_size=12))
def test_a_key_is_the_hash_of_its_parts_and_null_without_one(
    engines: Engines, engine: str, pairs: list[tuple[str | None, str | None]]
) -> None:
    rows = [{"a": one, "b": other} for one, other in pairs]
    whole = [hashed(one, other) if one is not None and other is not None else None for one, other in pairs]
    assert engines.ask(engine, "pair", rows) == whole
    single = [None if one is None else hashed(one) for one, _ in pairs]
    assert engines.ask(engine, "key", rows) == single
    assert engines.ask(engine, "bits", rows) == [key and int(key[:15], 16) for key in single]


@pytest.mark.parametrize("engine", ENGINES)
@seeded
@given(
    values=st.lists(
        st.fixed_dictionaries(
            {
                "a": tight,
                "b": tight,
                "n": st.none() | decimals,
                "t": st.none() | instants,
                "d": st.none() | days,
                "k": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.none() | st.booleans(),
            }
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_row_is_hashed_by_the_types_of_its_values(
    engines: Engines, engine: str, values: list[dict[str, Any]]
) -> None:
    assert engines.ask(engine, "row", values) == [hashed(*(row[name] for name in "abntdkf")) for row in values]


def one_a_row(rows: Sequence[tuple[Any, ...]], hashes: Sequence[Any]) -> bool:
    return len(set(rows)) == len(set(hashes))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_two_rows_of_short_texts_share_a_hash(engines: Engines, engine: str) -> None:
    parts = [None, ""]
    for _ in range(3):
        parts = [*dict.fromkeys([*parts, *(f"{part}{one}" for part in parts if part is not None for one in "|~01n")])]
    pairs = [(one, other) for one in parts for other in parts]
    assert len(pairs) > 20_000
    hashes = engines.ask(engine, "row", [{"a": one, "b": other} for one, other in pairs])
    assert one_a_row(pairs, hashes)


def test_the_three_engines_get_the_same_hash(engines: Engines) -> None:
    row = {
        "a": " |~x",
        "b": None,
        "n": Decimal("-0.5"),
        "t": datetime(2026, 3, 29, 0, 30, 0, 1, UTC),
        "d": date(2026, 3, 29),
        "k": -1,
        "f": False,
    }
    text = " ~1~0x|~n|-0.500000000000000000|2026-03-29 00:30:00.000001|2026-03-29|-1|false"
    expected = [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()]
    assert [engines.ask(engine, "row", [row]) for engine in ENGINES] == [expected] * 3
