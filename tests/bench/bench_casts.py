"""Text to DECIMAL(38,18): what DuckDB's cast takes and does, beside pyarrow's (decision 0003).

    python -m tests.bench.bench_casts [ROWS]

One thread each, in one process; the best of three. Then what each makes of a digit too many and of a value too large.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

DECIMAL = pa.decimal128(38, 18)
TOO_FINE = "0.0000000000000000019"
"""19 places: a column of 18 cannot hold it."""
TOO_LARGE = Decimal(10) ** 30


def best(task: Callable[[], Any]) -> float:
    """Seconds of the fastest of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return min(times)


def outcome(task: Callable[[], Any]) -> str:
    """What comes out, or the refusal."""
    try:
        return str(task())
    except (duckdb.Error, pa.ArrowInvalid) as error:
        return f"refused ({str(error).splitlines()[0][:60]})"


def main(rows: int) -> None:
    """Print the figures."""
    texts = pa.table({"t": [f"{n}.{n * 7919 % 10**8:08d}" for n in range(rows)]})
    pa.set_cpu_count(1)
    connection = duckdb.connect(config={"threads": 1})
    connection.register("texts", texts)
    in_duckdb = best(
        lambda: connection.execute("CREATE OR REPLACE TEMP TABLE d AS SELECT t::DECIMAL(38,18) FROM texts")
    )
    in_pyarrow = best(lambda: texts["t"].cast(DECIMAL))
    print(f"DuckDB   {in_duckdb / rows * 1e6:6.2f} us a value")
    print(f"pyarrow  {in_pyarrow / rows * 1e6:6.2f} us a value: {in_duckdb / in_pyarrow:.0f} times as fast")
    cast = f"SELECT '{TOO_FINE}'::DECIMAL(38,18)"
    print(f"{TOO_FINE}: DuckDB {outcome(lambda: connection.execute(cast).fetchall()[0][0])}")
    print(f"{TOO_FINE}: pyarrow {outcome(lambda: pa.array([TOO_FINE]).cast(DECIMAL)[0])}")
    large = pa.array([TOO_LARGE], pa.decimal128(38, 2))
    print(f"1e30 from decimal(38,2): pyarrow {outcome(lambda: large.cast(DECIMAL)[0])}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
