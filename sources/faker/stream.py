"""The same world as an endless stream: the first people once, then trades and changes as long as somebody asks.

What follows is reserved before it is given away: a state is written down first, so that a stream which dies in between
leaves numbers out and never gives one twice. Ids start at STREAM_NUMBERS: they never meet those of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from engine.table import Table
from sources.faker import people
from sources.faker.market import Market
from sources.faker.people import World
from sources.faker.settings import CORPORATE, CORPORATES, CUSTOMERS, PERSONAL, FakerSource
from sources.faker.trades import Period, Trades
from sources.protocol import Asset

MIX = ((PERSONAL, 80), (CORPORATE, 15), (CUSTOMERS, 4), (CORPORATES, 1))
"""Of a hundred rows, so many of each table; those of people are changes of known ones."""
KEYS = {table.name: table.primary_key[0] for table, _ in MIX}
"""What names a row, and its message."""
Page = tuple[Table, pa.Table]


class Stream:
    """One seed's stream. `state` counts what was given away: {"seed", "rows", and a number for each table}."""

    def __init__(self, settings: FakerSource, assets: Sequence[Asset], state: MutableMapping[str, Any]) -> None:
        """Go on where `state` stands, or begin when it is empty or of another seed."""
        if state.get("seed") != settings.seed:
            state.clear()
            state.update({"seed": settings.seed, "rows": 0} | {table.name: 0 for table, _ in MIX})
        self.state = state
        sizes = settings.resources
        self._world = World(settings.seed, sizes.raw_customers.first, sizes.raw_corporates.first, stream=True)
        self._market = Market.of(settings.seed, assets)

    def population(self, now: datetime) -> Iterator[Page]:
        """Give everybody as they are by now: whoever trades later is one of them."""
        day = now.astimezone(UTC).date()
        for table, kind, size, build in (
            (CORPORATES, "corporates", self._world.corporates, people.corporates),
            (CUSTOMERS, "customers", self._world.customers, people.customers),
        ):
            versions = self._world.versions(kind, size, int(self.state[table.name]))
            yield table, build(self._world, np.arange(size, dtype=np.int64), versions, day)

    def reserve(self, count: int) -> list[tuple[Table, int, int]]:
        """Take the next `count` rows: (table, first number, how many) each; `state` is behind them from now on."""
        before, after = int(self.state["rows"]), int(self.state["rows"]) + count
        taken, done = [], 0
        for table, percent in MIX:
            rows = (after * (done + percent) // 100 - after * done // 100) - (
                before * (done + percent) // 100 - before * done // 100
            )
            done += percent
            if rows:
                taken.append((table, int(self.state[table.name]), rows))
                self.state[table.name] += rows
        self.state["rows"] = after
        return taken

    def pages(self, taken: Sequence[tuple[Table, int, int]], start: datetime, end: datetime) -> Iterator[Page]:
        """Build reserved rows; trades are spread over [start, end)."""
        end = max(end, start + timedelta(milliseconds=1))
        for table, first, rows in taken:
            if table in {PERSONAL, CORPORATE}:
                kind: Any = "personal" if table is PERSONAL else "corporate"
                changes = int(self.state[CUSTOMERS.name])
                trades = Trades(self._world, kind, self._market, Period(start, end), changes)
                yield table, trades.rows(first, rows)
            else:
                yield table, self._changed(table, first, rows, end)

    def _changed(self, table: Table, first: int, rows: int, now: datetime) -> pa.Table:
        kind, size, build = (
            ("customers", self._world.customers, people.customers)
            if table is CUSTOMERS
            else ("corporates", self._world.corporates, people.corporates)
        )
        whom, version = self._world.turn(kind, size, np.arange(first, first + rows, dtype=np.int64))
        return build(self._world, whom, version, now.astimezone(UTC).date())
