import gzip
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

OHLCV = {
    "files": "*",
    "columns": {
        "symbol": {"from": "Ticker", "fold": "upper"},
        "open": {"from": "Open", "type": "decimal"},
        "open_time": {"from": "Date", "type": "timestamp", "timezone": "America/New_York"},
        "interval": {"value": "1d"},
    },
}


def rows(pages):
    return [row for page in pages for row in (page.to_pylist() if isinstance(page, pa.Table) else page)]


def test_declared_columns_are_typed_exactly_and_others_kept_as_text(reading):
    (reading.folder / "a.csv").write_text("Ticker,Open,Date,Adj Close\nibm,0.123456789012345678,2024-07-01,4.10\n")
    pages, notices = reading(OHLCV)
    assert reading.typed(OHLCV, *pages) == [
        {
            "symbol": "IBM",
            "open": Decimal("0.123456789012345678"),
            "open_time": datetime(2024, 7, 1, 4, tzinfo=UTC),
            "interval": "1d",
            "adj_close": "4.10",
            "_file": "a.csv",
        }
    ]
    assert pages[0].schema.field("open").type == pa.string()  # typed by the typing stage, as in `typed` above
    assert pages[0].schema.field("open_time").type == pa.timestamp("us")
    assert notices == []


@pytest.mark.parametrize(
    "cell",
    ["n/a", "1.1234567890123456789", "1,5", "NaN", "1e400"],
    ids=["word", "19 digits", "comma", "nan", "too large"],
)
def test_one_bad_number_does_not_touch_how_the_other_columns_are_read(reading, cell):
    (reading.folder / "a.csv").write_text(f'Ticker,Open,Date\nibm,1.50,2024-07-01\nibm,"{cell}",2024-07-02\n')
    pages, _ = reading(OHLCV)
    assert [row["open"] for row in rows(pages)] == ["1.50", cell]
    assert [row["open_time"] for row in rows(pages)] == [datetime(2024, 7, 1), datetime(2024, 7, 2)]  # noqa: DTZ001


def test_one_bad_date_turns_the_file_into_text_so_that_only_its_row_is_at_fault(reading):
    (reading.folder / "a.csv").write_text("Ticker,Open,Date\nibm,1.50,2024-07-01\nibm,2,n/a\n")
    pages, _ = reading(OHLCV)
    assert [row["open_time"] for row in rows(pages)] == ["2024-07-01", "n/a"]
    assert [row["open"] for row in reading.typed(OHLCV, *pages)] == [Decimal("1.50")]


WIDE_NUMBERS = {
    "1.6268470258232582e+36": None,
    "123456789012345678901.5": None,
    "9e58": None,
    "1E20": None,
    "1.5e-19": None,
    "99999999999999999999.999999999999999999": Decimal("99999999999999999999.999999999999999999"),
    "-1.5e3": Decimal(-1500),
    "1.500000000000000000000": Decimal("1.5"),
    "12e-18": Decimal("0.000000000000000012"),
}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("text", WIDE_NUMBERS)
def test_a_number_lands_exactly_or_is_set_aside(reading, kind, text):
    line = f"ibm,1\nibm,{text}\n" if kind == "csv" else f'{{"s": "ibm", "p": 1}}\n{{"s": "ibm", "p": {text}}}\n'
    (reading.folder / f"a.{kind}").write_text(f"s,p\n{line}" if kind == "csv" else line)
    resource = {"files": "*", "columns": {"s": {}, "p": {"type": "decimal"}}}
    [page], _ = reading(resource)
    conformed = reading.conformed(resource, page)
    exact = WIDE_NUMBERS[text]
    assert conformed.rows["p"].to_pylist() == ([Decimal(1)] if exact is None else [Decimal(1), exact])
    assert [Decimal(value) for value in conformed.rejected["value"].to_pylist()] == (
        [Decimal(text)] if exact is None else []
    )


def test_offsets_zones_and_epochs(reading):
    columns = {
        "t": {"type": "timestamp"},
        "d": {"type": "date"},
        "e": {"type": "timestamp", "epoch": "ms"},
        "n": {"type": "bigint"},
        "b": {"type": "bool"},
    }
    (reading.folder / "a.csv").write_text("t,d,e,n,b\n2024-01-01T10:00:00+02:00,2024-01-02,1704067200001,16,1\n")
    resource = {"files": "*.csv", "columns": columns}
    [page], _ = reading(resource)
    assert page.schema.field("t").type == pa.timestamp("us", "UTC")
    assert reading.typed(resource, page) == [
        {
            "t": datetime(2024, 1, 1, 8, tzinfo=UTC),
            "d": date(2024, 1, 2),
            "e": datetime(2024, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
            "n": 16,
            "b": True,
            "_file": "a.csv",
        }
    ]


def test_a_naive_time_without_a_declared_zone_stays_text(reading):
    (reading.folder / "a.csv").write_text("t\n2024-01-01T10:00:00\n")
    pages, _ = reading({"files": "*", "columns": {"t": {"type": "timestamp"}}})
    assert rows(pages)[0]["t"] == "2024-01-01T10:00:00"


def test_header_variations_bom_quotes_and_newlines(reading):
    text = '\ufeff"TICKER", open ,Date,Open\r\n"a\nb",1.5,2024-07-01,9\r\n"NA",,2024-07-02,\r\n"",2,2024-07-03,""\r\n'
    (reading.folder / "a.csv").write_bytes(text.encode())
    columns = {"symbol": {"from": "Ticker"}, "open": {"from": "open", "type": "decimal"}}
    pages, _ = reading({"files": "*", "columns": columns})
    got = rows(pages)
    assert [row["symbol"] for row in got] == ["a\nb", "NA", ""]
    assert [row["open"] for row in got] == ["1.5", None, "2"]
    assert [row["open_2"] for row in got] == ["9", None, ""]
    assert [row["date"] for row in got] == ["2024-07-01", "2024-07-02", "2024-07-03"]


def test_clashing_names_keep_every_value(reading):
    (reading.folder / "a.csv").write_text(
        "price,Price,PRICE,a-b,a_b,a b,,_load_id,load_timestamp,_file\n1,2,3,4,5,6,7,8,9,x\n"
    )
    pages, _ = reading()
    assert rows(pages) == [
        {
            "price": "1",
            "price_2": "2",
            "price_3": "3",
            "a_b": "4",
            "a_b_2": "5",
            "a_b_3": "6",
            "column_7": "7",
            "payload_load_id": "8",
            "payload_load_timestamp": "9",
            "_file_2": "x",
            "_file": "a.csv",
        }
    ]


def test_positions_of_a_file_without_a_header(reading):
    (reading.folder / "a.csv").write_text("1704067200000,42000.10,x\n")
    columns = {"t": {"from": 0, "type": "timestamp", "epoch": "ms"}, "open": {"from": 1, "type": "decimal"}}
    resource = {"files": "*", "header": False, "columns": columns}
    pages, _ = reading(resource)
    assert reading.typed(resource, *pages) == [
        {"t": datetime(2024, 1, 1, tzinfo=UTC), "open": Decimal("42000.10"), "column_3": "x", "_file": "a.csv"}
    ]


def test_empty_files_header_only_and_no_file_at_all(reading):
    assert reading() == ([], [])
    (reading.folder / "empty.csv").write_bytes(b"")
    (reading.folder / "blank.csv").write_bytes(b"\n\n")
    (reading.folder / "header.csv").write_text("Ticker,Open\n")
    (reading.folder / "empty.csv.gz").write_bytes(gzip.compress(b""))
    assert reading() == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.csv", b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("bad.csv", b"a,b\n1,\xff\n", "utf-8"),
        ("bad.csv", b"a,b\n" + b"1,2\n" * 200_000 + b"1,\xff\n", "UTF8"),
        ("bad.csv", "a,b\n1,2\n".encode("utf-16"), "NUL"),
        ("bad.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 5000)[:-12], "gzip|zlib|stream|EOF|trunc"),
        ("bad.csv.gz", b"a,b\n1,2\n", "gzip|zlib|header"),
        ("bad.parquet", b"PAR1 nothing PAR1", "[Pp]arquet|footer|magic"),
        ("bad.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("bad.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("bad.xlsx", b"x", "does not say its format"),
    ],
    ids=["ragged", "latin-1", "latin-1 later", "utf-16", "cut gzip", "no gzip", "parquet", "json", "array", "unknown"],
)
def test_a_broken_file_costs_only_itself(reading, name, content, reason):
    (reading.folder / "a.csv").write_text("a,b\n1,2\n")
    (reading.folder / name).write_bytes(content)
    (reading.folder / "z.csv").write_text("a,b\n3,4\n")
    pages, notices = reading()
    assert [row["_file"] for row in rows(pages)] == ["a.csv", "z.csv"]
    [(item, message)] = notices
    assert item == name
    assert re.search(reason, message), message
    assert len(reading(None)[1]) == 1, "it is not marked as seen: the next run reports it again"
    assert reading(None)[0] == []


def test_a_header_without_any_declared_column_is_refused(reading):
    (reading.folder / "a.csv").write_text("Ticker;Open\nibm;1\n")
    pages, [(item, message)] = reading(OHLCV)
    assert pages == []
    assert item == "a.csv"
    assert "Ticker;Open" in message


def test_a_missing_column_is_reported(reading):
    (reading.folder / "a.csv").write_text("Ticker,Open\nibm,1\n")
    pages, notices = reading(OHLCV)
    assert notices == [("a.csv", "has no column for open_time: null")]
    assert "open_time" not in pages[0].column_names


def test_the_typing_step_sets_aside_only_the_rows_at_fault(reading):
    (reading.folder / "a.csv").write_text(
        "Ticker,Open,Date\nibm,1.50,2024-07-01\nibm,n/a,2024-07-02\nibm,2.5,2026-03-08T02:30:00\nibm,3,2024-07-04\n"
    )
    [page], _ = reading(OHLCV)
    conformed = reading.conformed(OHLCV, page)
    assert conformed.rows["open"].to_pylist() == [Decimal("1.5"), Decimal(3)]
    assert conformed.rows["open_time"].to_pylist()[0] == datetime(2024, 7, 1, 4, tzinfo=UTC)
    assert conformed.set_aside == 2
