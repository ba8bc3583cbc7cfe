"""Yahoo Finance chart v8, as recorded: columns of bars, null where nothing traded, dividends and splits as events.

Prices of bars are 32-bit floats written out in full, as Yahoo's are (68.36849975585938); those of `meta` are rounded.
Bars before a split are adjusted once the split has happened, so the history restates itself on that day; `adjclose`
takes off later dividends, too. Only USD, and only one exchange calendar for shares.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sources.market_replay import nyse
from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market, coins, decimals
from sources.market_replay.process import DAY, FIRST_DAY, HOUR, MINUTE, Candle, day_number
from sources.market_replay.universe import Listing

API = "yahoo"
RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_RANGE_DAYS = {"1d": 1, "5d": 5, "1mo": 31, "3mo": 92, "6mo": 183, "1y": 365, "2y": 731, "5y": 1827, "10y": 3653}
INTRADAY = {"1m": MINUTE, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "60m": HOUR, "1h": HOUR, "90m": 5400}
INTERVALS = (*INTRADAY, "1d", "5d", "1wk", "1mo", "3mo")
LONGEST = {"1m": 8, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "60m": 730, "1h": 730}
"""Days back for which Yahoo keeps that granularity."""


@dataclass(frozen=True, slots=True)
class Action:
    """A dividend (dollars a share) or a split (new shares for old) at 09:30 of its day."""

    day: date
    amount: float = 0.0
    ratio: tuple[int, int] | None = None

    @property
    def instant(self) -> int:
        """When it takes effect, epoch seconds."""
        return nyse.session_open(self.day)


def chart(request: Request, market: Market, symbol: str) -> Answer:
    """The whole answer for one symbol: 404 if unknown, 422 for a bad interval or one that is not kept so long."""
    asset = market.universe.by_yahoo.get(symbol.upper())
    if asset is None:
        return failure(404, "Not Found", "No data found, symbol may be delisted")
    interval = request.get("interval", "1d")
    if interval not in INTERVALS:
        allowed = ", ".join(INTERVALS)
        return failure(
            422,
            "Unprocessable Entity",
            f"Invalid input - interval={interval} is not supported. Valid intervals: [{allowed}]",
        )
    now = market.now()
    start, end = _span(request, asset, now)
    if start > end or start > now + 10 * DAY:
        return failure(
            400,
            "Bad Request",
            f"Invalid input - start date cannot be after end date. startDate = {int(start)}, endDate = {int(end)}",
        )
    kept = LONGEST.get(interval)
    if kept is not None and (
        ("period1" in request.query and start < now - kept * DAY - HOUR) or (end - start) > (kept + 1) * DAY
    ):
        many = f"Only {kept} days worth of {interval} granularity data are allowed to be fetched per request."
        return failure(
            422,
            "Unprocessable Entity",
            f"{interval} data not available for startTime={int(start)} and endTime={int(end)}. {many}",
        )
    if end < FIRST_DAY:
        return failure(400, "Bad Request", f"Data doesn't exist for startDate = {int(start)}, endDate = {int(end)}")
    result = _result(request, market, asset, interval, start, end)
    return Answer({"chart": {"result": [result], "error": None}}, resource="yahoo.chart")


def failure(status: int, code: str, description: str) -> Answer:
    """The chart API's error object."""
    return Answer({"chart": {"result": None, "error": {"code": code, "description": description}}}, status)


def _span(request: Request, asset: Listing, now: float) -> tuple[float, float]:
    """The seconds asked for, half open."""
    if "period1" in request.query or "period2" in request.query:
        end = float(request.integer("period2", int(now) + 1))
        return float(request.integer("period1", 0)), end
    asked = request.get("range", "1mo")
    if asked == "max":
        return float(FIRST_DAY), now + 1
    last = nyse.new_york_date(now) if asset.is_stock else datetime.fromtimestamp(now, tz=UTC).date()
    if asset.is_stock:
        while not nyse.is_trading_day(last) or nyse.session_open(last) > now:
            last -= timedelta(days=1)
    if asked in {"1d", "5d"}:
        first, left = last, (1 if asked == "1d" else 5) - 1
        while left:
            first -= timedelta(days=1)
            left -= not asset.is_stock or nyse.is_trading_day(first)
    elif asked == "ytd":
        first = date(last.year, 1, 1)
    else:
        first = last - timedelta(days=_RANGE_DAYS.get(asked, 31))
    return float(_midnight(asset, first)), now + 1


def _midnight(asset: Listing, day: date) -> int:
    """When that date begins at the exchange."""
    return nyse.session_open(day) - 34_200 if asset.is_stock else day_number(day) * DAY


def _result(
    request: Request, market: Market, asset: Listing, interval: str, start: float, end: float
) -> dict[str, Any]:
    now = market.now()
    bars = list(_bars(market, asset, interval, max(start, FIRST_DAY), min(end, now + 1), now))
    events = actions(market, asset, max(start, FIRST_DAY), min(end, now))
    result: dict[str, Any] = {"meta": _meta(request, market, asset, interval, start, end)}
    if bars:
        result["timestamp"] = [at for at, _ in bars]
    shown = _events(market, asset, request.get("events"), events)
    if shown:
        result["events"] = shown
    result["indicators"] = _indicators(market, asset, interval, bars)
    return result


def _indicators(market: Market, asset: Listing, interval: str, bars: list[tuple[int, Candle | None]]) -> dict[str, Any]:
    quote: dict[str, list[Any]] = {}
    if bars:
        columns = {"low": 2, "close": 3, "open": 0, "high": 1}
        for name, index in columns.items():
            quote[name] = [None if bar is None else single(market, asset, bar[index]) for _, bar in bars]
        quote["volume"] = [None if bar is None else _volume(market, asset, bar) for _, bar in bars]
    indicators: dict[str, Any] = {"quote": [quote]}
    if bars and interval not in INTRADAY:
        factors = _dividend_factors(market, asset, [at for at, _ in bars])
        closes = zip(bars, factors, strict=True)
        adjusted = [
            None if bar is None else _single(plain(market, asset, bar[3]) * factor) for (_, bar), factor in closes
        ]
        indicators["adjclose"] = [{"adjclose": adjusted}]
    return indicators


def _bars(
    market: Market, asset: Listing, interval: str, start: float, end: float, now: float
) -> Iterator[tuple[int, Candle | None]]:
    """Each bar's first second and candle. A coin has a bar without trading (null) now and then, as Yahoo has."""
    if interval in INTRADAY:
        yield from _intraday(market, asset, INTRADAY[interval], start, end, now)
        return
    first = nyse.new_york_date(start) if asset.is_stock else datetime.fromtimestamp(start, tz=UTC).date()
    groups: list[tuple[int, int, int]] = []
    day = _group_start(first, interval)
    while _midnight(asset, day) < end:
        upto = _group_end(day, interval)
        opens = _midnight(asset, day)
        if interval == "1d":
            session = market.process.session(asset, day_number(day))
            if session and start <= session[0] < end:
                closes = session[0] + session[1] * MINUTE
                groups.append((int(now) if session[0] <= now < closes else session[0], session[0], closes))
        else:
            groups.append((opens, opens, _midnight(asset, upto)))
        day = upto
    for at, opens, closes in groups:
        candle = market.window(API, asset, opens, min(closes, now))
        if candle is not None:
            yield at, (None if _is_hole(market, asset, at) and closes < now else candle)


def _intraday(
    market: Market, asset: Listing, step: int, start: float, end: float, now: float
) -> Iterator[tuple[int, Candle | None]]:
    first = int(start // DAY) - 1
    for number in range(first, int(min(end, now) // DAY) + 1):
        session = market.process.session(asset, number)
        if session is None:
            continue
        opens, minutes = session
        for at in range(opens, opens + minutes * MINUTE, step):
            if start <= at < min(end, now):
                closes = min(at + step, opens + minutes * MINUTE, now)
                candle = market.window(API, asset, at, closes)
                if candle is not None:
                    yield at, candle


def _group_start(day: date, interval: str) -> date:
    if interval in {"1wk", "5d"}:
        return day - timedelta(days=day.weekday())
    if interval == "1mo":
        return day.replace(day=1)
    if interval == "3mo":
        return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return day


def _group_end(day: date, interval: str) -> date:
    if interval in {"1wk", "5d"}:
        return day + timedelta(days=7)
    if interval in {"1mo", "3mo"}:
        month = day.month + (1 if interval == "1mo" else 3)
        return date(day.year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
    return day + timedelta(days=1)


def _is_hole(market: Market, asset: Listing, at: int) -> bool:
    """One coin's day in 300 has no values."""
    return not asset.is_stock and market.process.random("hole", asset.symbol, at // DAY).random() < 1 / 300


# -- dividends and splits ---------------------------------------------------------------------------------------


def actions(market: Market, asset: Listing, start: float, end: float) -> list[Action]:
    """The dividends and splits with their ex-date in [start, end)."""
    if not asset.is_stock:
        return []
    found = []
    years = range(datetime.fromtimestamp(start, tz=UTC).year, datetime.fromtimestamp(max(start, end), tz=UTC).year + 1)
    for year in years:
        if asset.split and year % 2 == asset.split_parity:
            found.append(Action(nyse.split_day(year), ratio=asset.split))
        if asset.yearly_dividend:
            draw = market.process.random("dividend", asset.symbol)
            month, day = int(draw.random() * 3) + 1, int(draw.random() * 20) + 3
            for quarter in range(4):
                ex_day = date(year, month + 3 * quarter, day)
                while not nyse.is_trading_day(ex_day):
                    ex_day += timedelta(days=1)
                found.append(Action(ex_day, amount=asset.yearly_dividend / 4))
    return sorted((a for a in found if start <= a.instant < end), key=lambda a: a.day)


def split_factor(market: Market, asset: Listing) -> float:
    """What today's share is worth in shares of the start of 2026: every split since divides the price."""
    if not asset.split:
        return 1.0
    anchor, now = datetime(2026, 1, 1, tzinfo=UTC).timestamp(), market.now()
    new, old = asset.split
    since = len([a for a in actions(market, asset, min(anchor, now), max(anchor, now)) if a.ratio])
    return float((old / new) ** (since if now >= anchor else -since))


def _events(market: Market, asset: Listing, asked: str, events: list[Action]) -> dict[str, Any]:
    wanted = asked.replace("|", ",").split(",")
    factor = split_factor(market, asset)
    shown: dict[str, Any] = {}
    dividends = [a for a in events if a.ratio is None]
    splits = [a for a in events if a.ratio is not None]
    if dividends and "div" in wanted:
        shown["dividends"] = {
            str(a.instant): {"amount": round(a.amount * factor, 6), "date": a.instant} for a in dividends
        }
    if splits and {"split", "splits"} & set(wanted):
        shown["splits"] = {
            str(a.instant): {
                "date": a.instant,
                "numerator": a.ratio[0],
                "denominator": a.ratio[1],
                "splitRatio": f"{a.ratio[0]}:{a.ratio[1]}",
            }
            for a in splits
            if a.ratio
        }
    return shown


def _dividend_factors(market: Market, asset: Listing, instants: list[int]) -> list[float]:
    """For each bar the product of (1 - dividend / close before) over the dividends after it."""
    paid = [
        (dividend.instant, 1 - dividend.amount / market.process.price(asset, dividend.instant - 1))
        for dividend in actions(market, asset, instants[0], market.now())
        if dividend.ratio is None
    ]
    return [math.prod(factor for paid_at, factor in paid if paid_at > at) for at in instants]


# -- numbers ----------------------------------------------------------------------------------------------------


def single(market: Market, asset: Listing, price: float) -> float:
    """A bar's price as Yahoo writes it: rounded to a cent (or five digits), then a 32-bit float in full."""
    return _single(plain(market, asset, price))


def _single(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])


def plain(market: Market, asset: Listing, price: float) -> float:
    """A price of `meta` and of quotes."""
    return round(price * split_factor(market, asset), max(2, decimals(asset.start_price)))


def _volume(market: Market, asset: Listing, candle: Candle) -> int:
    """Shares; for a coin the dollars that changed hands, as Yahoo counts."""
    if asset.is_stock:
        return int(candle.volume / split_factor(market, asset))
    return int(coins(candle.volume) * candle.close)


# -- meta -------------------------------------------------------------------------------------------------------


def _meta(request: Request, market: Market, asset: Listing, interval: str, start: float, end: float) -> dict[str, Any]:
    now = market.now()
    stock = asset.is_stock
    offset, zone = _zone(now) if stock else (0, "UTC")
    last_day = last_session(market, asset, now)
    closes = last_day[0] + last_day[1] * MINUTE
    today = market.window(API, asset, last_day[0], min(closes, now))
    year = market.window(API, asset, now - 365 * DAY, now)
    at = int(min(now, closes))
    meta: dict[str, Any] = {
        "currency": "USD",
        "symbol": asset.yfinance,
        "exchangeName": asset.exchange,
        "fullExchangeName": {"NMS": "NasdaqGS", "NYQ": "NYSE", "PCX": "NYSEArca", "NGM": "NasdaqGM"}.get(
            asset.exchange, "CCC"
        ),
        "instrumentType": instrument_type(asset),
        "firstTradeDate": FIRST_DAY,
        "regularMarketTime": at,
        "hasPrePostMarketData": stock,
        "gmtoffset": offset,
        "timezone": zone,
        "exchangeTimezoneName": "America/New_York" if stock else "UTC",
        "regularMarketPrice": plain(market, asset, market.price(API, asset, now)),
        "fiftyTwoWeekHigh": plain(market, asset, year.high) if year else None,
        "fiftyTwoWeekLow": plain(market, asset, year.low) if year else None,
        "regularMarketDayHigh": plain(market, asset, today.high) if today else None,
        "regularMarketDayLow": plain(market, asset, today.low) if today else None,
        "regularMarketVolume": _volume(market, asset, today) if today else 0,
        "longName": asset.name if stock else f"{asset.name} USD",
        "shortName": asset.name if stock else f"{asset.name} USD",
        "chartPreviousClose": plain(market, asset, market.price(API, asset, max(start, FIRST_DAY) - 1)),
    }
    if interval in INTRADAY:
        meta["previousClose"] = plain(market, asset, market.price(API, asset, last_day[0] - 1))
        meta["scale"] = 3
    meta["priceHint"] = max(2, min(6, decimals(asset.start_price)))
    meta["currentTradingPeriod"] = _periods(asset, *last_day)
    if interval in INTRADAY:
        meta["tradingPeriods"] = _all_periods(market, asset, max(start, FIRST_DAY), min(end, now))
    meta["dataGranularity"] = interval
    meta["range"] = request.get("range")
    meta["validRanges"] = list(RANGES)
    return meta


def instrument_type(asset: Listing) -> str:
    """EQUITY, ETF or CRYPTOCURRENCY."""
    if not asset.is_stock:
        return "CRYPTOCURRENCY"
    return "ETF" if asset.category.upper() == "ETF" else "EQUITY"


def _zone(instant: float) -> tuple[int, str]:
    local = datetime.fromtimestamp(instant, tz=nyse.NEW_YORK)
    offset = local.utcoffset() or timedelta(0)
    return int(offset.total_seconds()), local.tzname() or "EST"


def last_session(market: Market, asset: Listing, now: float) -> tuple[int, int]:
    """The session that runs, or the last one that ran: first second and minutes."""
    number = int(now // DAY)
    while True:
        session = market.process.session(asset, number)
        if session is not None and session[0] <= now:
            return session
        if number * DAY < FIRST_DAY:
            return FIRST_DAY, 390 if asset.is_stock else 1440
        number -= 1


def _period(asset: Listing, start: int, end: int) -> dict[str, Any]:
    offset, zone = _zone(start) if asset.is_stock else (0, "UTC")
    return {"timezone": zone, "start": start, "end": end, "gmtoffset": offset}


def _periods(asset: Listing, opens: int, minutes: int) -> dict[str, Any]:
    if asset.is_stock:
        closes = opens + minutes * MINUTE
        return {
            "pre": _period(asset, opens - 330 * MINUTE, opens),
            "regular": _period(asset, opens, closes),
            "post": _period(asset, closes, closes + 240 * MINUTE),
        }
    last = opens + DAY - MINUTE
    return {
        "pre": _period(asset, opens, opens),
        "regular": _period(asset, opens, last),
        "post": _period(asset, last, last),
    }


def _all_periods(market: Market, asset: Listing, start: float, end: float) -> list[list[dict[str, Any]]]:
    periods = []
    for number in range(int(start // DAY) - 1, int(end // DAY) + 1):
        session = market.process.session(asset, number)
        if session and session[0] + session[1] * MINUTE > start and session[0] < end:
            opens, minutes = session
            closes = opens + minutes * MINUTE - (0 if asset.is_stock else MINUTE)
            periods.append([_period(asset, opens, closes)])
    return periods
