"""1,000,000 OHLCV bars from a CSV to the lake and the warehouse: the whole run, beside bare DuckDB and dlt with dicts.

    python -m tests.bench.bench_landing [ROWS]

All in one process and one run; process start and imports are left out (a small run comes first). The engine reads the
CSV through a dlt resource, types it, writes a load package and lets DuckLake take it. DuckDB reads the same CSV with
the same DECIMAL(38,18) and TIMESTAMPTZ columns, writes Parquet and creates the table in a DuckDB file: once as it does
by itself, once by its fastest exact way for this file (DECIMAL(18,8), then widened; wrong for a file with more digits).
Target: 0.7 of bare DuckDB's speed, 20 times dlt fed with dicts, memory below 1 GB.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import yaml

from engine.config.load import load_project
from engine.progress import Silent
from engine.run import Runner
from tests.bench.bench_files import (
    DECIMALS,
    DICT_ROWS,
    DUCKDB_TYPES,
    RESOURCE,
    ROWS,
    bare_duckdb,
    dlt_with_dicts,
    rate,
    source_pages,
    without_dlt,
    write_bars,
)

RATIO, TIMES, MEMORY_MB = 0.7, 20, 1000
WARM_ROWS = 1_000


def project_in(folder: Path) -> Path:
    """Write a project whose one source is folder/in."""
    document = {
        "profiles": {
            "local": {
                "data": ".data",
                "lake": {"type": "filesystem", "path": ".data/lake"},
                "warehouse": {"type": "ducklake", "path": ".data/warehouse"},
            }
        },
        "sources": {
            "history": {"type": "files", "path": "in", "settle_seconds": 0, "resources": {"raw_bars": RESOURCE}}
        },
        "pipelines": {"land": {"extract": ["history"], "load": ["warehouse"], "transform": False}},
    }
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def landed(folder: Path) -> int:
    """Run the pipeline; return the rows that the warehouse took."""
    report = Runner(load_project(project_in(folder), env={}), Silent()).run("land")
    if report.failures:
        raise SystemExit(report.failures[0])
    [warehouse] = report.destinations
    return sum(each.rows for each in report.resources if each.table == "raw_bars" and warehouse.status == "loaded")


def narrow_duckdb(folder: Path) -> int:
    """As bare_duckdb, through DECIMAL(18,8): a 64-bit cast, then widened."""
    types = DUCKDB_TYPES | dict.fromkeys(DECIMALS, "DECIMAL(18,8)")
    with duckdb.connect(str(folder / "narrow.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        bars = connection.read_csv(str(folder / "in" / "bars.csv"), dtype=types, header=True)
        wide = ", ".join(f"{name}::DECIMAL(38,18) AS {name}" for name in DECIMALS)
        bars.project(f"symbol, open_time, {wide}").write_parquet(str(folder / "narrow.parquet"))
        connection.execute("CREATE TABLE bars AS SELECT * FROM read_parquet(?)", [str(folder / "narrow.parquet")])
        return int(connection.execute("SELECT count(*) FROM bars").fetchall()[0][0])


def folder_with(parent: Path, name: str, rows: int) -> Path:
    """Make a folder whose in/bars.csv has so many bars."""
    folder = parent / name
    (folder / "in").mkdir(parents=True)
    write_bars(folder / "in" / "bars.csv", rows)
    return folder


def drained(pages: Callable[[Path], object], folder: Path) -> int:
    """Count the rows of a source's pages."""
    return sum(page.num_rows for page in pages(folder))  # type: ignore[attr-defined]


def main(rows: int = ROWS) -> int:
    """Measure and print; 1 when a target is missed."""
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        landed(folder_with(parent, "warm", WARM_ROWS))
        folder = folder_with(parent, "bars", rows)
        started = time.perf_counter()
        taken = landed(folder)
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if taken != rows:
            raise SystemExit(f"{taken:,} of {rows:,} rows landed")
        engine = rows / seconds
        bare, narrow = rate(lambda: bare_duckdb(folder)), rate(lambda: narrow_duckdb(folder))
        through, beside = rate(lambda: drained(source_pages, folder)), rate(lambda: drained(without_dlt, folder))
        dicts = rate(lambda: dlt_with_dicts(folder, min(rows, DICT_ROWS)))
    dlt_seconds = max(rows / through - rows / beside, 0.0)
    print(f"engine: CSV to lake and DuckLake {engine:>12,.0f} rows/s  {seconds:.2f} s")
    print(f"bare DuckDB                      {bare:>12,.0f} rows/s  {rows / bare:.2f} s")
    print(f"bare DuckDB, narrow then widened {narrow:>12,.0f} rows/s  {rows / narrow:.2f} s")
    print(f"dlt with dicts ({DICT_ROWS:,} rows)      {dicts:>12,.0f} rows/s")
    print(f"of bare DuckDB                   {engine / bare:>12.2f} x       (target {RATIO})")
    print(f"of bare DuckDB, narrow           {engine / narrow:>12.2f} x       (for comparison)")
    print(f"of dlt with dicts                {engine / dicts:>12.0f} x       (target {TIMES})")
    print(f"dlt's share of the run           {dlt_seconds / seconds:>12.1%}         ({dlt_seconds:.2f} s)")
    print(f"peak memory                      {memory:>12,.0f} MB      (target {MEMORY_MB:,})")
    return 0 if engine / bare >= RATIO and engine / dicts >= TIMES and memory < MEMORY_MB else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
