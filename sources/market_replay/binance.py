"""Binance spot market data, API v3: ping, time, exchangeInfo, ticker/24hr, ticker/price, klines, avgPrice.

Prices and amounts are texts with 8 decimals, times whole milliseconds. The shape of ticker/24hr is the recorded one;
klines, exchangeInfo (v3) and the errors follow Binance's published documentation (see recordings/PROVENANCE.md).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market, coins, decimals
from sources.market_replay.process import DAY, FIRST_DAY, HOUR, MINUTE
from sources.market_replay.universe import HALTED, Listing

WEIGHT_LIMIT = 6000
MAX_KLINES = 1000
QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR")
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
NO_CACHE = "no-cache, no-store, must-revalidate"


class BinanceError(Exception):
    """A refusal with Binance's own code and message."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer = Answer({"code": code, "msg": message}, status=status)


@dataclass(frozen=True, slots=True)
class Pair:
    """A trading pair: what is bought, what it is paid with."""

    symbol: str
    base: Listing | None
    quote: str
    halted: bool = False


@dataclass
class Weights:
    """Request weight used in the running minute."""

    minute: int = 0
    used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, weight: int, now: float) -> int:
        """Count a call; the weight used in its minute."""
        with self._lock:
            minute = int(now // MINUTE)
            if minute != self.minute:
                self.minute, self.used = minute, 0
            self.used += weight
            return self.used


class Binance:
    """api.binance.com and its market-data mirror."""

    hosts = ("data-api.binance.vision", "api.binance.com", "api1.binance.com", "api.binance.us")

    def __init__(self, *, enforce_limits: bool = False, weight_limit: int = WEIGHT_LIMIT) -> None:
        self.enforce_limits = enforce_limits
        self.weight_limit = weight_limit
        self.weights = Weights()
        self._refused_until = 0.0
        self._ignored = 0
        self._banned_until = 0.0
        self._routes: dict[str, Callable[[Request, Market], tuple[int, Any, str]]] = {
            "ping": lambda _request, _market: (1, {}, ""),
            "time": lambda _request, market: (1, {"serverTime": _ms(market.now())}, ""),
            "exchangeInfo": self._exchange_info,
            "ticker/24hr": self._ticker,
            "ticker/price": self._ticker_price,
            "klines": self._klines,
            "avgPrice": self._average,
        }

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request, with the weight it used in its headers."""
        endpoint = request.path.removeprefix("/api/v3/").strip("/")
        route = self._routes.get(endpoint)
        if route is None or not request.path.startswith("/api/v3/"):
            return Answer("<html><body><h2>404 Not found</h2></body></html>", status=404, content_type="text/html")
        refusal = self._refusal(market) if self.enforce_limits else None
        if refusal is not None:
            return refusal
        try:
            weight, payload, resource = route(request, market)
            answer = Answer(payload, resource=resource)
        except BinanceError as error:
            weight, answer = 2, error.answer
        used = self.weights.add(weight, market.now())
        if self.enforce_limits and used > self.weight_limit:
            self._refused_until = (market.now() // MINUTE + 1) * MINUTE
            answer = self.failure(429, market)
        headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used), "Cache-Control": NO_CACHE}
        return Answer(answer.payload, answer.status, {**headers, **answer.headers}, resource=answer.resource)

    def _refusal(self, market: Market) -> Answer | None:
        """429 until the minute is over; 418 once five calls in a row ignored it."""
        now = market.now()
        if now < self._banned_until:
            return self.failure(418, market)
        if now >= self._refused_until:
            self._ignored = 0
            return None
        self._ignored += 1
        if self._ignored > 5:  # noqa: PLR2004
            self._banned_until = now + 120
            return self.failure(418, market)
        return self.failure(429, market)

    def failure(self, status: int, market: Market) -> Answer:
        """Binance's own words for a status."""
        now = market.now()
        if status == 429:  # noqa: PLR2004
            wait = max(1, int(self._refused_until - now) + 1) if self._refused_until > now else 30
            message = (
                f"Too much request weight used; current limit is {self.weight_limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API."
            )
            return Answer({"code": -1003, "msg": message}, 429, {"Retry-After": str(wait)})
        if status == 418:  # noqa: PLR2004
            until = max(self._banned_until, now + 120)
            message = (
                f"Way too much request weight used; IP banned until {_ms(until)}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
            return Answer({"code": -1003, "msg": message}, 418, {"Retry-After": str(int(until - now))})
        if status == 451:  # noqa: PLR2004
            message = (
                "Service unavailable from a restricted location according to 'b. Eligibility' in "
                "https://www.binance.com/en/terms. Please contact customer service if you believe you received this "
                "message in error."
            )
            return Answer({"code": 0, "msg": message}, 451)
        codes = {
            401: (-2014, "API-key format invalid."),
            403: (-1002, "You are not authorized to execute this request."),
        }
        code, message = codes.get(status, (-1000, "An unknown error occurred while processing the request."))
        return Answer({"code": code, "msg": message}, status)

    # -- endpoints ----------------------------------------------------------------------------------------------

    def _ticker(self, request: Request, market: Market) -> tuple[int, Any, str]:
        pairs, single = self._pairs_of(request, market)
        now = market.now()
        payload = [_ticker_row(pair, market, now) for pair in pairs]
        weight = 2 if len(pairs) <= 20 else 40 if len(pairs) <= 100 else 80  # noqa: PLR2004 - documented steps
        if not single and "symbols" not in request.query:
            weight = 80
        return weight, payload[0] if single else payload, "binance.ticker"

    def _ticker_price(self, request: Request, market: Market) -> tuple[int, Any, str]:
        pairs, single = self._pairs_of(request, market)
        now = market.now()
        payload = [{"symbol": pair.symbol, "price": _last(pair, market, now)} for pair in pairs]
        return (2 if single else 4), payload[0] if single else payload, "binance.price"

    def _average(self, request: Request, market: Market) -> tuple[int, Any, str]:
        pair = _pair(request.get("symbol"), market)
        now = market.now()
        return 2, {"mins": 5, "price": _last(pair, market, now - 150), "closeTime": _ms(now)}, ""

    def _exchange_info(self, request: Request, market: Market) -> tuple[int, Any, str]:
        pairs, _ = self._pairs_of(request, market)
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.weight_limit},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        ]
        payload = {
            "timezone": "UTC",
            "serverTime": _ms(market.now()),
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": [_pair_info(pair) for pair in pairs],
        }
        return 20, payload, "binance.exchangeInfo"

    def _klines(self, request: Request, market: Market) -> tuple[int, Any, str]:
        for name in ("symbol", "interval"):
            if not request.get(name):
                raise BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        pair = _pair(request.get("symbol"), market)
        interval = request.get("interval")
        if interval not in INTERVALS:
            raise BinanceError(-1120, "Invalid interval.")
        limit = min(MAX_KLINES, max(1, request.integer("limit", 500)))
        now = market.now()
        opens = _opens(interval, request, limit, now)
        rows = [row for at in opens if (row := _kline(pair, market, at, _next_open(at, interval), now))]
        return 2, rows, "binance.klines"

    def _pairs_of(self, request: Request, market: Market) -> tuple[list[Pair], bool]:
        """The pairs asked for, and whether one was asked as `symbol`. One unknown symbol fails the whole call."""
        if request.get("symbol"):
            return [_pair(request.get("symbol"), market)], True
        if "symbols" not in request.query:
            return [_pair(symbol, market) for symbol in (*market.universe.by_binance, *HALTED)], False
        text = request.get("symbols")
        try:
            symbols = json.loads(text)
        except ValueError:
            symbols = None
        if not isinstance(symbols, list) or not symbols or not all(isinstance(item, str) for item in symbols):
            raise (
                BinanceError(-1101, "Too many parameters; expected '1' and received '0'.")
                if not text
                else BinanceError(
                    -1100,
                    "Illegal characters found in parameter 'symbols'; legal range is "
                    '\'^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$\'.',
                )
            )
        return [_pair(symbol, market, "symbols") for symbol in symbols], False


def _pair(symbol: str, market: Market, parameter: str = "symbol") -> Pair:
    if not symbol:
        raise BinanceError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")
    if not re.fullmatch(r"[A-Z0-9\-_.]{1,20}", symbol):
        message = f"Illegal characters found in parameter '{parameter}'; legal range is '^[A-Z0-9-_.]{{1,20}}$'."
        raise BinanceError(-1100, message)
    listing = market.universe.by_binance.get(symbol)
    if listing is not None:
        quote = next((quote for quote in QUOTES if symbol.endswith(quote)), "USDT")
        return Pair(symbol, listing, quote)
    if symbol in HALTED:
        return Pair(symbol, None, "BTC" if symbol.endswith("BTC") else "USDT", halted=True)
    for quote in QUOTES:
        base = market.universe.by_base.get(symbol.removesuffix(quote)) if symbol.endswith(quote) else None
        if base is not None and base.binance and base.symbol != quote:
            return Pair(symbol, base, quote)
    raise BinanceError(-1121, "Invalid symbol.")


def _ticker_row(pair: Pair, market: Market, now: float) -> dict[str, Any]:
    """The 21 fields of ticker/24hr, in the recorded order."""
    end, start = _ms(now), _ms(now - DAY)
    candle = None
    if pair.base is not None:
        candle = market.window("binance", pair.base, now - DAY, now)
    if pair.base is None or candle is None:
        return _halted_row(pair, start, end)
    rate = market.dollars(pair.quote, now) or 1.0
    places = decimals(pair.base.start_price / rate)
    first, high, low, last = (round(price / rate, places) for price in candle[:4])
    volume = round(coins(candle.volume), 5)
    average = (first + high + low + last) / 4
    tick = 10.0**-places
    ids = _trade_ids(pair.base, start), _trade_ids(pair.base, end)
    values: dict[str, Any] = {
        "symbol": pair.symbol,
        "priceChange": _fixed(last - first),
        "priceChangePercent": f"{(last / first - 1) * 100:.3f}",
        "weightedAvgPrice": _fixed(average),
        "prevClosePrice": _fixed(first),
        "lastPrice": _fixed(last),
        "lastQty": _fixed(round(10 / last + 0.00001, 5)),
        "bidPrice": _fixed(last),
        "bidQty": _fixed(round(1000 / last + 0.00001, 5)),
        "askPrice": _fixed(last + tick),
        "askQty": _fixed(round(700 / last + 0.00001, 5)),
        "openPrice": _fixed(first),
        "highPrice": _fixed(high),
        "lowPrice": _fixed(low),
        "volume": _fixed(volume),
        "quoteVolume": _fixed(volume * average),
        "openTime": start,
        "closeTime": end,
        "firstId": ids[0],
        "lastId": ids[1],
        "count": ids[1] - ids[0] + 1,
    }
    return values


def _halted_row(pair: Pair, start: int, end: int) -> dict[str, Any]:
    zero = "0.00000000"
    texts = dict.fromkeys(("lastPrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty"), zero)
    window = dict.fromkeys(("openPrice", "highPrice", "lowPrice", "volume", "quoteVolume"), zero)
    return {
        "symbol": pair.symbol,
        "priceChange": zero,
        "priceChangePercent": "0",
        "weightedAvgPrice": "0",
        "prevClosePrice": zero,
        **texts,
        **window,
        "openTime": start,
        "closeTime": end,
        "firstId": -1,
        "lastId": -1,
        "count": 0,
    }


def _kline(pair: Pair, market: Market, opens: int, closes: int, now: float) -> list[Any] | None:
    """One kline: 12 elements; the one that contains now is still open."""
    if pair.base is None:
        return None
    candle = market.window("binance", pair.base, opens, min(closes, now))
    if candle is None:
        return None
    rate = market.dollars(pair.quote, opens) or 1.0
    places = decimals(pair.base.start_price / rate)
    first, high, low, last = (round(price / rate, places) for price in candle[:4])
    volume = round(coins(candle.volume), 5)
    average = (first + high + low + last) / 4
    taker = round(volume * (0.45 + 0.1 * ((opens // MINUTE * 7919) % 101) / 100), 5)
    trades = 1 + _trade_ids(pair.base, _ms(min(closes, now))) - _trade_ids(pair.base, opens * 1000)
    prices = [_fixed(first), _fixed(high), _fixed(low), _fixed(last)]
    amounts = [_fixed(volume * average), trades, _fixed(taker), _fixed(taker * average), "0"]
    return [opens * 1000, *prices, _fixed(volume), closes * 1000 - 1, *amounts]


def _opens(interval: str, request: Request, limit: int, now: float) -> list[int]:
    """Opening seconds of the klines that the request selects: from startTime on, else back from endTime."""
    end = min(now, request.integer("endTime", _ms(now)) / 1000)
    if request.integer("startTime", 0) / 1000 > end:
        return []
    if "startTime" in request.query and request.page is None:
        at = _floor_open(max(FIRST_DAY, request.integer("startTime", 0) / 1000), interval)
        if at < max(FIRST_DAY, request.integer("startTime", 0) / 1000):
            at = _next_open(at, interval)
        opens: list[int] = []
        while at <= end and len(opens) < limit:
            opens.append(at)
            at = _next_open(at, interval)
        return opens
    at = _floor_open(end, interval)
    back: list[int] = []
    while at >= FIRST_DAY and len(back) < limit:
        back.append(at)
        at = _floor_open(at - 1, interval)
    return back[::-1]


def _floor_open(instant: float, interval: str) -> int:
    """When the kline that contains an instant opened. Weeks open on Monday, months on the first."""
    if interval == "1M":
        day = datetime.fromtimestamp(instant, tz=UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
    if interval == "1w":
        return int((instant - 4 * DAY) // (7 * DAY)) * 7 * DAY + 4 * DAY
    step = int(interval[:-1]) * _UNITS[interval[-1]]
    return int(instant // step) * step


def _next_open(opens: int, interval: str) -> int:
    if interval == "1M":
        return _floor_open(opens + 32 * DAY, interval)
    return opens + (7 * DAY if interval == "1w" else int(interval[:-1]) * _UNITS[interval[-1]])


def _pair_info(pair: Pair) -> dict[str, Any]:
    base = pair.symbol.removesuffix(pair.quote)
    places = decimals(pair.base.start_price if pair.base else 1.0)
    tick = _fixed(10.0**-places)
    return {
        "symbol": pair.symbol,
        "status": "BREAK" if pair.halted else "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": not pair.halted,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _last(pair: Pair, market: Market, instant: float) -> str:
    if pair.base is None:
        return "0.00000000"
    rate = market.dollars(pair.quote, instant) or 1.0
    return _fixed(round(market.price("binance", pair.base, instant) / rate, decimals(pair.base.start_price / rate)))


def _trade_ids(asset: Listing, milliseconds: int) -> int:
    """A trade number that grows with time: one trade every so many milliseconds."""
    pace = 40 + sum(asset.symbol.encode()) % 2000
    return (milliseconds - FIRST_DAY * 1000) // pace


def _ms(instant: float) -> int:
    return round(instant * 1000)


def _fixed(number: float) -> str:
    return f"{number:.8f}"
