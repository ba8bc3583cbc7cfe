"""Histories: what could have been delivered, in what order, and what went wrong on the way.

`histories()` draws one, `settled` plays it with all that happens in it, `clean` loads the same rows at once in the
order of their load times. Both give the state that must be one: keys, satellites and marts without lineage and
without first-seen stamps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.vault.adapter import Models, published
from tests.vault.suite import HUBS, LINKS, SATELLITES

MARTS = (
    "business.transaction",
    "business.asset_price_day",
    "dim_customer",
    "dim_customer_history",
    "dim_company",
    "dim_asset",
    "fct_transactions",
    "fct_asset_prices",
    "fct_asset_price_comparison",
    "fct_news_events",
    "fct_asset_news_impact",
    "fct_asset_candles",
    "eff_sat_customer_company",
    "eff_sat_customer_transaction",
    "semantic_transactions",
    "semantic_customer_overview",
    "semantic_asset_performance",
)
FIRST_SEEN = frozenset({"load_timestamp", "record_source"})
"""Of hubs, links and dimensions: a later run never changes them, so they tell what arrived first."""
TIMES = [f"2024-01-01T{hour:02}:00:00Z" for hour in (1, 2, 3, 4)]

State = Mapping[str, "Counter[tuple[tuple[str, str], ...]]"]


class KilledError(RuntimeError):
    """The run was stopped at a statement."""


@dataclass(frozen=True)
class Delivery:
    """Rows of one table, delivered together; what happens right after: nothing, a run, or one that dies."""

    table: str
    rows: tuple[Mapping[str, Any], ...]
    again: bool
    then: str
    statement: int
    """At which statement on the warehouse a run dies."""


def _rows(deleted: Sequence[str] = (), **choices: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw rows of these columns' values; now and then a deletion, which has the columns of `deleted` alone."""
    values = {name: st.sampled_from(chosen) for name, chosen in choices.items()}
    row = st.fixed_dictionaries(values)
    if deleted:
        gone = {name: values[name] for name in (*deleted, "source", "load_timestamp")}
        row = st.one_of(row, row, row, st.fixed_dictionaries({**gone, "is_deleted": st.just(value=True)}))
    return st.lists(row, min_size=1, max_size=3).map(tuple)


TABLES: Mapping[str, st.SearchStrategy[Any]] = {
    "raw_assets": _rows(
        asset_symbol=["BTC", "asml", "ETH"],
        asset_type=["crypto", "stock"],
        asset_name=["One", "Two", None],
        asset_category=["Layer 1", None],
        source=["assets"],
        load_timestamp=TIMES,
    ),
    "raw_crypto_candles_binance": _rows(
        symbol=["BTCUSDT"],
        base_currency=["BTC"],
        quote_currency=["USDT"],
        interval=["1h"],
        open_time=["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"],
        close_time=["2024-01-01T01:59:59.999Z"],  # before some load times, after others: then it is open
        open=["1"],
        high=["9"],
        low=["1"],
        close=["2", "3", None],
        source=["binance"],
        load_timestamp=TIMES,
    ),
    "raw_customers": _rows(
        ["customer_id"],
        customer_id=["C-1", " c-2", None],
        company_id=["K-1", "K-2", None],
        country=["GB", "US"],
        source=["CRM", "WEB"],
        load_timestamp=TIMES,
    ),
    "raw_corporates": _rows(
        ["company_id"], company_id=["K-1", "C-1"], country=["NL", "BE"], source=["ERP"], load_timestamp=TIMES
    ),
    "raw_transaction_personal": _rows(
        ["transaction_id"],
        transaction_id=["T-1", "t-2"],
        customer_id=["C-1", "C-2"],
        asset_symbol=["BTC", None],
        asset_type=["crypto"],
        transaction_amount=["100", "90"],
        fee_amount=["1"],
        quantity=["2"],
        price_per_unit=["50"],
        source=["TXP"],
        load_timestamp=TIMES,
    ),
    "raw_transaction_corporate": _rows(
        transaction_id=["T-1", "T-3"],
        customer_id=["K-1", "C-1"],
        asset_symbol=["ASML"],
        asset_type=["stock"],
        transaction_amount=["7000"],
        source=["TXC"],
        load_timestamp=TIMES,
    ),
    "raw_cryptoprices_coingecko": _rows(
        symbol=["bitcoin"],
        base_currency=["BTC"],
        quote_currency=["USD", "EUR"],
        price=["1", "2", "NaN"],
        observed_at=["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"],
        source=["coingecko"],
        load_timestamp=TIMES,
    ),
    "raw_stockprices_yfinance": _rows(
        ticker=["ASML"],
        close_price=["700", "710"],
        currency=["EUR", None],
        market_cap=["1", "2"],
        observed_at=["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"],
        source=["yfinance"],
        load_timestamp=TIMES,
    ),
    "raw_news": _rows(
        url=["https://wire.example/a", "https://wire.example/b"],
        ticker=["BTC", "ASML", None],
        asset_type=["crypto", "stock"],
        date=["2024-01-01"],
        title=["x", "y"],
        source=["WIRE"],
        load_timestamp=TIMES,
    ),
}


@st.composite
def histories(draw: st.DrawFn, longest: int = 7) -> tuple[Delivery, ...]:
    """Draw deliveries in the order in which they arrive."""
    deliveries = []
    for _ in range(draw(st.integers(4, longest))):
        table = draw(st.sampled_from(sorted(TABLES)))
        then = draw(st.sampled_from(["nothing", "run", "dies"]))
        deliveries.append(Delivery(table, draw(TABLES[table]), draw(st.booleans()), then, draw(st.integers(1, 120))))
    return tuple(deliveries)


BEFORE_THE_KILL = (
    Delivery(
        "raw_customers",
        (
            {"customer_id": "C-1", "company_id": "K-1", "country": "GB", "source": "CRM", "load_timestamp": TIMES[1]},
            {"customer_id": "C-2", "country": "US", "source": "CRM", "load_timestamp": TIMES[1]},
        ),
        again=False,
        then="run",
        statement=0,
    ),
    Delivery(
        "raw_transaction_personal",
        (
            {"transaction_id": "T-1", "customer_id": "C-1", "asset_symbol": "BTC", "asset_type": "crypto",
             "transaction_amount": "100", "fee_amount": "1", "source": "TXP", "load_timestamp": TIMES[1]},
        ),
        again=False,
        then="run",
        statement=0,
    ),
)  # fmt: skip
THE_KILLED = (
    Delivery(
        "raw_customers",
        (
            {"customer_id": "C-1", "company_id": "K-2", "country": "GB", "source": "CRM", "load_timestamp": TIMES[0]},
            {"customer_id": "C-2", "country": "FR", "source": "WEB", "load_timestamp": TIMES[2]},
            {"customer_id": "C-3", "country": "FR", "source": "WEB", "load_timestamp": TIMES[2]},
        ),
        again=False,
        then="dies",
        statement=0,
    ),
    Delivery(
        "raw_transaction_personal",
        (
            {"transaction_id": "T-1", "customer_id": "C-2", "asset_symbol": "BTC", "asset_type": "crypto",
             "transaction_amount": "90", "fee_amount": "1", "source": "TXP", "load_timestamp": TIMES[2]},
        ),
        again=False,
        then="dies",
        statement=0,
    ),
)  # fmt: skip


def clean(models: Models, history: Sequence[Delivery]) -> State:
    """Load every row once, in the order of load times, in one run."""
    models.empty()
    for table in sorted({delivery.table for delivery in history}):
        rows = [row for delivery in history if delivery.table == table for row in delivery.rows]
        models.land(table, sorted(rows, key=lambda row: row["load_timestamp"]))
    models.run(None)
    return state(models)


def settled(models: Models, history: Sequence[Delivery]) -> tuple[State, int]:
    """Play a history as it is and run until all is done; return the state and how many runs died."""
    models.empty()
    deaths = 0
    for number, delivery in enumerate(history):
        models.land(delivery.table, delivery.rows)
        if delivery.again:
            earlier = history[number // 2]
            models.land(earlier.table, earlier.rows[::-1])
        if delivery.then == "run":
            models.run(None)
        elif delivery.then == "dies":
            deaths += _dies(models, delivery.statement)
    models.run(None)
    return state(models), deaths


def restated(models: Models) -> State:
    """Build every model anew from landing, as `engine replay` does; return the state."""
    models.restate()
    return state(models)


def _dies(models: Models, statement: int) -> bool:
    """Run until a statement on the warehouse; tell whether it came to that."""
    with dying_at(models, statement, _raise) as died:
        try:
            models.run(None)
        except Exception:
            if not died:
                raise
    return bool(died)


def _raise() -> None:
    raise KilledError("killed")


LAST_WORDS = re.compile(r"(^|\*/ )(ROLLBACK|DROP TABLE IF EXISTS temp\.)")
"""What an exception still sets off, as a process that is gone does by being gone. SQLMesh puts a comment before it."""


@contextmanager
def dying_at(models: Models, statement: int, die: Callable[[], None]) -> Iterator[list[str]]:
    """Call `die` in place of the warehouse's n-th statement, and of every one that would follow but a rollback."""
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    execute, pool = EngineAdapter._execute, models.context.engine_adapter._connection_pool
    seen = 0
    died: list[str] = []

    def counted(adapter: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        if adapter._connection_pool is pool:
            seen += 1
            if seen >= statement and not LAST_WORDS.search(sql):
                died.append(sql)
                die()
        return execute(adapter, sql, *args, **kwargs)

    EngineAdapter._execute = counted
    try:
        yield died
    finally:
        EngineAdapter._execute = execute


def state(models: Models) -> State:
    """Return what must not depend on the way it came about."""
    first_seen = {*(f"hub_{hub}" for hub in HUBS), *LINKS, "dim_customer", "dim_company", "dim_asset"}
    found = {}
    for table in (*(f"hub_{hub}" for hub in HUBS), *LINKS, *SATELLITES, *MARTS):
        left_out = FIRST_SEEN if table in first_seen else frozenset()
        found[table] = Counter(
            tuple(sorted((name, str(value)) for name, value in row.items() if name[0] != "_" and name not in left_out))
            for row in models.rows(published(table))
        )
    return found


def difference(one: State, other: State) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return by table the rows that only one of two states has."""
    return {
        table: ([*(one[table] - other[table])], [*(other[table] - one[table])])
        for table in one
        if one[table] != other[table]
    }
