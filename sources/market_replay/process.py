"""The simulated price path: the price of an asset at an instant is a pure function of (seed, symbol, instant).

How it is made, from coarse to fine. Every random number is hashed from (seed, symbol, what it is for):

1. Daily grid. The log of the price follows a random walk with normal steps of the asset's daily volatility, a year's
   steps from one generator; it equals the universe's start price at the start of 2026 and is walked forwards and
   backwards from there. Stocks have a step only on trading days; stablecoins have no memory (each day's level is
   drawn around 1).
2. Hours. Between a day's two levels runs a Brownian bridge over its sessions of 60 minutes (24 for a coin; for a stock
   seven from 09:30 to 16:00, the last of 30 minutes, after an overnight gap of 0.3 of the day's step). An hour's high
   and low are drawn from the exact law of a bridge's maximum: (a + b + sqrt((b - a)^2 - 2 s^2 ln u)) / 2.
3. Minutes. Inside an hour runs another bridge, held between the hour's low and high, which one minute each touches;
   inside a minute the price is linear. So open, high, low and close agree across every interval.

Volumes are whole lots (a coin's 1e-5, one share): a lognormal draw per hour around the asset's turnover, split over the
minutes without a rest. History begins on 2021-01-01 (`FIRST_DAY`).
"""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

from sources.market_replay import nyse
from sources.market_replay.universe import Listing

DAY = 86_400
HOUR = 3_600
MINUTE = 60
ANCHOR_YEAR = 2026
FIRST_DAY = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp())
OVERNIGHT = 0.3
COIN_LOT = 1e-5
DAILY_TURNOVER = {"stock": 0.006, "crypto": 0.02}
_EPOCH = date(1970, 1, 1).toordinal()


class Candle(NamedTuple):
    """Prices in dollars; volume in whole lots (a coin's 1e-5, one share)."""

    open: float
    high: float
    low: float
    close: float
    volume: int

    def then(self, later: Candle) -> Candle:
        """This candle and the one after it as one."""
        return Candle(
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
        )


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The date of a day number."""
    return date.fromordinal(number + _EPOCH)


class PriceProcess:
    """Prices, candles and volumes of every listing for one seed. Thread-safe: it only caches pure functions."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._year_levels = lru_cache(maxsize=4096)(self._compute_year_levels)
        self._hours = lru_cache(maxsize=8192)(self._compute_hours)
        self._minutes = lru_cache(maxsize=8192)(self._compute_minutes)
        self._day_candle = lru_cache(maxsize=200_000)(self._compute_day_candle)

    def random(self, *purpose: object) -> random.Random:
        """A generator that depends on the seed and on what it is for, and on nothing else."""
        return random.Random("/".join(map(str, (self.seed, *purpose))))  # noqa: S311 - a simulation

    # -- the daily grid -----------------------------------------------------------------------------------------

    def _compute_year_levels(self, asset: Listing, year: int) -> tuple[float, ...]:
        """Log levels (0 at the anchor) at the end of each day of the year, the year's starting level first."""
        first, last = day_number(date(year, 1, 1)), day_number(date(year + 1, 1, 1))
        draw = self.random(asset.asset_type, asset.symbol, "year", year)
        steps = [asset.volatility * _normal(draw) for _ in range(first, last)]
        if asset.pegged:
            return (self._pegged_start(asset, year), *steps)
        if asset.is_stock:
            steps = [step if nyse.is_trading_day(day_of(first + i)) else 0.0 for i, step in enumerate(steps)]
        if year == ANCHOR_YEAR:
            level = 0.0
        elif year > ANCHOR_YEAR:
            level = self._year_levels(asset, year - 1)[-1]
        else:
            level = self._year_levels(asset, year + 1)[0] - sum(steps)
        levels = [level]
        for step in steps:
            level += step
            levels.append(level)
        return tuple(levels)

    def _pegged_start(self, asset: Listing, year: int) -> float:
        """A stablecoin's year starts where the year before ended."""
        if day_number(date(year, 1, 1)) * DAY <= FIRST_DAY:
            return 0.0
        return self._year_levels(asset, year - 1)[-1]

    def _close_level(self, asset: Listing, number: int) -> float:
        """The log level at the end of a day."""
        day = day_of(number)
        return self._year_levels(asset, day.year)[day.timetuple().tm_yday]

    # -- a day and its hours ------------------------------------------------------------------------------------

    def session(self, asset: Listing, number: int) -> tuple[int, int] | None:
        """First second and length in minutes of a day's trading; None on a day without any, or before history."""
        if number * DAY < FIRST_DAY:
            return None
        if not asset.is_stock:
            return number * DAY, 1440
        day = day_of(number)
        return (nyse.session_open(day), nyse.SESSION_MINUTES) if nyse.is_trading_day(day) else None

    def _compute_hours(self, asset: Listing, number: int) -> tuple[Candle, ...]:
        """The day's candles of 60 minutes (a stock's last one has 30)."""
        minutes = 390 if asset.is_stock else 1440
        before, end = self._close_level(asset, number - 1), self._close_level(asset, number)
        start = before + OVERNIGHT * (end - before) if asset.is_stock else before
        lengths = [min(60, minutes - m) for m in range(0, minutes, 60)]
        draw = self.random(asset.asset_type, asset.symbol, "day", number)
        sigmas = [asset.volatility * math.sqrt(length / minutes) for length in lengths]
        levels = _bridge(draw, start, end, sigmas)
        lots = DAILY_TURNOVER[asset.asset_type] * asset.supply / (1 if asset.is_stock else COIN_LOT)
        busy = math.exp(0.35 * _normal(draw))
        candles = []
        for i, (sigma, length) in enumerate(zip(sigmas, lengths, strict=True)):
            low, high = _extremes(draw, levels[i], levels[i + 1], sigma)
            volume = int(lots * busy * length / minutes * math.exp(0.4 * _normal(draw))) + 1
            prices = (asset.start_price * math.exp(level) for level in (levels[i], high, low, levels[i + 1]))
            candles.append(Candle(*prices, volume))
        return tuple(candles)

    def _compute_minutes(self, asset: Listing, number: int, hour: int) -> tuple[Candle, ...]:
        """The minutes of one hour of a day; their extremes and volume are the hour's."""
        whole = self._hours(asset, number)[hour]
        count = min(60, 390 - 60 * hour) if asset.is_stock else 60
        draw = self.random(asset.asset_type, asset.symbol, "hour", number, hour)
        top, floor = math.log(whole.high), math.log(whole.low)
        sigma = asset.volatility / math.sqrt(390 if asset.is_stock else 1440)
        levels = _bridge(draw, math.log(whole.open), math.log(whole.close), [sigma] * count)
        levels = [min(top, max(floor, level)) for level in levels]
        bounds = [_extremes(draw, levels[i], levels[i + 1], sigma) for i in range(count)]
        highest = max(range(count), key=lambda i: bounds[i][1])
        lowest = min(range(count), key=lambda i: bounds[i][0])
        prices = [whole.open, *(min(whole.high, max(whole.low, math.exp(x))) for x in levels[1:-1]), whole.close]
        volumes = _split(draw, whole.volume, count)
        candles = []
        for i, (low, high) in enumerate(bounds):
            first, last = prices[i], prices[i + 1]
            peak = whole.high if i == highest else min(whole.high, max(first, last, math.exp(high)))
            dip = whole.low if i == lowest else max(whole.low, min(first, last, math.exp(low)))
            candles.append(Candle(first, peak, dip, last, volumes[i]))
        return tuple(candles)

    def _compute_day_candle(self, asset: Listing, number: int) -> Candle:
        hours = self._hours(asset, number)
        return _merge(hours)

    # -- what the APIs ask --------------------------------------------------------------------------------------

    def day(self, asset: Listing, number: int) -> Candle | None:
        """A whole day's candle; None on a day without trading."""
        return self._day_candle(asset, number) if self.session(asset, number) else None

    def window(self, asset: Listing, start: float, end: float) -> Candle | None:
        """What traded in [start, end) (epoch seconds), or None if nothing could. The end may lie inside a minute."""
        pieces: list[Candle] = []
        first = int(start // DAY) - (1 if asset.is_stock else 0)
        for number in range(first, int(end // DAY) + 1):
            session = self.session(asset, number)
            if session is None or session[0] >= end:
                continue
            opens, minutes = session
            if start <= opens and opens + minutes * MINUTE <= end:
                pieces.append(self._day_candle(asset, number))
            elif start < opens + minutes * MINUTE:
                pieces.extend(self._within(asset, number, opens, start, end))
        return _merge(pieces) if pieces else None

    def _within(self, asset: Listing, number: int, opens: int, start: float, end: float) -> list[Candle]:
        pieces: list[Candle] = []
        for hour, candle in enumerate(self._hours(asset, number)):
            at = opens + hour * HOUR
            length = min(HOUR, 390 * MINUTE - hour * HOUR) if asset.is_stock else HOUR
            if start <= at and at + length <= end:
                pieces.append(candle)
            elif at < end and start < at + length:
                minutes = self._minutes(asset, number, hour)
                for i in range(max(0, int((start - at) // MINUTE)), len(minutes)):
                    piece = _clip(minutes[i], at + i * MINUTE, start, end)
                    if piece is None:
                        break
                    pieces.append(piece)
        return pieces

    def price(self, asset: Listing, instant: float) -> float:
        """The price at an instant: a stock's last close outside its hours; the first price before history."""
        number = int(max(instant, FIRST_DAY) // DAY)
        session = self.session(asset, number)
        while session is None or session[0] > instant:
            if number * DAY <= FIRST_DAY:
                return asset.start_price * math.exp(self._close_level(asset, number))
            number -= 1
            session = self.session(asset, number)
        opens, minutes = session
        minute, second = divmod(instant - opens, MINUTE)
        if minute >= minutes:
            return self._hours(asset, number)[-1].close
        hour, within = divmod(int(minute), 60)
        candle = self._minutes(asset, number, hour)[within]
        return candle.open + (candle.close - candle.open) * second / MINUTE


def _normal(draw: random.Random) -> float:
    """A standard normal number (Box and Muller), from two uniform ones: the same on every Python."""
    return math.sqrt(-2 * math.log(1 - draw.random())) * math.cos(math.tau * draw.random())


def _bridge(draw: random.Random, start: float, end: float, sigmas: list[float]) -> list[float]:
    """A Brownian path over steps of these standard deviations, pinned at both ends: len(sigmas) + 1 levels."""
    walk, total = [0.0], 0.0
    for sigma in sigmas:
        total += sigma * _normal(draw)
        walk.append(total)
    variance = sum(sigma * sigma for sigma in sigmas)
    levels, passed = [start], 0.0
    for i, sigma in enumerate(sigmas[:-1], start=1):
        passed += sigma * sigma
        share = passed / variance if variance else i / len(sigmas)
        levels.append(start + walk[i] + share * (end - start - total))
    levels.append(end)
    return levels


def _extremes(draw: random.Random, start: float, end: float, sigma: float) -> tuple[float, float]:
    """Low and high of a Brownian bridge between two levels (each from its exact law, drawn independently)."""
    spread = (end - start) ** 2
    up = math.sqrt(spread - 2 * sigma * sigma * math.log(1 - draw.random()))
    down = math.sqrt(spread - 2 * sigma * sigma * math.log(1 - draw.random()))
    return min(start, end, (start + end - down) / 2), max(start, end, (start + end + up) / 2)


def _split(draw: random.Random, whole: int, parts: int) -> list[int]:
    """Whole numbers that add up to `whole`."""
    weights = [0.3 + draw.random() for _ in range(parts)]
    total, given, spent = sum(weights), [], 0
    passed = 0.0
    for weight in weights:
        passed += weight
        upto = whole if len(given) == parts - 1 else int(whole * (passed / total))
        given.append(upto - spent)
        spent = upto
    return given


def _clip(minute: Candle, at: int, start: float, end: float) -> Candle | None:
    """The part of a minute that began at `at` inside [start, end); None after its end."""
    if at >= end:
        return None
    if start <= at and at + MINUTE <= end:
        return minute
    begin, stop = max(0.0, start - at) / MINUTE, min(MINUTE, end - at) / MINUTE
    first = minute.open + (minute.close - minute.open) * begin
    last = minute.open + (minute.close - minute.open) * stop
    return Candle(first, max(first, last), min(first, last), last, int(minute.volume * (stop - begin)))


def _merge(candles: tuple[Candle, ...] | list[Candle]) -> Candle:
    return Candle(
        candles[0].open,
        max(candle.high for candle in candles),
        min(candle.low for candle in candles),
        candles[-1].close,
        sum(candle.volume for candle in candles),
    )
