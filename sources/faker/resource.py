"""The dlt resources of a faker source: the next rows of each table, with the position in dlt's state.

State of a population: {"seed", "delivered", "changes"}. State of a transactions table: {"seed", "next", "runs",
"until"}. A run that does not commit its state is repeated with the same ids and, within the same minute, the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dlt
import numpy as np
import pyarrow as pa

from engine.errors import SourceError
from engine.table import Table
from sources.faker import people
from sources.faker.market import Market
from sources.faker.people import World
from sources.faker.settings import (
    CORPORATE,
    CORPORATES,
    CUSTOMERS,
    PERSONAL,
    FakerSource,
    PersonalTransactions,
    Population,
)
from sources.faker.trades import Kind, Period, Trades
from sources.protocol import SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

PAGE_ROWS = 50_000


def simulated(source: str, settings: FakerSource, table: Table, ctx: SourceContext) -> DltResource:
    """Build the resource of one of the four tables; pages are Arrow tables."""
    tables = settings.resources
    world = World(settings.seed, tables.raw_customers.first, tables.raw_corporates.first)

    def extract() -> Iterator[pa.Table]:
        state = dlt.current.resource_state()
        if state.get("seed") != settings.seed:
            state.clear()
            state["seed"] = settings.seed
        if table.name == CUSTOMERS.name:
            yield from _population(world, "customers", tables.raw_customers, state, ctx.now)
        elif table.name == CORPORATES.name:
            yield from _population(world, "corporates", tables.raw_corporates, state, ctx.now)
        elif table.name == PERSONAL.name:
            yield from _transactions(world, "personal", settings, state, ctx, source)
        elif table.name == CORPORATE.name:
            yield from _transactions(world, "corporate", settings, state, ctx, source)

    return dlt.resource(extract, name=table.name)


def _population(
    world: World, kind: str, sizes: Population, state: MutableMapping[str, Any], now: datetime
) -> Iterator[pa.Table]:
    """Deliver the first rows once; then some changed and some new ones."""
    delivered, changes = int(state.get("delivered", 0)), int(state.get("changes", 0))
    changed = min(sizes.changed, sizes.first) if delivered >= sizes.first else 0
    upto = delivered + sizes.new if delivered >= sizes.first else sizes.first
    build = people.customers if kind == "customers" else people.corporates
    whom, version = world.turn(kind, sizes.first, np.arange(changes, changes + changed, dtype=np.int64))
    fresh = np.arange(delivered, upto, dtype=np.int64)
    numbers = np.concatenate([whom, fresh])
    versions = np.concatenate([version, np.zeros(len(fresh), np.int64)])
    for start in range(0, len(numbers), PAGE_ROWS):
        page = slice(start, start + PAGE_ROWS)
        yield build(world, numbers[page], versions[page], now.astimezone(UTC).date())
    state["delivered"], state["changes"] = upto, changes + changed


def _transactions(
    world: World,
    kind: Kind,
    settings: FakerSource,
    state: MutableMapping[str, Any],
    ctx: SourceContext,
    source: str,
) -> Iterator[pa.Table]:
    """Deliver the next rows, spread over the time since the last run."""
    tables = settings.resources
    sizes = tables.raw_transaction_personal if kind == "personal" else tables.raw_transaction_corporate
    market = Market.of(settings.seed, [asset for assets in ctx.assets.values() for asset in assets])
    if not market.assets:
        raise SourceError(
            source,
            "there are no assets to trade",
            "Add an asset list under `assets` in pipelines.yaml.",
            terminal=True,
        )
    first, runs = int(state.get("next", 0)), int(state.get("runs", 0))
    period = _period(state.get("until"), ctx.now, sizes)
    changed = min(tables.raw_customers.changed, world.customers)
    trades = Trades(world, kind, market, period, changes=changed * max(0, runs))
    for start in range(first, first + sizes.rows, PAGE_ROWS):
        yield trades.rows(start, min(PAGE_ROWS, first + sizes.rows - start))
    state["next"], state["runs"], state["until"] = first + sizes.rows, runs + 1, period.end.isoformat()


def _period(until: str | None, now: datetime, sizes: PersonalTransactions) -> Period:
    """From the end of the last run's period to this minute; a clock that went back still gives a minute."""
    end = now.astimezone(UTC).replace(second=0, microsecond=0)
    start = datetime.fromisoformat(until) if until else end - timedelta(days=sizes.history_days)
    return Period(min(start, end - timedelta(minutes=1)), end)
