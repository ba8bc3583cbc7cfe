"""The market as the APIs see it: the universe, the price path, the clock, and each API's own small spread."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import lru_cache

from sources.market_replay.process import COIN_LOT, Candle, PriceProcess
from sources.market_replay.universe import Listing, Universe, load_universe

SPREAD_BASIS_POINTS = 4
QUOTES_IN_DOLLARS = {"usd": 1.0, "usdt": 1.0, "usdc": 1.0, "fdusd": 1.0, "eur": 1.1612, "gbp": 1.3124, "jpy": 0.0065}


class Clock:
    """The replay's now: the wall clock, or a given instant that stands still or runs at a given speed."""

    def __init__(self, now: datetime | None = None, speed: float | None = None) -> None:
        self._lock = threading.Lock()
        self.set(now, speed)

    def set(self, now: datetime | None, speed: float | None = None) -> None:
        """Start anew from `now` (None: the wall clock); the speed is 0 with a given instant, 1 without."""
        with self._lock:
            self._wall = time.time()
            self._start = self._wall if now is None else (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp()
            self._speed = (1.0 if now is None else 0.0) if speed is None else speed

    def advance(self, seconds: float) -> None:
        """Move on by some simulated seconds."""
        with self._lock:
            self._start += seconds

    def __call__(self) -> float:
        """Epoch seconds, cut to milliseconds."""
        with self._lock:
            return int((self._start + (time.time() - self._wall) * self._speed) * 1000) / 1000


class Market:
    """What an API needs to answer: who is listed, what it costs there, and what time it is."""

    def __init__(self, seed: int = 7, clock: Clock | None = None, universe: Universe | None = None) -> None:
        self.seed = seed
        self.clock = clock or Clock()
        self.universe = universe or load_universe()
        self.process = PriceProcess(seed)
        self._factor = lru_cache(maxsize=None)(self._compute_factor)

    def now(self) -> float:
        """Epoch seconds."""
        return self.clock()

    def _compute_factor(self, api: str, asset: Listing) -> float:
        draw = self.process.random("spread", api, asset.asset_type, asset.symbol)
        width = SPREAD_BASIS_POINTS * (0.25 if asset.pegged else 1)
        return 1 + width * (2 * draw.random() - 1) / 10_000

    def price(self, api: str, asset: Listing, instant: float) -> float:
        """The asset's price there in dollars."""
        return self.process.price(asset, instant) * self._factor(api, asset)

    def window(self, api: str, asset: Listing, start: float, end: float) -> Candle | None:
        """What traded there in [start, end)."""
        candle = self.process.window(asset, start, end)
        return None if candle is None else self._scale(candle, self._factor(api, asset))

    @staticmethod
    def _scale(candle: Candle, factor: float) -> Candle:
        first, high, low, last, volume = candle
        return Candle(first * factor, high * factor, low * factor, last * factor, volume)

    def dollars(self, quote: str, instant: float) -> float | None:
        """What one unit of a quote currency is worth in dollars; None if nobody quotes in it."""
        fixed = QUOTES_IN_DOLLARS.get(quote.lower())
        if fixed is not None:
            return fixed
        asset = self.universe.by_base.get(quote.upper())
        return None if asset is None else self.process.price(asset, instant)


def coins(lots: int) -> float:
    """A volume in coins."""
    return lots * COIN_LOT


def decimals(price: float) -> int:
    """Digits after the point at which an asset of about this price is quoted: five significant ones, 2 to 8."""
    digits = 0
    while price < 10_000 and digits < 8:  # noqa: PLR2004
        price *= 10
        digits += 1
    return max(2, digits)


def iso(instant: float) -> str:
    """2026-05-18T12:49:21.599Z."""
    return datetime.fromtimestamp(instant, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
