"""Names, schema evolution, contracts, keys and the record's lineage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from engine.conform import Conformer, arrow_schema
from engine.conform.names import column_name, payload_name
from engine.errors import SourceError, UsageError
from engine.table import LINEAGE_COLUMNS, QUARANTINE_COLUMNS, Column, Contract, Table

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
PRICE = Column("price", "decimal")


def conformer(*columns, known=(), contract=None, key=(), source="binance"):
    table = Table("raw_any", columns, primary_key=key, contract=contract or Contract())
    return Conformer(table, known, source=source, load_id="L1", run_id="R1")


def names(result):
    lineage = {column.name for column in LINEAGE_COLUMNS}
    return [name for name in result.rows.schema.names if name not in lineage]


def types(subject):
    return {column.name: column.data_type for column in subject.columns if column not in LINEAGE_COLUMNS}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("price", "price"),
        ("Price", "price"),
        ("quoteVolume", "quote_volume"),
        ("PriceUSD", "price_usd"),
        ("HTTPServer", "http_server"),
        ("a-b", "a_b"),
        ("a b", "a_b"),
        ("a..b", "a_b"),
        ("24h", "_24h"),
        ("", "_"),
        ("%", "_"),
        ("select", "select"),
        ("cafe\u0301", "caf\u00e9"),
        ("x'); DROP TABLE y;--", "x_drop_table_y_"),
        ("\ud800", "_"),
        ("a\0b", "a_b"),
    ],
)
def test_column_name(field, name):
    assert column_name(field) == name


def test_long_names_keep_apart_within_63_bytes():
    first, second = column_name("x" * 100 + "1"), column_name("x" * 100 + "2")
    assert first != second
    assert len(first) == len(second) == 63
    assert len(column_name("\u00e9" * 100).encode()) <= 63


@pytest.mark.parametrize("field", ["load_timestamp", "_load_id", "_run_id", "_kafka_offset", "_dlt_load_id", "ctid"])
def test_a_payload_does_not_write_lineage_or_system_columns(field):
    result = conformer().conform([{field: "mine"}], NOW)
    name = payload_name(field)
    assert name.startswith("payload_")
    assert result.rows.column(name).to_pylist() == ["mine"]
    assert result.rows.column("_load_id").to_pylist() == ["L1"]
    assert result.rows.column("load_timestamp").to_pylist() == [NOW]


def test_a_lineage_column_that_another_source_declared_is_not_written_by_this_payload():
    known = (Column("_kafka_topic", "text"),)
    result = conformer(known=known).conform([{"_kafka_topic": "forged"}], NOW)
    assert result.rows.column("_kafka_topic").to_pylist() == [None]
    declared = conformer(*known).conform([{"_kafka_topic": "raw_customers"}], NOW)
    assert declared.rows.column("_kafka_topic").to_pylist() == ["raw_customers"]


def test_fields_that_become_one_column_overwrite_nothing():
    result = conformer(PRICE).conform([{"price": "1"}, {"Price": "2"}, {"price": "3", "PRICE": "4"}], NOW)
    assert result.rows.column("price").to_pylist() == [Decimal(1), Decimal(2)]
    assert result.rejected.column("reason").to_pylist() == ["the fields 'price' and 'PRICE' become one column, 'price'"]
    assert result.rejected.column("row").to_pylist() == ['{"price":"3","PRICE":"4"}']


def test_arrow_columns_that_become_one_set_every_row_aside():
    for second in ("a_b", "a-b"):
        table = pa.table([[1, 2], [3, 4]], names=["a-b", second])
        result = conformer().conform(table, NOW)
        assert (result.rows.num_rows, result.set_aside) == (0, 2)
        assert result.rejected.column("row").to_pylist()[1] == f'{{"a-b":2,"{second}":4}}'


def test_a_column_comes_goes_and_comes_back():
    subject = conformer(Column("id", "bigint"))
    first = subject.conform([{"id": 1}], NOW)
    second = subject.conform([{"id": 2, "fee": Decimal("0.1")}], NOW)
    third = subject.conform(pa.table({"id": [3]}), NOW)
    fourth = subject.conform([{"fee": "0.2", "id": 4}], NOW)
    assert names(first) == ["id"]
    assert names(second) == names(third) == names(fourth) == ["id", "fee"]
    assert third.rows.column("fee").to_pylist() == [None]
    assert fourth.rows.column("fee").to_pylist() == [Decimal("0.2")]
    assert fourth.rows.schema == arrow_schema(subject.columns)


def test_a_column_without_a_value_is_not_created_until_one_comes():
    subject = conformer(Column("id", "bigint"))
    for page in ([{"id": 1, "x": None}], pa.table({"id": [1], "x": pa.nulls(1)}), pa.table({"id": [1], "x": [None]})):
        assert names(subject.conform(page, NOW)) == ["id"]
    subject.conform([{"id": "no", "x": "only in a row that is set aside"}], NOW)
    assert "x" not in types(subject)
    subject.conform([{"id": 1, "x": True}], NOW)
    assert types(subject)["x"] == "bool"


def test_integer_then_fraction_then_text_then_object():
    subject = conformer()
    result = subject.conform([{"x": 1}, {"x": Decimal("1.5")}, {"x": "2.5"}, {"x": "two"}, {"x": {"v": 2}}], NOW)
    assert types(subject) == {"x": "decimal"}
    assert result.rows.column("x").to_pylist() == [Decimal(1), Decimal("1.5"), Decimal("2.5")]
    assert result.rejected.column("value").to_pylist() == ["two", '{"v":2}']


def test_types_of_undeclared_columns():
    subject = conformer()
    row = {"t": "x", "b": True, "i": 1, "n": 1.5, "d": Decimal(1), "o": {}, "l": [], "ts": NOW, "day": NOW.date()}
    subject.conform([row], NOW)
    assert types(subject) == {
        "t": "text", "b": "bool", "i": "decimal", "n": "decimal", "d": "decimal", "o": "json", "l": "json",
        "ts": "timestamp", "day": "date",
    }  # fmt: skip


def test_types_of_undeclared_arrow_columns():
    subject = conformer()
    columns = {
        "i": pa.array([1], pa.int16()),
        "u": pa.array([1], pa.uint64()),
        "f": pa.array([1.5], pa.float32()),
        "d": pa.array([Decimal("1.5")], pa.decimal128(9, 2)),
        "big": pa.array([Decimal("1.5")], pa.decimal256(60, 2)),
        "s": pa.array(["cafe\u0301"], pa.large_string()),
        "c": pa.array(["x"]).dictionary_encode(),
        "z": pa.array([0], pa.timestamp("ns", "Asia/Tokyo")),
        "naive": pa.array([1_000_001], pa.timestamp("us")),
        "day": pa.array([86_400_000], pa.date64()),
        "bin": pa.array([b"x"]),
        "st": pa.array([{"a": 1, "b": [Decimal("1.0")]}]),
        "du": pa.array([5], pa.duration("ns")),
        "tm": pa.array([5], pa.time64("us")),
        "ree": pa.RunEndEncodedArray.from_arrays([1], pa.array([7])),
    }
    result = subject.conform(pa.table(columns), NOW)
    assert result.set_aside == 0
    assert types(subject) == {
        "i": "bigint", "u": "bigint", "f": "double", "d": "decimal", "big": "decimal", "s": "text", "c": "text",
        "z": "timestamp", "naive": "text", "day": "date", "bin": "text", "st": "json", "du": "bigint", "tm": "text",
        "ree": "bigint",
    }  # fmt: skip
    row = result.rows.to_pylist()[0]
    assert row["s"] == "caf\u00e9"
    assert row["naive"] == "1970-01-01T00:00:01.000001"
    assert row["st"] == '{"a":1,"b":[1.0]}'
    assert row["tm"] == "00:00:00.000005"


def test_a_naive_time_is_the_same_text_from_either_input():
    moment = datetime(2024, 1, 1, 9, 0, 0, 5)  # noqa: DTZ001
    texts = [
        conformer().conform(page, NOW).rows.column("at").to_pylist()
        for page in ([{"at": moment}], pa.table({"at": [moment]}))
    ]
    assert texts == [["2024-01-01T09:00:00.000005"]] * 2


def test_more_new_columns_than_a_package_may_add_are_set_aside():
    subject = conformer(Column("id", "bigint"))
    wide = {f"c{index}": index for index in range(1_700)}
    result = subject.conform([{"id": 1, **wide}, {"id": 2, "c0": 0}], NOW)
    assert result.rows.column("id").to_pylist() == [2]
    assert "1,700 new columns" in result.rejected.column("reason")[0].as_py()
    arrow = subject.conform(pa.table({name: [value] for name, value in wide.items()}), NOW)
    assert (arrow.rows.num_rows, arrow.set_aside) == (0, 1)
    assert list(types(subject)) == ["id", "c0"]


def test_a_thousand_columns_over_many_rows_are_the_limit_of_a_package():
    subject = conformer()
    result = subject.conform([{f"c{index}": 1} for index in range(1_100)], NOW)
    assert (result.rows.num_rows, result.set_aside) == (1_000, 100)


def test_fractions_in_floats_widen_a_bigint_that_nobody_declared():
    subject = conformer(known=(Column("n", "bigint"),))
    subject.conform(pa.table({"n": [1.0, None]}), NOW)
    assert types(subject) == {"n": "bigint"}
    result = subject.conform(pa.table({"n": [1.5]}), NOW)
    assert types(subject) == {"n": "double"}
    assert result.rows.column("n").to_pylist() == [1.5]
    declared = conformer(Column("n", "bigint")).conform(pa.table({"n": [1.5]}), NOW)
    assert declared.set_aside == 1


def test_known_columns_come_first_and_keep_their_type():
    known = (Column("a", "text"), Column("n", "double"), *LINEAGE_COLUMNS)
    subject = conformer(Column("price", "decimal"), Column("n", "bigint", nullable=False), known=known)
    assert types(subject) == {"a": "text", "n": "double", "price": "decimal"}
    result = subject.conform([{"n": 1, "price": "2"}], NOW)
    assert result.rows.column("n").to_pylist() == [1.0]
    assert [column.name for column in subject.columns][-4:] == [column.name for column in LINEAGE_COLUMNS]


def test_a_declaration_against_what_is_landed_is_a_usage_error():
    with pytest.raises(UsageError, match="'price' is declared as decimal, but it was landed as text"):
        conformer(PRICE, known=(Column("price", "text"),))


def test_an_unknown_time_zone_is_a_usage_error():
    for name in ("Europe/Berlim", "../etc/passwd", ""):
        with pytest.raises(UsageError, match="unknown time zone"):
            conformer(Column("at", "timestamp", timezone=name))


PAGES = ([{"price": "1"}, {"price": "2", "new\n": 1}], pa.table({"price": ["1", "2"], "new\n": [None, 1]}))


@pytest.mark.parametrize("page", PAGES)
def test_contract_of_columns(page):
    frozen = conformer(PRICE, contract=Contract(columns="freeze"))
    with pytest.raises(SourceError) as caught:
        frozen.conform(page, NOW)
    assert "'new_'" in str(caught.value)
    assert "\n'" not in str(caught.value)
    assert "'new\\n'" in str(caught.value)

    dropping = conformer(PRICE, contract=Contract(columns="discard_value"))
    assert dropping.conform(page, NOW).rows.num_rows == 2
    assert dropping.discarded == {"new_": 1}
    assert types(dropping) == {"price": "decimal"}

    strict = conformer(PRICE, contract=Contract(columns="discard_row"))
    result = strict.conform(page, NOW)
    assert result.rows.column("price").to_pylist() == [Decimal(1)]
    assert result.rejected.column("column_name").to_pylist() == ["new_"]


def test_contract_of_types():
    subject = conformer(PRICE, contract=Contract(data_type="freeze"))
    assert subject.conform([{"price": "NaN"}], NOW).noted == 1
    with pytest.raises(SourceError, match=r"column 'price' got text that is no number .*'1,5'"):
        subject.conform([{"price": "1,5"}], NOW)
    with pytest.raises(SourceError, match="'1,5'"):
        subject.conform(pa.table({"price": ["1,5"]}), NOW)


@pytest.mark.parametrize("as_arrow", [False, True])
def test_null_in_the_key_or_where_none_may_be(as_arrow):
    subject = conformer(Column("id", "text"), Column("tier", "text", nullable=False), PRICE, key=("id",))
    rows = [
        {"id": "a", "tier": "GOLD", "price": None},
        {"id": None, "tier": "GOLD", "price": "1"},
        {"id": "b", "tier": None, "price": "1"},
    ]
    result = subject.conform(pa.Table.from_pylist(rows) if as_arrow else rows, NOW)
    assert result.rows.column("id").to_pylist() == ["a"]
    assert result.rejected.column("column_name").to_pylist() == ["id", "tier"]
    missing = subject.conform(pa.table({"id": ["c"]}) if as_arrow else [{"id": "c"}], NOW)
    assert (missing.rows.num_rows, missing.set_aside) == (0, 1)


@pytest.mark.parametrize("as_arrow", [False, True])
def test_record_source_is_the_payloads_own_where_it_has_one(as_arrow):
    rows = [{"x": 1, "source": "CRM"}, {"x": 2, "source": ""}, {"x": 3, "source": None}]
    result = conformer().conform(pa.Table.from_pylist(rows) if as_arrow else rows, NOW)
    assert result.rows.column("source").to_pylist() == ["CRM", "binance", "binance"]


@pytest.mark.parametrize("as_arrow", [False, True])
def test_a_source_that_is_no_text_is_kept_beside(as_arrow):
    rows = [{"x": 1, "source": {"id": 7, "name": "wire"}}]
    result = conformer().conform(pa.Table.from_pylist(rows) if as_arrow else rows, NOW)
    assert result.rows.column("source").to_pylist() == ["binance"]
    assert result.rows.column("payload_source").to_pylist() == ['{"id":7,"name":"wire"}']


@pytest.mark.parametrize("as_arrow", [False, True])
def test_a_declared_load_timestamp_is_the_payloads(as_arrow):
    subject = conformer(Column("x", "bigint"), Column("load_timestamp", "timestamp"), Column("source", "text"))
    rows = [{"x": 1, "load_timestamp": "2024-01-01T10:00:00+02:00"}, {"x": 2, "load_timestamp": None}]
    result = subject.conform(pa.Table.from_pylist(rows) if as_arrow else rows, NOW)
    assert result.rows.column("load_timestamp").to_pylist() == [datetime(2024, 1, 1, 8, tzinfo=UTC), NOW]
    assert result.rows.schema.names == ["x", "source", "load_timestamp", "_load_id", "_run_id"]
    bad = subject.conform([{"x": 3, "load_timestamp": "yesterday"}], NOW)
    assert bad.set_aside == 1


def test_rejected_rows_have_the_quarantines_columns_and_their_lineage():
    result = conformer(PRICE).conform([{"price": "x"}, "no row", {"price": None}], NOW)
    assert result.rejected.schema == arrow_schema(QUARANTINE_COLUMNS)
    assert result.rejected.to_pylist()[1] == {
        "table_name": "raw_any", "column_name": None, "reason": "the row is no object", "value": None,
        "row": '{"":"no row"}', "source": "binance", "load_timestamp": NOW, "_load_id": "L1", "_run_id": "R1",
    }  # fmt: skip
    assert conformer(PRICE).conform([], NOW).rejected.schema == result.rejected.schema


def test_record_batches_and_empty_pages():
    subject = conformer(PRICE)
    batch = pa.RecordBatch.from_pydict({"price": ["1"]})
    assert subject.conform(batch, NOW).rows.num_rows == 1
    for empty in ([], batch.slice(0, 0), pa.table({"price": pa.array([], pa.float64())})):
        result = subject.conform(empty, NOW)
        assert (result.rows.num_rows, result.rejected.num_rows) == (0, 0)
        assert result.rows.schema == arrow_schema(subject.columns)


def test_slices_and_several_chunks_of_arrow():
    values = pa.chunked_array([["1.5", "x"], [], ["2.5", "a\0", None]])
    result = conformer(PRICE, Column("t", "text")).conform(pa.table({"price": values, "t": values}).slice(1), NOW)
    assert result.rows.column("price").to_pylist() == [Decimal("2.5"), None]
    assert result.rejected.column("value").to_pylist() == ["x", "a\\u0000"]


def test_a_long_constant_lineage_has_every_row():
    count = 200_001
    result = conformer().conform(pa.table({"x": pa.repeat(1, count)}), NOW)
    assert result.rows.num_rows == count
    assert result.rows.column("_run_id").unique().to_pylist() == ["R1"]
    result.rows.validate(full=True)


def test_a_load_timestamp_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        conformer().conform([], datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_number_nobody_declared_that_is_finer_than_18_places_costs_no_row():
    subject = conformer(PRICE)
    fine = Decimal("0.0016209043075138918")
    for _ in range(2):
        result = subject.conform([{"price": "1", "change": fine}], NOW)
        assert result.rows.column("change").to_pylist() == [Decimal("0.001620904307513891")]
    assert subject.conform([{"price": fine}], NOW).set_aside == 1


def test_rows_that_came_one_by_one_are_a_microsecond_apart_in_their_order():
    page = [{"price": "1"}, {"price": "nothing"}, {"price": "2"}]
    result = conformer(PRICE).conform(page, NOW, one_by_one=True)
    assert [at - NOW for at in result.rows["load_timestamp"].to_pylist()] == [
        timedelta(microseconds=0),
        timedelta(microseconds=2),
    ]
    assert conformer(PRICE).conform(page, NOW).rows["load_timestamp"].to_pylist() == [NOW, NOW]
