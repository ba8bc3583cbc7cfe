"""What an asset costs on a day, in whole ticks.

Level on day d: base x exp(M + D). M is a straight line between normal draws 30 days apart, D a daily normal draw;
their deviations are 0.25 and 0.03 for crypto, 0.10 and 0.012 for stocks, 0.0005 and 0.0002 for coins pinned to the
dollar: a lognormal walk around a fixed level, the same for everybody with the same seed. The base is a rough level of
the last years for well-known assets (BASES), else a lognormal draw from the symbol (median 120 dollars for a stock,
2 dollars for a coin). A trade deviates from its day's level by a normal draw of 0.4 % (0.02 % for pinned coins).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from sources.faker.draws import Bits, Ints, draw, looked_up, normal_quantiles
from sources.protocol import Asset

BASES = {
    "BTC": 65_000.0, "ETH": 3_000.0, "BNB": 600.0, "SOL": 150.0, "XRP": 0.6, "ADA": 0.45, "DOGE": 0.12, "TRX": 0.12,
    "AVAX": 30.0, "DOT": 6.5, "LINK": 14.0, "LTC": 80.0, "BCH": 400.0, "SHIB": 0.00002, "PEPE": 0.00001, "XLM": 0.11,
    "AAPL": 190.0, "MSFT": 410.0, "GOOGL": 160.0, "AMZN": 180.0, "NVDA": 120.0, "META": 500.0, "TSLA": 220.0,
    "BRK-B": 420.0, "JPM": 200.0, "V": 270.0, "JNJ": 155.0, "WMT": 70.0, "XOM": 112.0, "KO": 62.0,
}  # fmt: skip
PINNED = frozenset({"USDT", "USDC", "DAI", "FDUSD", "USDE", "TUSD", "PYUSD"})
MONTH = 30
_TRADE_DEVIATION = 0.004
_PINNED_CALM = 20
_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Swing:
    """Deviations of the logarithm of a price: between months, and between days."""

    month: float
    day: float


SWINGS = {"crypto": Swing(0.25, 0.03), "stock": Swing(0.10, 0.012), "pinned": Swing(0.0005, 0.0002)}


@dataclass(frozen=True)
class Market:
    """Prices of the project's assets: arrays are by position in `assets`."""

    seed: int
    assets: tuple[Asset, ...]

    @classmethod
    def of(cls, seed: int, assets: Sequence[Asset]) -> Market:
        """Build from assets, each symbol and type once, in their order."""
        return cls(seed, tuple({(asset.symbol, asset.asset_type): asset for asset in assets}.values()))

    @cached_property
    def bases(self) -> list[float]:
        """The level around which each price walks, in dollars."""
        return [self._base(asset) for asset in self.assets]

    @cached_property
    def price_places(self) -> Ints:
        """Digits after the point of each price: 2 for stocks, else about six significant digits (2 to 9).

        At most nine, so that DECIMAL(38,9) operands keep every product exact in the models.
        """
        places = [
            2 if asset.asset_type == "stock" else min(9, max(2, 5 - math.floor(math.log10(base))))
            for asset, base in zip(self.assets, self.bases, strict=True)
        ]
        return np.array(places, dtype=np.int64)

    @cached_property
    def quantity_places(self) -> Ints:
        """Digits after the point of each quantity: 2 for stocks, else finer for dearer coins (0 to 8)."""
        places = [
            2 if asset.asset_type == "stock" else min(8, max(0, 3 + math.ceil(math.log10(base))))
            for asset, base in zip(self.assets, self.bases, strict=True)
        ]
        return np.array(places, dtype=np.int64)

    def levels(self, first_day: int, days: int) -> Ints:
        """Prices in ticks, one row an asset and one column a day (days are counted from 1970-01-01)."""
        ticks = np.empty((len(self.assets), days), dtype=np.int64)
        day = np.arange(first_day, first_day + days, dtype=np.int64)
        month, rest = np.divmod(day, MONTH)
        for at, asset in enumerate(self.assets):
            swing = SWINGS.get("pinned" if asset.symbol in PINNED else asset.asset_type, SWINGS["stock"])
            name = f"{asset.asset_type}/{asset.symbol}"
            before, after = (self._normal(f"month/{name}", month + step) for step in (0, 1))
            walk = swing.month * (before + (after - before) * rest / MONTH) + swing.day * self._normal(name, day)
            dollars = self.bases[at] * np.exp(walk)
            ticks[at] = np.maximum(1, np.rint(dollars * 10.0 ** int(self.price_places[at])))
        return ticks

    def traded(self, assets: Ints, levels: Ints, bits: Bits) -> Ints:
        """Move the levels of these assets a little, as trades within a day do; never below one tick."""
        moves = looked_up(bits, self._trade_moves) // self._calm[assets]
        prices: Ints = np.maximum(1, levels * (_PPM + moves) // _PPM)
        return prices

    @cached_property
    def _calm(self) -> Ints:
        return np.array([_PINNED_CALM if asset.symbol in PINNED else 1 for asset in self.assets], dtype=np.int64)

    @cached_property
    def _trade_moves(self) -> Ints:
        return np.rint(normal_quantiles() * _TRADE_DEVIATION * _PPM).astype(np.int64)

    @cached_property
    def _quantiles(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return normal_quantiles()

    def _normal(self, name: str, numbers: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        slots = (draw(self.seed, f"level/{name}", numbers) >> np.uint64(52)).astype(np.int64)
        return self._quantiles[slots]

    def _base(self, asset: Asset) -> float:
        if asset.symbol in PINNED:
            return 1.0
        if asset.symbol in BASES:
            return BASES[asset.symbol]
        bits = int(draw(self.seed, f"base/{asset.asset_type}/{asset.symbol}", np.zeros(1, np.int64))[0])
        normal = NormalDist().inv_cdf((bits / 2**64) * 0.98 + 0.01)
        return 120.0 * math.exp(0.7 * normal) if asset.asset_type == "stock" else 2.0 * math.exp(1.8 * normal)
