"""Each value of these tables goes in twice, in a page of dicts and in an Arrow column, and must come out the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from engine.conform import Conformer
from engine.conform.faults import NOT_A_NUMBER
from engine.table import Column, Table

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
SET_ASIDE = object()
NOTED = object()


def conformed(column, page):
    table = Table("raw_any", (column,))
    return Conformer(table, (), source="any", load_id="L1", run_id="R1").conform(page, NOW)


def outcome(column, page):
    """The typed value, or what became of it."""
    result = conformed(column, page)
    reasons = result.rejected.column("reason").to_pylist()
    if result.noted:
        assert reasons == [NOT_A_NUMBER]
        assert result.rows.column(column.name).to_pylist() == [None]
        return NOTED
    if result.set_aside:
        assert result.rows.num_rows == 0
        return SET_ASIDE
    return result.rows.column(column.name)[0].as_py()


def both(column, value):
    """What becomes of a value in a dict and in an Arrow column beside a value that is fine."""
    from_dict = outcome(column, [{column.name: value}])
    try:
        arrow = pa.table({column.name: pa.array([value])})
    except (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError):  # Arrow has no such value
        return [from_dict]
    return [from_dict, outcome(column, arrow)]


DECIMALS = [
    ("1.5", Decimal("1.5")),
    ("  1.5 ", Decimal("1.5")),
    ("+1.5", Decimal("1.5")),
    (".5", Decimal("0.5")),
    ("5.", Decimal(5)),
    ("1e3", Decimal(1000)),
    ("7.23E-6", Decimal("0.00000723")),
    ("-0", Decimal(0)),
    ("00000000000000000000000012.5", Decimal("12.5")),
    ("0.123456789012345678", Decimal("0.123456789012345678")),
    ("0.1234567890123456780000", Decimal("0.123456789012345678")),
    ("0.1234567890123456789", SET_ASIDE),
    ("99999999999999999999.999999999999999999", Decimal("99999999999999999999.999999999999999999")),
    ("-99999999999999999999.999999999999999999", Decimal("-99999999999999999999.999999999999999999")),
    ("100000000000000000000", SET_ASIDE),
    ("1" * 60, SET_ASIDE),
    ("1e400", SET_ASIDE),
    (Decimal("1e400"), SET_ASIDE),
    ("1e-400", SET_ASIDE),
    ("0e400", Decimal(0)),
    ("1.6268470258232582e+36", SET_ASIDE),
    (1.6268470258232582e36, SET_ASIDE),
    ("1" * 30, SET_ASIDE),
    ("0." + "0" * 17 + "1", Decimal("1E-18")),
    ("1,5", SET_ASIDE),
    ("1 000", SET_ASIDE),
    ("1_000", SET_ASIDE),
    ("0x10", SET_ASIDE),
    ("\N{FULLWIDTH DIGIT ONE}", SET_ASIDE),
    ("$1", SET_ASIDE),
    ("e5", SET_ASIDE),
    (".", SET_ASIDE),
    ("-", SET_ASIDE),
    ("", None),
    ("   ", None),
    (None, None),
    ("NaN", NOTED),
    ("-Infinity", NOTED),
    ("inf", NOTED),
    (float("nan"), NOTED),
    (float("-inf"), NOTED),
    (Decimal("NaN"), NOTED),
    (Decimal("Infinity"), NOTED),
    (0.1, Decimal("0.1")),
    (1e-7, Decimal("0.0000001")),
    (7.000000096013537e-06, Decimal("0.000007000000096013")),
    (0.0012345678901234567, Decimal("0.001234567890123456")),
    (1e-30, Decimal(0)),
    (-0.0, Decimal(0)),
    (1e300, SET_ASIDE),
    (12, Decimal(12)),
    (2**63 - 1, Decimal(2**63 - 1)),
    (2**63, Decimal(2**63)),
    (2**64, Decimal(2**64)),
    (10**20, SET_ASIDE),
    (10**5000, SET_ASIDE),
    (Decimal("1.10"), Decimal("1.10")),
    (Decimal("1E+5"), Decimal(100000)),
    (Decimal("1E-18"), Decimal("1E-18")),
    (Decimal("1E-19"), SET_ASIDE),
    (Decimal("-0"), Decimal(0)),
    (True, SET_ASIDE),
    ([1], SET_ASIDE),
    ({"a": 1}, SET_ASIDE),
    (date(2024, 1, 1), SET_ASIDE),
]
BIGINTS = [
    (5, 5),
    ("5", 5),
    (" -5 ", -5),
    ("+5", 5),
    ("5.0", 5),
    ("5e2", 500),
    (Decimal("5.0"), 5),
    (Decimal("5E+2"), 500),
    (5.0, 5),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (str(2**63 - 1), 2**63 - 1),
    (2**63, SET_ASIDE),
    (str(2**63), SET_ASIDE),
    ("5.5", SET_ASIDE),
    (5.5, SET_ASIDE),
    (1e300, SET_ASIDE),
    ("1e999999", SET_ASIDE),
    ("0.0001", SET_ASIDE),
    ("0x10", SET_ASIDE),
    ("0e9", 0),
    ("five", SET_ASIDE),
    (False, SET_ASIDE),
    ("", None),
    (float("nan"), NOTED),
    ("nan", NOTED),
]
DOUBLES = [
    (1.5, 1.5),
    ("1.5", 1.5),
    ("1e300", 1e300),
    (Decimal("0.1"), 0.1),
    (3, 3.0),
    (2**53, 2.0**53),
    (2**53 + 1, SET_ASIDE),
    ("1e400", SET_ASIDE),
    (float("inf"), NOTED),
    ("nan", NOTED),
    ("", None),
    ("x", SET_ASIDE),
    (True, SET_ASIDE),
]
BOOLS = [
    (True, True),
    ("true", True),
    ("FALSE", False),
    (" True ", True),
    ("1", True),
    (0, False),
    (1.0, True),
    (Decimal(0), False),
    ("", None),
    (2, SET_ASIDE),
    ("yes", SET_ASIDE),
    ([True], SET_ASIDE),
    (float("nan"), SET_ASIDE),
]
TEXTS = [
    ("  kept \t", "  kept \t"),
    ("", ""),
    ("cafe\u0301", "caf\u00e9"),
    ("\U0001f680", "\U0001f680"),
    ("\u202eright\u200f \x1b[31m red\r\n", "\u202eright\u200f \x1b[31m red\r\n"),
    ("=cmd|' /C calc'!A0 <script>", "=cmd|' /C calc'!A0 <script>"),
    ("BTC'); DROP TABLE x;-- {{ }} @macro $$", "BTC'); DROP TABLE x;-- {{ }} @macro $$"),
    ("a\0b", SET_ASIDE),
    ("caf\u00e9\0", SET_ASIDE),
    ("\ud800", SET_ASIDE),
    (7, "7"),
    (10**30, str(10**30)),
    (Decimal("1.50"), "1.50"),
    (1.5, "1.5"),
    (float("nan"), NOTED),
    (True, SET_ASIDE),
    ({"a": 1}, SET_ASIDE),
    (date(2024, 2, 29), "2024-02-29"),
    (b"bytes", "bytes"),
    (b"\xff", SET_ASIDE),
]
JSONS = [
    ({"b": [1, None, True], "a": Decimal("1.10")}, '{"b":[1,null,true],"a":1.10}'),
    ([], "[]"),
    ({"e": "cafe\u0301"}, '{"e":"caf\u00e9"}'),
    ('{"a": 1.10}', '{"a": 1.10}'),
    ("plain", '"plain"'),
    ("[1,", '"[1,"'),
    ("[NaN]", '"[NaN]"'),
    ("", None),
    ("5", '"5"'),
    (5, "5"),
    (True, "true"),
    ({"t": "\ud800"}, SET_ASIDE),
    ({"t": "a\0"}, SET_ASIDE),
    ('["\\u0000"]', SET_ASIDE),
    ('{"\\ud800": 1}', SET_ASIDE),
]


@pytest.mark.parametrize(
    ("data_type", "value", "expected"),
    [
        (data_type, value, expected)
        for data_type, cases in {
            "decimal": DECIMALS,
            "bigint": BIGINTS,
            "double": DOUBLES,
            "bool": BOOLS,
            "text": TEXTS,
            "json": JSONS,
        }.items()
        for value, expected in cases
    ],
    ids=lambda value: "long" if isinstance(value, int) and value > 10**100 else None,
)
def test_value_of_either_input(data_type, value, expected):
    found = both(Column("x", data_type), value)
    assert found == [expected] * len(found)


def micros(text):
    return datetime.fromisoformat(text)


PLAIN = Column("x", "timestamp")
BERLIN = Column("x", "timestamp", timezone="Europe/Berlin")
SECONDS, MILLIS, MICROS = (Column("x", "timestamp", epoch=unit) for unit in ("s", "ms", "us"))
TIMES = [
    (PLAIN, "2024-10-27T02:30:00+02:00", micros("2024-10-27T00:30:00Z")),
    (PLAIN, "2024-10-27 02:30:00+0100", micros("2024-10-27T01:30:00Z")),
    (PLAIN, "2024-10-27 02:30:00 UTC", micros("2024-10-27T02:30:00Z")),
    (PLAIN, "2024-01-01T00:00Z", micros("2024-01-01T00:00:00Z")),
    (PLAIN, "2024-01-01T00:00:00.123Z", micros("2024-01-01T00:00:00.123Z")),
    (PLAIN, "2024-01-01T12:04:59.999999999Z", micros("2024-01-01T12:04:59.999999Z")),
    (PLAIN, "2024-01-01T12:05:00.000000Z", micros("2024-01-01T12:05:00Z")),
    (PLAIN, "1969-12-31T23:59:59.999999999Z", micros("1969-12-31T23:59:59.999999Z")),
    (PLAIN, "1970-01-01T00:00:00Z", micros("1970-01-01T00:00:00Z")),
    (PLAIN, "2024-01-01T00:00:00", SET_ASIDE),
    (PLAIN, "2024-01-01", SET_ASIDE),
    (PLAIN, "2016-12-31T23:59:60Z", SET_ASIDE),
    (PLAIN, "2024-01-01T24:00:00Z", SET_ASIDE),
    (PLAIN, "2024-02-30T00:00:00Z", SET_ASIDE),
    (PLAIN, "9999-12-31T00:00:00Z", SET_ASIDE),
    (PLAIN, "10000-01-01T00:00:00Z", SET_ASIDE),
    (PLAIN, "-0001-01-01T00:00:00Z", SET_ASIDE),
    (PLAIN, "0001-01-01T00:00:00+14:00", SET_ASIDE),
    (PLAIN, "infinity", SET_ASIDE),
    (PLAIN, "", None),
    (PLAIN, 1700000000, SET_ASIDE),
    (PLAIN, True, SET_ASIDE),
    (PLAIN, "1700000000", SET_ASIDE),
    (PLAIN, datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), micros("2024-01-01T00:00:00Z")),
    (PLAIN, datetime(2024, 1, 1, 2), SET_ASIDE),  # noqa: DTZ001
    (PLAIN, date(2024, 1, 1), SET_ASIDE),
    (BERLIN, "2024-07-01T12:00:00", micros("2024-07-01T10:00:00Z")),
    (BERLIN, "2024-07-01T12:00:00Z", micros("2024-07-01T12:00:00Z")),
    (BERLIN, "2024-07-01", micros("2024-06-30T22:00:00Z")),
    (BERLIN, "2026-10-25T02:30:00", micros("2026-10-25T00:30:00Z")),
    (BERLIN, "2026-03-29T02:30:00", SET_ASIDE),
    (BERLIN, datetime(2026, 10, 25, 2, 30), micros("2026-10-25T00:30:00Z")),  # noqa: DTZ001
    (BERLIN, datetime(2026, 3, 29, 2, 30), SET_ASIDE),  # noqa: DTZ001
    (BERLIN, "2038-07-01T12:00:00", micros("2038-07-01T10:00:00Z")),
    (BERLIN, datetime(2038, 7, 1, 12), micros("2038-07-01T10:00:00Z")),  # noqa: DTZ001
    (BERLIN, date(2024, 7, 1), micros("2024-06-30T22:00:00Z")),
    (SECONDS, 1700000000, micros("2023-11-14T22:13:20Z")),
    (SECONDS, 1700000000.25, micros("2023-11-14T22:13:20.25Z")),
    (SECONDS, "1700000000", micros("2023-11-14T22:13:20Z")),
    (SECONDS, Decimal("1700000000.0000009"), micros("2023-11-14T22:13:20Z")),
    (SECONDS, 1700000000000, SET_ASIDE),
    (SECONDS, 0, SET_ASIDE),
    (SECONDS, Decimal("1e999"), SET_ASIDE),
    (SECONDS, "2023-11-14T22:13:20Z", micros("2023-11-14T22:13:20Z")),
    (MILLIS, 1700000000123, micros("2023-11-14T22:13:20.123Z")),
    (MILLIS, 1700000000, SET_ASIDE),
    (MILLIS, "1700000000", SET_ASIDE),
    (MILLIS, 4133980800000, SET_ASIDE),
    (MICROS, 1700000000000001, micros("2023-11-14T22:13:20.000001Z")),
    (MICROS, float("nan"), SET_ASIDE),
]
DAY = Column("x", "date")
DAY_IN_HANOI = Column("x", "date", timezone="Asia/Ho_Chi_Minh")
DATES = [
    (DAY, "2024-02-29", date(2024, 2, 29)),
    (DAY, "2023-02-29", SET_ASIDE),
    (DAY, "0001-01-01", date(1, 1, 1)),
    (DAY, "9999-12-31", date(9999, 12, 31)),
    (DAY, "10000-01-01", SET_ASIDE),
    (DAY, "2024-1-1", SET_ASIDE),
    (DAY, "01/02/2024", SET_ASIDE),
    (DAY, 20240101, SET_ASIDE),
    (DAY, "", None),
    (DAY, date(2024, 1, 1), date(2024, 1, 1)),
    (DAY, datetime(2024, 1, 1), date(2024, 1, 1)),  # noqa: DTZ001
    (DAY, "2024-01-01T00:00:00Z", date(2024, 1, 1)),
    (DAY, "2024-01-01T00:00:00+07:00", SET_ASIDE),
    (DAY, datetime(2024, 1, 1, 9), SET_ASIDE),  # noqa: DTZ001
    (DAY_IN_HANOI, "2024-01-01T20:00:00Z", date(2024, 1, 2)),
    (DAY_IN_HANOI, datetime(2024, 1, 1, 20, tzinfo=UTC), date(2024, 1, 2)),
    (DAY_IN_HANOI, datetime(2024, 1, 1, 20), date(2024, 1, 1)),  # noqa: DTZ001
]


@pytest.mark.parametrize(("column", "value", "expected"), [*TIMES, *DATES])
def test_time_of_either_input(column, value, expected):
    found = both(column, value)
    assert found == [expected] * len(found)


def test_a_bad_value_between_good_ones_costs_its_row_only():
    page = [{"x": "1.5"}, {"x": "1,5"}, {"x": None}, {"x": "NaN"}, {"x": "2.5"}]
    for item in (page, pa.Table.from_pylist(page)):
        result = conformed(Column("x", "decimal"), item)
        assert result.rows.column("x").to_pylist() == [Decimal("1.5"), None, None, Decimal("2.5")]
        assert result.rejected.column("value").to_pylist() == ["1,5", "NaN"]
        assert result.rejected.column("row").to_pylist() == ['{"x":"1,5"}', '{"x":"NaN"}']
        assert (result.set_aside, result.noted) == (1, 1)


def test_reasons_tell_which_limit_was_passed():
    result = conformed(Column("x", "decimal"), [{"x": "0." + "1" * 19}, {"x": "1" * 21}])
    fraction, whole = result.rejected.column("reason").to_pylist()
    assert "18 fraction digits" in fraction
    assert "20 digits before the point" in whole


def test_unstorable_text_is_escaped_and_long_text_cut_in_the_quarantine():
    result = conformed(Column("x", "text"), [{"x": "a\0\ud800b"}, {"x": "\0" + "y" * 200_000}])
    values, rows = (result.rejected.column(name).to_pylist() for name in ("value", "row"))
    assert values[0] == "a\\u0000\\ud800b"
    assert rows[0] == '{"x":"a\\u0000\\ud800b"}'
    assert values[1].endswith("y... (cut at 1,000 characters)")
    assert rows[1].endswith("y... (cut at 100,000 characters)")
    assert len(rows[1]) == 100_000 + len("... (cut at 100,000 characters)")


def test_nesting_of_any_depth_is_written():
    nested: list = []
    for _ in range(20_000):
        nested = [nested]
    result = conformed(Column("x", "json"), [{"x": nested}])
    assert result.rows.column("x").to_pylist() == ["[" * 20_001 + "]" * 20_001]


def test_a_value_that_contains_itself_is_set_aside():
    loop: list = []
    loop.append(loop)
    result = conformed(Column("x", "json"), [{"x": loop}])
    assert result.set_aside == 1
    assert "contains itself" in result.rejected.column("reason")[0].as_py()
    assert result.rejected.column("row").to_pylist() == ['{"x":["..."]}']
