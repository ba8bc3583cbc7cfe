"""1,000,000 OHLCV bars from a CSV: what the files source itself takes, beside bare DuckDB and dlt fed with dicts.

    python -m tests.bench.bench_files [ROWS]

All in one process and one run; process start and imports are left out. The source reads, types and names the bars
through its dlt resource; `written` adds one Parquet file. DuckDB reads the same CSV with the same DECIMAL and
TIMESTAMPTZ columns, writes Parquet and creates the table in a DuckDB file. dlt's share is the difference between
iterating the resource and iterating its generator's pages directly.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sources.files.settings import FilesSource
from sources.protocol import Resource, SourceContext

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
ROWS = 1_000_000
DICT_ROWS = 20_000
DECIMALS = ("open", "high", "low", "close", "volume")
RESOURCE = {
    "files": "*.csv",
    "columns": {
        "symbol": {},
        "open_time": {"type": "timestamp"},
        **{name: {"type": "decimal"} for name in DECIMALS},
    },
}
DUCKDB_TYPES = {"symbol": "VARCHAR", "open_time": "TIMESTAMPTZ", **dict.fromkeys(DECIMALS, "DECIMAL(38,18)")}


def write_bars(path: Path, rows: int) -> None:
    """Write a CSV of bars, one a minute, 20 symbols; prices with 2 to 8 digits after the point."""
    with path.open("w") as file:
        file.write("symbol,open_time,open,high,low,close,volume\n")
        for start in range(0, rows, 10_000):
            file.writelines(_bar(number) for number in range(start, min(rows, start + 10_000)))


def _bar(number: int) -> str:
    time_of_day = f"{number // 60 % 24:02}:{number % 60:02}:00"
    day = f"2024-{number // 40_320 % 12 + 1:02}-{number // 1_440 % 28 + 1:02}"
    price = 40_000 + number * 7_919 % 20_000
    return (
        f"SYM{number % 20}USDT,{day}T{time_of_day}+00:00,{price}.{number % 100:02},{price + 25}.5,"
        f"{price - 25}.12345678,{price + 3}.{number % 10_000:04},{number % 977}.{number % 10**8:08}\n"
    )


def resource_over(folder: Path) -> tuple[Resource, SourceContext]:
    """Build the files resource over folder/in."""
    block = {"type": "files", "path": "in", "settle_seconds": 0, "resources": {"raw_history_ohlcv": RESOURCE}}
    [resource] = FilesSource.model_validate(block).resources_of("history", {})
    ctx = SourceContext("history", {}, datetime.now(UTC), folder, folder / "data", lambda *_, **__: None)
    return resource, ctx


def source_pages(folder: Path) -> Iterator[pa.Table]:
    """Iterate the resource as the engine does, from an empty state."""
    from engine.extract import pages

    resource, ctx = resource_over(folder)
    yield from pages(resource.build(ctx), "history", {})


def without_dlt(folder: Path) -> Iterator[Any]:
    """Iterate the same pages without dlt."""
    from sources.files.listing import local_files
    from sources.files.resource import _landed
    from sources.files.seen import Seen

    settings = FilesSource.model_validate({"type": "files", "path": "in", "resources": {"t": RESOURCE}})
    _, ctx = resource_over(folder)
    for file in local_files(folder / "in", ("*.csv",), ctx.notice):
        yield from _landed(file, settings.resources["t"], ctx, None, Seen({}))


def write_parquet(pages: Iterator[pa.Table], path: Path) -> int:
    """Write pages to one Parquet file; return the rows."""
    rows = 0
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for page in pages:
            writer = writer or stack.enter_context(pq.ParquetWriter(path, page.schema))
            writer.write_table(page)
            rows += page.num_rows
    return rows


def bare_duckdb(folder: Path) -> int:
    """Do the same with DuckDB alone: CSV to Parquet and to a table."""
    with duckdb.connect(str(folder / "bare.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        bars = connection.read_csv(str(folder / "in" / "bars.csv"), dtype=DUCKDB_TYPES, header=True)
        bars.write_parquet(str(folder / "bare.parquet"))
        connection.execute("CREATE TABLE bars AS SELECT * FROM read_parquet(?)", [str(folder / "bare.parquet")])
        return int(connection.execute("SELECT count(*) FROM bars").fetchall()[0][0])


def dlt_with_dicts(folder: Path, rows: int = DICT_ROWS) -> int:
    """Feed dlt with dicts of the first rows, into a DuckDB file."""
    import dlt

    table = pyarrow.csv.read_csv(folder / "in" / "bars.csv", convert_options=_as_text()).slice(0, rows)
    dicts = table.to_pylist()
    pipeline = dlt.pipeline(
        "bench_dicts",
        destination=dlt.destinations.duckdb(str(folder / "dicts.duckdb")),
        pipelines_dir=str(folder / "dlt"),
        dataset_name="landing",
    )
    hints = {name: {"data_type": "decimal"} for name in DECIMALS} | {"open_time": {"data_type": "timestamp"}}
    pipeline.run(dicts, table_name="bars", columns=hints)
    return rows


def _as_text() -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(DUCKDB_TYPES, pa.string()))


def rate(work: Callable[[], int]) -> float:
    """Rows a second."""
    started = time.perf_counter()
    rows = work()
    return rows / (time.perf_counter() - started)


def main(rows: int = ROWS) -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        write_bars(folder / "in" / "bars.csv", rows)
        sum(page.num_rows for page in source_pages(folder) if page.num_rows < 0)  # imports and the file's cache
        rates = {
            "files source, through dlt": rate(lambda: sum(page.num_rows for page in source_pages(folder))),
            "files source, without dlt": rate(lambda: sum(page.num_rows for page in without_dlt(folder))),
            "files source, written": rate(lambda: write_parquet(source_pages(folder), folder / "ours.parquet")),
            "bare DuckDB": rate(lambda: bare_duckdb(folder)),
            "dlt with dicts": rate(lambda: dlt_with_dicts(folder, min(rows, DICT_ROWS))),
        }
    for what, value in rates.items():
        print(f"{what:<28}{value:>12,.0f} rows/s")
    written = rates["files source, written"]
    print(f"{'of bare DuckDB':<28}{written / rates['bare DuckDB']:>12.2f} x")
    print(f"{'of dlt with dicts':<28}{written / rates['dlt with dicts']:>12.0f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
