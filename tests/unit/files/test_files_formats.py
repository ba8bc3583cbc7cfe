import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

EXACT = "0.123456789012345678"


def rows(pages):
    return [row for page in pages for row in (page.to_pylist() if isinstance(page, pa.Table) else page)]


def test_json_lines_wholly_declared_are_read_by_arrow_and_exact(reading):
    line = f'{{"s": "BTC", "p": {EXACT}, "t": "2024-01-01T00:00:00"}}\n'
    (reading.folder / "a.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    columns = {
        "symbol": {"from": "s"},
        "price": {"from": "p", "type": "decimal"},
        "t": {"type": "timestamp", "timezone": "UTC"},
    }
    pages, _ = reading({"files": "*", "columns": columns})
    assert isinstance(pages[0], pa.Table)
    assert rows(pages) == [
        {"symbol": "BTC", "price": Decimal(EXACT), "t": "2024-01-01T00:00:00", "_file": "a.jsonl.gz"}
    ]


def test_json_lines_with_undeclared_fields_stay_exact(reading):
    text = f'\ufeff{{"s": {{"n": "btc"}}, "Px Last": {EXACT}, "tags": [1]}}\n\n{{"s": null, "Px Last": 2, "x": true}}\n'
    (reading.folder / "a.ndjson").write_text(text)
    pages, _ = reading({"files": "*", "columns": {"symbol": {"from": "s.n", "fold": "upper", "value": "none"}}})
    assert rows(pages) == [
        {"symbol": "BTC", "px_last": Decimal(EXACT), "tags": [1], "_file": "a.ndjson"},
        {"symbol": "none", "px_last": 2, "x": True, "_file": "a.ndjson"},
    ]


def test_json_lines_whose_values_do_not_fit_are_handed_on_as_written(reading):
    (reading.folder / "a.jsonl").write_text('{"p": 1.5}\n{"p": "n/a"}\n{"p": [1]}\n')
    pages, _ = reading({"files": "*", "columns": {"p": {"type": "decimal"}}})
    assert [row["p"] for row in rows(pages)] == [Decimal("1.5"), "n/a", [1]]


def test_more_json_rows_than_a_page(reading):
    (reading.folder / "a.jsonl").write_text("".join(json.dumps({"a": n}) + "\n" for n in range(10_001)))
    pages, _ = reading()
    assert [len(page) for page in pages] == [10_000, 1]
    assert [row["a"] for row in rows(pages)] == list(range(10_001))


def test_parquet_keeps_its_types_and_takes_the_names(reading):
    table = pa.table(
        {
            "Px": pa.array([Decimal(EXACT)], pa.decimal128(38, 18)),
            "At": pa.array([datetime(2024, 1, 1)], pa.timestamp("ns")),  # noqa: DTZ001 - naive on purpose
            "Other Field": pa.array([{"a": 1}]),
        }
    )
    pq.write_table(table, reading.folder / "a.parquet")
    columns = {
        "price": {"from": "Px", "type": "decimal"},
        "t": {"from": "At", "type": "timestamp", "timezone": "Asia/Tokyo"},
    }
    resource = {"files": "*", "columns": columns}
    pages, _ = reading(resource)
    assert reading.typed(resource, *pages) == [
        {
            "price": Decimal(EXACT),
            "t": datetime(2023, 12, 31, 15, tzinfo=UTC),
            "_file": "a.parquet",
            "other_field": '{"a":1}',
        }
    ]


def test_a_parquet_file_with_a_damaged_page_leaves_nothing_behind(reading):
    path = reading.folder / "a.parquet"
    pq.write_table(pa.table({"a": list(range(200_000))}), path, row_group_size=1000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    path.write_bytes(data)
    pages, notices = reading()
    assert pages == []
    assert [item for item, _ in notices] == ["a.parquet"]
