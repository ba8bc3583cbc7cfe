"""Transactions as Arrow tables: amounts are quantity x price to the last digit, fees a percentage rounded half even.

A row follows from (seed, table, number) and from the period it is spread over; the price of its asset follows from
the symbol and the day (market.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa

from sources.faker.draws import Ints, below, draw, looked_up, normal_quantiles, skewed, weighted
from sources.faker.exact import chosen, decimals, half_even
from sources.faker.market import Market
from sources.faker.people import RISKS, TIERS, World

Kind = Literal["personal", "corporate"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_FEES = {"personal": np.array([50, 35, 25, 15]), "corporate": np.array([20, 15, 10, 5])}
"""Fee in basis points of the amount, by tier."""
_NOTIONAL = {"personal": (np.log(40_000.0), 1.3, 5_000_000), "corporate": (np.log(2_500_000.0), 1.1, 500_000_000)}
"""A trade's size in cents: the logarithm's mean and deviation, and the largest."""
_CRYPTO_PERCENT = {"personal": 60, "corporate": 25}
_CHANNELS = {"personal": ["MOBILE", "WEB", "API"], "corporate": ["DESK", "API", "WEB"]}


@dataclass(frozen=True, slots=True)
class Period:
    """The time that rows are spread over: [start, end), at least a millisecond."""

    start: datetime
    end: datetime

    @property
    def first(self) -> int:
        """Milliseconds from 1970 to the start."""
        return (self.start - _EPOCH) // timedelta(milliseconds=1)

    @property
    def length(self) -> int:
        """Milliseconds from start to end."""
        return max(1, (self.end - self.start) // timedelta(milliseconds=1))


class Trades:
    """The transactions of one kind in one world, over one period; `changes` customers have changed before it."""

    def __init__(self, world: World, kind: Kind, market: Market, period: Period, changes: int = 0) -> None:
        self._world = world
        self._kind: Kind = kind
        self._market = market
        self._period = period
        self._first_day = period.first // _DAY
        last_day = (period.first + period.length - 1) // _DAY
        self._levels = market.levels(self._first_day, last_day - self._first_day + 1)
        self._assets = _AssetChoice.of(market, _CRYPTO_PERCENT[kind])
        parties = world.customers if kind == "personal" else world.corporates
        numbers = np.arange(parties, dtype=np.int64)
        if kind == "personal":
            versions = world.versions("customers", parties, changes)
            self._tiers, self._risks = world.tiers(numbers, versions), world.risks(numbers, versions)
        else:
            self._tiers, self._risks = world.corporate_tiers(numbers), world.corporate_risks(numbers)
        mean, deviation, largest = _NOTIONAL[kind]
        self._cents = np.clip(np.rint(np.exp(mean + deviation * normal_quantiles())), 500, largest).astype(np.int64)

    def rows(self, first: int, count: int) -> pa.Table:
        """Build rows `first` to `first + count - 1` of the table."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        party = self._drawn_party(numbers)
        asset = self._assets.drawn(self._bits("asset", numbers), self._bits("rank", numbers))
        instant = self._period.first + (self._bits("time", numbers) % np.uint64(self._period.length)).astype(np.int64)
        day = instant // _DAY
        price = self._market.traded(asset, self._levels[asset, day - self._first_day], self._bits("move", numbers))
        price_places, quantity_places = self._market.price_places[asset], self._market.quantity_places[asset]
        places = price_places + quantity_places
        cents = looked_up(self._bits("size", numbers), self._cents)
        quantity = np.maximum(1, cents * _TEN[places - 2] // price)
        amount = quantity * price
        tier = self._tiers[party]
        fee = half_even(amount * _FEES[self._kind][tier], _TEN[places + 2])
        letter, prefix = ("C", "P") if self._kind == "personal" else ("K", "B")
        return pa.table(
            {
                "transaction_id": self._world.ids(f"T{prefix}", numbers),
                "customer_id": self._world.ids(letter, party),
                "asset_type": chosen([one.asset_type for one in self._market.assets], asset),
                "asset_symbol": chosen([one.symbol for one in self._market.assets], asset),
                "transaction_type": chosen(["BUY", "SELL"], weighted(self._bits("side", numbers), [11, 9])),
                "quantity": decimals(quantity, quantity_places),
                "price_per_unit": decimals(price, price_places),
                "transaction_amount": decimals(amount, places),
                "fee_amount": decimals(fee, 2),
                "transaction_timestamp": pa.array(instant * 1_000).cast(pa.timestamp("us", "UTC")),
                "data_date": pa.array(day.astype(np.int32)).cast(pa.date32()),
                "customer_tier": chosen(TIERS, tier),
                "customer_risk_tolerance": chosen(RISKS, self._risks[party]),
                "customer_type": pa.repeat(self._kind, count),
                "data_source": chosen(_CHANNELS[self._kind], weighted(self._bits("channel", numbers), [6, 3, 1])),
                "quote_currency": pa.repeat("USD", count),
            }
        )

    def _drawn_party(self, numbers: Ints) -> Ints:
        return skewed(self._bits("party", numbers), len(self._tiers))

    def _bits(self, column: str, numbers: Ints) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return draw(self._world.seed, f"{self._kind}/{column}", numbers + self._world.base)


_TEN = np.array([10**power for power in range(19)], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _AssetChoice:
    """Coins and other assets, each list with its popular ones first."""

    coins: Ints
    others: Ints
    percent: int

    @classmethod
    def of(cls, market: Market, percent: int) -> _AssetChoice:
        """Split the market's assets."""
        coins = [at for at, asset in enumerate(market.assets) if asset.asset_type == "crypto"]
        others = [at for at, asset in enumerate(market.assets) if asset.asset_type != "crypto"]
        if not coins or not others:
            percent = 100 if coins else 0
        return cls(np.array(coins, dtype=np.int64), np.array(others, dtype=np.int64), percent)

    def drawn(
        self, which: np.ndarray[tuple[int], np.dtype[np.uint64]], rank: np.ndarray[tuple[int], np.dtype[np.uint64]]
    ) -> Ints:
        """Choose an asset for each row."""
        if self.percent in {0, 100}:
            only = self.coins if self.percent else self.others
            return only[skewed(rank, len(only))]
        crypto = below(which, 100) < self.percent
        return np.where(crypto, self.coins[skewed(rank, len(self.coins))], self.others[skewed(rank, len(self.others))])
