"""One 5-minute increment of the models at two sizes of history: what is new must cost, not what is old.

    python -m tests.bench.bench_increment [SMALL LARGE]

Builds two DuckLake warehouses (default 200,000 and 20,000,000 transactions, 20 a customer, from the project's own
Faker source), then lands 10,000 new transactions, 2,000 changed customers and 5,000 prices five times in each, in turn,
and runs the models and audits on them, in this one warm process. Prints the median of both sizes and their ratio, which
is to stay below 1.5, and the peak of memory, which is to stay below 2 GB. One more increment of the small history is
run twice: by the engine, and its very statements by hand in DuckDB, on a copy of the warehouse as it was before; the
engine is to take at most 3 times as long, and 3 s.
"""

from __future__ import annotations

import gc
import resource
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from destinations.ducklake import DucklakeWarehouse
from destinations.session import connect
from engine.cli import GARBAGE
from sources.faker.market import Market
from sources.faker.people import World, customers
from sources.faker.trades import Period, Trades
from sources.protocol import Asset
from tests.vault.adapter import Models

SIZES = (200_000, 20_000_000)
CHUNK = 1_000_000
TRADES_A_CUSTOMER = 20
NEW_TRADES, CHANGED_CUSTOMERS, NEW_PRICES = 10_000, 2_000, 5_000
INCREMENTS = 5
RATIO, MEMORY_GB = 1.5, 2.0
BY_HAND, AND_SECONDS = 3.0, 3.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASSETS = [Asset(f"C{n}", "crypto") for n in range(50)] + [Asset(f"S{n}", "stock") for n in range(90)]


class History:
    """One warehouse with a history of `size` transactions, and what comes after it."""

    def __init__(self, size: int, folder: Path) -> None:
        """Build the models over nothing yet."""
        self.size = size
        self.people = size // TRADES_A_CUSTOMER
        self.world = World(7, self.people, 200)
        self.trades = Trades(self.world, "personal", Market.of(7, ASSETS), Period(NOW - timedelta(days=365), NOW))
        self.models = Models("ducklake", folder)
        self.models.warehouse._connection.execute("SET memory_limit = '1GB'")
        self.models.context.engine_adapter.execute("SET memory_limit = '1GB'")
        self._made = 0
        self._prices = 0

    def build(self) -> float:
        """Land and model the history, a chunk at a time; return seconds."""
        started = time.perf_counter()
        numbers = np.arange(self.people)
        self.models.land_table("raw_customers", customers(self.world, numbers, np.zeros_like(numbers)))
        while self._made < self.size:
            count = min(CHUNK, self.size - self._made)
            self.models.land_table("raw_transaction_personal", self.trades.rows(self._made, count))
            self._made += count
            self.models.run(None)
            print(f"   {self._made:,} of {self.size:,} after {time.perf_counter() - started:.0f} s", flush=True)
        return time.perf_counter() - started

    def increment(self, number: int) -> float:
        """Land one increment; return the seconds of the model run."""
        self.land(number)
        return self.run()

    def land(self, number: int) -> None:
        """Land one increment, an interval later than what is there."""
        connection = self.models.warehouse._connection
        connection.execute("UPDATE landing._model_runs SET until = until + INTERVAL 10 MINUTES")
        self.models.land_table("raw_transaction_personal", self.trades.rows(self._made, NEW_TRADES))
        self._made += NEW_TRADES
        changed = (np.arange(CHANGED_CUSTOMERS) * 7 + number) % self.people
        self.models.land_table("raw_customers", customers(self.world, changed, np.full_like(changed, number)))
        self.models.land_table("raw_cryptoprices_binance", self._new_prices())

    def run(self) -> float:
        """Run the models and audits; return seconds."""
        started = time.perf_counter()
        self.models.run(None)
        return time.perf_counter() - started

    def beside_by_hand(self, number: int, folder: Path) -> tuple[float, float]:
        """Run one increment; return the seconds of the engine, and of its statements on a copy in `folder`."""
        from sqlmesh.core.engine_adapter.base import EngineAdapter

        warehouse = self.models.warehouse
        execute, statements = EngineAdapter._execute, []
        pool = self.models.context.engine_adapter._connection_pool

        def kept(adapter: EngineAdapter, sql: str, *args: object, **kwargs: object) -> None:
            if adapter._connection_pool is pool:
                statements.append(sql)
            execute(adapter, sql, *args, **kwargs)

        self.land(number)
        shutil.copytree(warehouse.path, folder / "copy")
        EngineAdapter._execute = kept
        try:
            seconds = self.run()
        finally:
            EngineAdapter._execute = execute
        copy = DucklakeWarehouse("copy", folder / "copy", folder / "data")
        connection = connect(folder / "data", extensions=True)
        copy._attach(connection, copy._catalog, "META_BUSY_TIMEOUT 5000")
        started = time.perf_counter()
        for statement in statements:
            connection.execute(statement).fetchall()
        by_hand = time.perf_counter() - started
        connection.close()
        return seconds, by_hand

    def _new_prices(self) -> pa.Table:
        assets = [f"C{n % 50}" for n in range(NEW_PRICES)]
        instants = [NOW + timedelta(seconds=self._prices + n // 50) for n in range(NEW_PRICES)]
        self._prices += NEW_PRICES // 50
        return pa.table(
            {
                "symbol": [f"{asset}USDT" for asset in assets],
                "base_currency": assets,
                "quote_currency": ["USDT"] * NEW_PRICES,
                "price": [str(100 + n % 97) for n in range(NEW_PRICES)],
                "volume": [str(n) for n in range(NEW_PRICES)],
                "volume_unit": ["base"] * NEW_PRICES,
                "observed_at": pa.array(instants, pa.timestamp("us", "UTC")),
            }
        )


def main(sizes: tuple[int, ...] = SIZES) -> int:
    """Print the figures; return 1 if one of them is missed."""
    from sqlmesh.core.console import NoopConsole, set_console

    set_console(NoopConsole())
    with ExitStack() as stack:
        histories = {}
        for size in sorted(sizes, reverse=True):
            folder = Path(tempfile.mkdtemp(prefix="increment-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            histories[size] = History(size, folder)
            stack.callback(histories[size].models.close)
            print(f"{size:,} transactions of history: built in {histories[size].build():.0f} s", flush=True)
        small, large = min(sizes), max(sizes)
        seconds: dict[int, list[float]] = {size: [] for size in histories}
        for number in range(1, INCREMENTS + 1):  # in turn: what else the machine does comes to both
            for size, history in histories.items():
                seconds[size].append(history.increment(number))
        for size in histories:
            print(f"   increments over {size:,}: {', '.join(f'{each:.2f}' for each in seconds[size])} s")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="by-hand-")))
        engine, by_hand = histories[small].beside_by_hand(INCREMENTS + 1, folder)
    medians = {size: statistics.median(seconds[size]) for size in seconds}
    ratio = medians[large] / medians[small]
    print(f"median {medians[small]:.2f} s and {medians[large]:.2f} s: {ratio:.2f} times (below {RATIO})")
    print(f"peak memory, both in one process {memory:.2f} GB (below {MEMORY_GB})")
    limit = BY_HAND * by_hand + AND_SECONDS
    print(f"one increment {engine:.2f} s, its statements by hand {by_hand:.2f} s (at most {BY_HAND:.0f} times and")
    print(f"   {AND_SECONDS:.0f} s more: {limit:.2f} s)")
    return int(ratio > RATIO or memory > MEMORY_GB or engine > limit)


def _sizes(words: list[str]) -> tuple[int, ...]:
    return tuple(int(word.replace("_", "")) for word in words) or SIZES


if __name__ == "__main__":
    gc.set_threshold(*GARBAGE)  # as the command does
    sys.exit(main(_sizes(sys.argv[1:])))
