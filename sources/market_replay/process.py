"""The simulated price path: the price of an asset at an instant is a pure function of (seed, symbol, instant).

How it is made, from coarse to fine. Every random number is hashed from (seed, symbol, what it is for):

1. Daily grid. The log of the price follows a random walk with normal steps of the asset's daily volatility, a year's
   steps from one generator; it equals the universe's start price at the start of 2026 and is walked forwards and
   backwards from there. Stocks have a step only on trading days, 0.3 of it overnight; stablecoins have no memory (each
   day's level is drawn around 1). A day's high and low are drawn from the exact law of the maximum of a Brownian
   bridge between its levels a and b: (a + b + sqrt((b - a)^2 - 2 s^2 ln u)) / 2.
2. Hours, then minutes. Each candle is cut into parts along a Brownian bridge from its open to its close, stretched so
   that it just reaches the candle's high and low (24 hours a day for a coin; for a stock seven from 09:30 to 16:00, the
   last of 30 minutes). Inside a minute the price is linear. So open, high, low and close agree across every interval.

Volumes are whole lots (a coin's 1e-5, one share): a lognormal draw a day around the asset's turnover, cut like the
candles and without a rest. History begins on 2021-01-01 (`FIRST_DAY`).
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


def year_of(number: int) -> int:
    """The year of a day number."""
    return day_of(number).year


def day_of(number: int) -> date:
    """The date of a day number."""
    return date.fromordinal(number + _EPOCH)


class Year(NamedTuple):
    """A year's walk: n + 1 log levels around its n days, and each day's candle (None without trading)."""

    levels: tuple[float, ...]
    candles: tuple[Candle | None, ...]


class PriceProcess:
    """Prices, candles and volumes of every listing for one seed. Thread-safe: it only caches pure functions."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._year = lru_cache(maxsize=8192)(self._compute_year)
        self._hours = lru_cache(maxsize=8192)(self._compute_hours)
        self._minutes = lru_cache(maxsize=8192)(self._compute_minutes)

    def random(self, *purpose: object) -> random.Random:
        """A generator that depends on the seed and on what it is for, and on nothing else."""
        return random.Random("/".join(map(str, (self.seed, *purpose))))  # noqa: S311 - a simulation

    # -- from coarse to fine ------------------------------------------------------------------------------------

    def _compute_year(self, asset: Listing, year: int) -> Year:
        """The walk over one year, and what traded on each of its days."""
        first, last = day_number(date(year, 1, 1)), day_number(date(year + 1, 1, 1))
        draw = self.random(asset.asset_type, asset.symbol, year)
        open_days = [not asset.is_stock or nyse.is_trading_day(day_of(number)) for number in range(first, last)]
        steps = [asset.volatility * _normal(draw) if is_open else 0.0 for is_open in open_days]
        levels = self._levels(asset, year, steps)
        lots = DAILY_TURNOVER[asset.asset_type] * asset.supply / (1 if asset.is_stock else COIN_LOT)
        candles: list[Candle | None] = []
        for is_open, before, after in zip(open_days, levels, levels[1:], strict=False):
            start = before + OVERNIGHT * (after - before) if asset.is_stock else before
            low, high = _extremes(draw, start, after, asset.volatility)
            volume = int(lots * math.exp(0.4 * _normal(draw))) + 1
            prices = [asset.start_price * math.exp(level) for level in (start, high, low, after)]
            candles.append(Candle(prices[0], prices[1], prices[2], prices[3], volume) if is_open else None)
        return Year(tuple(levels), tuple(candles))

    def _levels(self, asset: Listing, year: int, steps: list[float]) -> list[float]:
        """Log levels (0 at the anchor) before the year's first day and after each of its days."""
        if asset.pegged:
            first_year = year_of(FIRST_DAY // DAY)
            return [0.0 if year <= first_year else self._year(asset, year - 1).levels[-1], *steps]
        level = 0.0
        if year > ANCHOR_YEAR:
            level = self._year(asset, year - 1).levels[-1]
        elif year < ANCHOR_YEAR:
            level = self._year(asset, year + 1).levels[0] - sum(steps)
        return [level, *(level := level + step for step in steps)]

    def _compute_hours(self, asset: Listing, number: int) -> tuple[Candle, ...]:
        """A trading day in candles of 60 minutes (a stock's last one has 30)."""
        whole = self.day(asset, number)
        if whole is None:
            return ()
        minutes = nyse.SESSION_MINUTES if asset.is_stock else 1440
        lengths = [min(60, minutes - at) for at in range(0, minutes, 60)]
        sigma = asset.volatility / math.sqrt(minutes)
        return _refine(self.random(asset.asset_type, asset.symbol, "day", number), whole, sigma, lengths)

    def _compute_minutes(self, asset: Listing, number: int, hour: int) -> tuple[Candle, ...]:
        """One of a day's hours in candles of one minute."""
        minutes = nyse.SESSION_MINUTES if asset.is_stock else 1440
        whole = self._hours(asset, number)[hour]
        draw = self.random(asset.asset_type, asset.symbol, "hour", number, hour)
        return _refine(draw, whole, asset.volatility / math.sqrt(minutes), [1] * min(60, minutes - 60 * hour))

    def session(self, asset: Listing, number: int) -> tuple[int, int] | None:
        """First second and length in minutes of a day's trading; None on a day without any, or before history."""
        if number * DAY < FIRST_DAY:
            return None
        if not asset.is_stock:
            return number * DAY, 1440
        day = day_of(number)
        return (nyse.session_open(day), nyse.SESSION_MINUTES) if nyse.is_trading_day(day) else None

    # -- what the APIs ask --------------------------------------------------------------------------------------

    def day(self, asset: Listing, number: int) -> Candle | None:
        """A whole day's candle; None on a day without trading."""
        if number * DAY < FIRST_DAY:
            return None
        day = day_of(number)
        return self._year(asset, day.year).candles[day.timetuple().tm_yday - 1]

    def window(self, asset: Listing, start: float, end: float) -> Candle | None:
        """What traded in [start, end) (epoch seconds), or None if nothing could. The end may lie inside a minute."""
        pieces: list[Candle] = []
        first = int(start // DAY) - (1 if asset.is_stock else 0)
        for number in range(first, int(end // DAY) + 1):
            session = self.session(asset, number)
            if session is None or session[0] >= end:
                continue
            opens, minutes = session
            whole = self.day(asset, number)
            if whole is not None and start <= opens and opens + minutes * MINUTE <= end:
                pieces.append(whole)
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
                return asset.start_price * math.exp(self._year(asset, year_of(number)).levels[0])
            number -= 1
            session = self.session(asset, number)
        opens, minutes = session
        minute, second = divmod(instant - opens, MINUTE)
        if minute >= minutes:
            whole = self.day(asset, number)
            return asset.start_price if whole is None else whole.close
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


def _refine(draw: random.Random, whole: Candle, sigma: float, lengths: list[int]) -> tuple[Candle, ...]:
    """A candle cut into parts of some minutes each (`sigma`: of one minute), which together are that candle again.

    What a bridge from its open to its close does above and below the two is stretched to just reach its high and low.
    """
    sigmas = [sigma * math.sqrt(length) for length in lengths]
    start, end = math.log(whole.open), math.log(whole.close)
    path = _bridge(draw, start, end, sigmas)
    bounds = [_extremes(draw, path[i], path[i + 1], sigmas[i]) for i in range(len(lengths))]
    highest = max(range(len(bounds)), key=lambda i: bounds[i][1])
    lowest = min(range(len(bounds)), key=lambda i: bounds[i][0])
    upper, lower = max(start, end), min(start, end)
    up = _stretch(upper, bounds[highest][1], math.log(whole.high))
    down = _stretch(lower, bounds[lowest][0], math.log(whole.low))

    def fit(level: float) -> float:
        if level > upper:
            level = upper + (level - upper) * up
        elif level < lower:
            level = lower + (level - lower) * down
        return min(whole.high, max(whole.low, math.exp(level)))

    prices = [whole.open, *(fit(level) for level in path[1:-1]), whole.close]
    volumes = _split(draw, whole.volume, lengths)
    parts = []
    for i, (low, high) in enumerate(bounds):
        first, last = prices[i], prices[i + 1]
        peak = whole.high if i == highest else min(whole.high, max(first, last, fit(high)))
        dip = whole.low if i == lowest else max(whole.low, min(first, last, fit(low)))
        parts.append(Candle(first, peak, dip, last, volumes[i]))
    return tuple(parts)


def _stretch(level: float, reached: float, wanted: float) -> float:
    """The factor that brings what went beyond a level to where it should have gone."""
    return (wanted - level) / (reached - level) if reached != level else 1.0


def _split(draw: random.Random, whole: int, lengths: list[int]) -> list[int]:
    """Whole numbers that add up to `whole`, in random shares around the lengths."""
    weights = [length * (0.3 + draw.random()) for length in lengths]
    total, passed, spent = sum(weights), 0.0, 0
    given: list[int] = []
    for weight in weights:
        passed += weight
        upto = whole if len(given) == len(weights) - 1 else int(whole * (passed / total))
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
