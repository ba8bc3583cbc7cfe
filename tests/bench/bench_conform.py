"""What conforming costs: pages of dicts beside dlt's normaliser, Arrow tables by what has to be done to them.

    python -m tests.bench.bench_conform

All in one process and one run. dlt extracts and normalises the same dicts into Parquet load packages (nothing is
loaded); conforming gives typed Arrow rows from them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from engine.conform import Conformer
from engine.table import Column, Table

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PAGE, COLUMNS, ROWS = 5_000, 20, 1_000_000
OHLCV = ("open", "high", "low", "close", "volume")


def best(task: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def page() -> list[dict[str, Any]]:
    """Return a page of tickers as an exchange answers it: numbers as text."""
    return [
        {"symbol": f"S{row}", "close_time": 1_700_000_000_000 + row}
        | {f"price_{column}": f"{row}.{column:08}" for column in range(COLUMNS - 2)}
        for row in range(PAGE)
    ]


def conform(table: Table, item: Any) -> None:
    """Type one page from scratch."""
    conformed = Conformer(table, (), source="bench", load_id="L", run_id="R").conform(item, NOW)
    assert conformed.rejected.num_rows == 0


def normalize(rows: list[dict[str, Any]]) -> None:
    """Let dlt extract and normalise the dicts."""
    import dlt

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("bench_conform", pipelines_dir=folder, destination="filesystem")
        pipeline.extract(rows, table_name="tickers", loader_file_format="parquet")
        pipeline.normalize()


def main() -> None:
    """Print seconds and ratios."""
    rows = page()
    prices = tuple(Column(f"price_{column}", "decimal") for column in range(COLUMNS - 2))
    tickers = Table("tickers", (Column("symbol", "text"), Column("close_time", "timestamp", epoch="ms"), *prices))
    ours, theirs = best(lambda: conform(tickers, rows)), best(lambda: normalize(rows))
    sys.stdout.write(
        f"{PAGE:,} dicts x {COLUMNS}: conform {ours:.3f} s, dlt {theirs:.3f} s, {theirs / ours:.0f} times\n"
    )

    texts = pa.array([f"{row / 100:.2f}" for row in range(ROWS)])
    bars = Table("bars", tuple(Column(name, "decimal") for name in OHLCV))
    for label, values in (("typed", texts.cast(pa.decimal128(38, 18))), ("text", texts), ("double", texts.cast("f8"))):
        arrow = pa.table(dict.fromkeys(OHLCV, values))
        seconds = best(lambda arrow=arrow: conform(bars, arrow))
        per_value = seconds / ROWS / len(OHLCV) * 1e6
        sys.stdout.write(f"{ROWS:,} x {len(OHLCV)} {label}: {seconds:.3f} s, {per_value:.3f} us a value\n")


if __name__ == "__main__":
    main()
