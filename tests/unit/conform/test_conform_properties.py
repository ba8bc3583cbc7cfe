"""Whatever comes in: nothing is lost, nothing raises, decimals are exact, both inputs agree."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.conform import Conformer, arrow_schema
from engine.conform.names import column_name
from engine.table import Column, Table

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
DECLARED = (
    Column("price", "decimal"),
    Column("count", "bigint"),
    Column("ratio", "double"),
    Column("name", "text"),
    Column("flag", "bool"),
    Column("day", "date"),
    Column("at", "timestamp"),
    Column("local", "timestamp", timezone="America/New_York"),
    Column("ms", "timestamp", epoch="ms"),
    Column("nested", "json"),
)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    ANY_TEXT,
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.binary(max_size=4),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=5
)
FIELDS = st.one_of(st.sampled_from([column.name for column in DECLARED]), ANY_TEXT, st.just("source"))
ROWS = st.lists(st.one_of(st.dictionaries(FIELDS, VALUES, max_size=5), SCALARS), max_size=5)
NUMBERISH = st.text("0123456789.+-eE naNifIx,_", max_size=9) | st.from_regex(
    r"[+-]?[0-9]{0,24}\.?[0-9]{0,22}([eE][+-]?[0-9]{1,3})?", fullmatch=True, alphabet=st.characters(codec="ascii")
)
TIMEISH = st.one_of(
    st.text("0123456789-:TZtz+. ", max_size=24),
    st.builds(
        "{}-{:02}-{:02}{}{}:{:02}{}{}".format,
        st.sampled_from(["2024", "1899", "1900", "2200", "2201", "0001", "9999"]),
        st.integers(0, 13),
        st.integers(0, 32),
        st.sampled_from(["T", " ", "t", "  "]),
        st.sampled_from(["00", "2", "02", "23", "24"]),
        st.integers(0, 61),
        st.sampled_from(["", ":00", ":59", ":60", ":7", ":30.1", ":30.1234567", ":30,5", ":30."]),
        st.sampled_from(["", "Z", "z", "+02:00", "-0330", "+14", "+99:00", "+00:60", " Z", "+2", " UTC", "-00:00"]),
    ),
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat(" ")),
)

ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"])


def conformer(columns=DECLARED):
    return Conformer(Table("raw_any", columns), (), source="any", load_id="L1", run_id="R1")


def outcome(column, page):
    result = conformer((column,)).conform(page, NOW)
    return result.rows.column(column.name).to_pylist(), result.rejected.select(["reason", "value"]).to_pylist()


def agree(column, texts):
    from_dicts = outcome(column, [{column.name: text} for text in texts])
    from_arrow = outcome(column, pa.table({column.name: pa.array(texts, pa.string())}))
    assert from_arrow == from_dicts


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, max_size=3))
def test_every_row_is_loaded_or_set_aside(pages):
    subject = conformer()
    for page in pages:
        result = subject.conform(page, NOW)
        assert result.rows.num_rows + result.set_aside == len(page)
        assert result.set_aside + result.noted == result.rejected.num_rows
        assert result.rows.schema == arrow_schema(subject.columns)
        result.rows.validate(full=True)
        result.rejected.validate(full=True)
        for text in result.rejected.column("row").to_pylist():
            json.loads(text)
        assert len({column.name.lower() for column in subject.columns}) == len(subject.columns)


@settings(max_examples=100, deadline=None)
@example(["1E-57"])
@example(["0", "15e-400", "1e-2"])
@given(st.lists(NUMBERISH, min_size=1, max_size=6))
def test_number_texts_agree(texts):
    for column in DECLARED[:5]:
        agree(column, texts)


@settings(max_examples=150, deadline=None)
@given(st.lists(TIMEISH, min_size=1, max_size=6))
def test_time_texts_agree(texts):
    for column in DECLARED[5:9]:
        agree(column, texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=6))
def test_texts_agree_and_stay_but_for_nfc(texts):
    for column in DECLARED:
        agree(column, texts)
    result = conformer().conform([{"name": text} for text in texts], NOW)
    kept = [unicodedata.normalize("NFC", text) for text in texts if "\0" not in text]
    assert result.rows.column("name").to_pylist() == kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats() | st.none(), min_size=1, max_size=6), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers_agree(floats, integers):
    for column in (*DECLARED[:3], DECLARED[8]):
        for values, kind in ((floats, pa.float64()), (integers, pa.int64())):
            from_dicts = outcome(column, [{column.name: value} for value in values])
            from_arrow = outcome(column, pa.table({column.name: pa.array(values, kind)}))
            assert from_arrow == from_dicts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.datetimes() | st.none(), min_size=1, max_size=5), ZONES)
def test_moments_agree(moments, zone):
    aware = [moment and moment.replace(tzinfo=UTC) for moment in moments]
    column_of_zone = Column("x", "timestamp", timezone=zone)
    for column in (Column("x", "timestamp"), column_of_zone, Column("x", "date"), Column("x", "date", timezone=zone)):
        for values, kind in ((moments, pa.timestamp("us")), (aware, pa.timestamp("us", "UTC"))):
            rows, rejected = outcome(column, [{"x": value} for value in values])
            found, refused = outcome(column, pa.table({"x": pa.array(values, kind)}))
            assert (found, len(refused)) == (rows, len(rejected))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19)))
def test_decimals_round_trip_exactly(numbers):
    pages = (
        [{"price": number} for number in numbers],
        [{"price": str(number)} for number in numbers],
        pa.table({"price": pa.array([format(number, "f") for number in numbers], pa.string())}),
        pa.table({"price": pa.array(numbers, pa.decimal128(38, 18))}),
    )
    for page in pages:
        rows = conformer().conform(page, NOW).rows
        assert rows.column("price").to_pylist() == [Decimal(number) for number in numbers]


@given(ANY_TEXT)
def test_a_column_name_is_its_own_name(field):
    name = column_name(field)
    assert column_name(name) == name
    assert 0 < len(name.encode()) <= 63


@settings(max_examples=30, deadline=None)
@given(st.permutations(["1.5", "NaN", "1,5", "", None, "-0", "2e3", "0." + "1" * 19, "7"]))
def test_order_changes_no_value(values):
    result = conformer((Column("x", "decimal"),)).conform(pa.table({"x": pa.array(values, pa.string())}), NOW)
    assert sorted(map(str, result.rows.column("x").to_pylist())) == sorted(
        ["1.500000000000000000", "None", "None", "None", "0E-18", "2000.000000000000000000", "7.000000000000000000"]
    )
    assert result.set_aside == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**31), max_value=10**31)),
    st.sampled_from([pa.decimal128(38, 6), pa.decimal256(60, 6), pa.decimal256(76, 40)]),
)
def test_arrow_decimals_of_any_width_agree_with_values(numbers, kind):
    for column in DECLARED[:3]:
        rows, rejected = outcome(column, [{column.name: number} for number in numbers])
        found, refused = outcome(column, pa.table({column.name: pa.array(numbers, kind)}))
        assert (found, len(refused)) == (rows, len(rejected))
