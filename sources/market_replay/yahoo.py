"""Yahoo Finance as yfinance 1.7 asks it: cookie, crumb, chart, quoteSummary, quote, fundamentals time series.

The chart's shape is recorded (yahoo_chart.py). quoteSummary, v7 quote and the time series hold what yfinance parses;
their fields are public knowledge of those endpoints, their values are simulated.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from sources.market_replay import nyse
from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market, coins
from sources.market_replay.process import DAY, FIRST_DAY, MINUTE, Candle
from sources.market_replay.universe import Listing
from sources.market_replay.yahoo_chart import API, actions, chart, instrument_type, last_session, plain, split_factor

CRUMB = "simulated.crumb"
CHART = re.compile(r"/v8/finance/chart/([^/]+)")
SUMMARY = re.compile(r"/v10/finance/quoteSummary/([^/]+)")
SERIES = re.compile(r"/ws/fundamentals-timeseries/v1/finance/timeseries/([^/]+)")
TEXT = "text/plain;charset=utf-8"
HTML = "text/html;charset=utf-8"


class Yahoo:
    """The hosts that yfinance talks to."""

    hosts = (
        "query1.finance.yahoo.com",
        "query2.finance.yahoo.com",
        "finance.yahoo.com",
        "fc.yahoo.com",
        "guce.yahoo.com",
        "consent.yahoo.com",
    )

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request."""
        if request.host == "fc.yahoo.com":
            return _cookie(market)
        if request.host in {"guce.yahoo.com", "consent.yahoo.com"}:
            form = '<input name="csrfToken" value="simulated"><input name="sessionId" value="simulated">'
            return Answer(f"<html><body><form>{form}</form></body></html>", content_type=HTML)
        if request.path == "/v1/test/getcrumb":
            return Answer(CRUMB, content_type=TEXT)
        match = CHART.fullmatch(request.path)
        if match:
            return chart(request, market, match.group(1))
        return self._protected(request, market)

    def _protected(self, request: Request, market: Market) -> Answer:
        """The endpoints that want a crumb."""
        summary, series = SUMMARY.fullmatch(request.path), SERIES.fullmatch(request.path)
        quote = request.path == "/v7/finance/quote"
        if (summary or quote) and request.get("crumb") != CRUMB:
            return self.failure(401, market)
        if summary:
            return _summary(request, market, summary.group(1))
        if quote:
            return _quotes(request, market)
        if series:
            return _series(request, market, series.group(1))
        error = {"code": "Not Found", "description": "HTTP 404 Not Found"}
        return Answer({"finance": {"result": None, "error": error}}, 404)

    def failure(self, status: int, market: Market) -> Answer:  # noqa: ARG002 - the protocol's signature
        """A rate limit is plain text, as recorded; the rest is JSON."""
        if status == 429:  # noqa: PLR2004
            return Answer("Edge: Too Many Requests", 429, content_type=HTML)
        if status == 401:  # noqa: PLR2004
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return Answer({"finance": {"result": None, "error": error}}, 401)
        if status >= 500:  # noqa: PLR2004
            return Answer("<html><body>Will be right back...</body></html>", status, content_type=HTML)
        error = {"code": str(status), "description": f"HTTP {status}"}
        return Answer({"chart": {"result": None, "error": error}}, status)


def _cookie(market: Market) -> Answer:
    """The cookie host answers 404 and sets the cookie all the same, as the real one does."""
    expires = format_datetime(datetime.fromtimestamp(market.now(), tz=UTC) + timedelta(days=365), usegmt=True)
    cookie = f"A3=d=simulated; Expires={expires}; Max-Age=31557600; Domain=.yahoo.com; Path=/; SameSite=None; Secure"
    return Answer("", 404, {"Set-Cookie": cookie}, content_type=HTML)


def _day(market: Market, asset: Listing) -> tuple[Candle | None, float, float]:
    """What the session that runs (or ran last) traded, the price now, and the close before that session."""
    now = market.now()
    opens, minutes = last_session(market, asset, now)
    candle = market.window(API, asset, opens, min(now, opens + minutes * MINUTE))
    return candle, market.price(API, asset, now), market.price(API, asset, opens - 1)


def _summary(request: Request, market: Market, symbol: str) -> Answer:
    asset = market.universe.by_yahoo.get(symbol.upper())
    if asset is None:
        error = {"code": "Not Found", "description": f"Quote not found for symbol: {symbol.upper()}"}
        return Answer({"quoteSummary": {"result": None, "error": error}}, 404)
    modules = {
        "quoteType": _quote_type,
        "assetProfile": _profile,
        "summaryDetail": _detail,
        "financialData": _financials,
        "defaultKeyStatistics": _statistics,
        "price": _price,
        "calendarEvents": _calendar,
    }
    asked = [name for name in request.get("modules").split(",") if name in modules]
    # Yahoo leaves out what it does not have: a coin has no financial data
    without = set() if asset.is_stock else {"financialData", "calendarEvents"}
    result = {name: modules[name](market, asset) for name in asked if name not in without}
    return Answer({"quoteSummary": {"result": [result], "error": None}}, resource="yahoo.summary")


def _quote_type(market: Market, asset: Listing) -> dict[str, Any]:  # noqa: ARG001 - one signature for all modules
    zone = "America/New_York" if asset.is_stock else "UTC"
    return {
        "exchange": asset.exchange,
        "quoteType": instrument_type(asset),
        "symbol": asset.yfinance,
        "underlyingSymbol": asset.yfinance,
        "shortName": _name(asset),
        "longName": _name(asset),
        "firstTradeDateEpochUtc": 1609459200,
        "timeZoneFullName": zone,
        "timeZoneShortName": "EST" if asset.is_stock else "UTC",
        "gmtOffSetMilliseconds": "-18000000" if asset.is_stock else "0",
        "maxAge": 1,
    }


def _name(asset: Listing) -> str:
    return asset.name if asset.is_stock else f"{asset.name} USD"


def _profile(market: Market, asset: Listing) -> dict[str, Any]:
    if not asset.is_stock:
        return {"name": asset.name, "description": f"{asset.name}, simulated profile.", "maxAge": 86400}
    draw = market.process.random("profile", asset.symbol)
    return {
        "city": "New York",
        "state": "NY",
        "country": "United States",
        "website": f"https://www.example.com/{asset.symbol.lower()}",
        "industry": asset.category,
        "industryKey": asset.category.lower().replace(" ", "-"),
        "sector": asset.category,
        "sectorKey": asset.category.lower().replace(" ", "-"),
        "longBusinessSummary": f"{asset.name}: a profile simulated by the market replay.",
        "fullTimeEmployees": int(1000 + draw.random() * 150_000),
        "companyOfficers": [],
        "maxAge": 86400,
    }


def _detail(market: Market, asset: Listing) -> dict[str, Any]:
    candle, price, before = _day(market, asset)
    year = market.window(API, asset, market.now() - 365 * DAY, market.now())
    shares = asset.supply / split_factor(market, asset)
    dividend = asset.yearly_dividend * split_factor(market, asset)
    detail: dict[str, Any] = {
        "previousClose": plain(market, asset, before),
        "open": plain(market, asset, candle.open if candle else price),
        "dayLow": plain(market, asset, candle.low if candle else price),
        "dayHigh": plain(market, asset, candle.high if candle else price),
        "volume": _volume(market, asset, candle),
        "marketCap": round(plain(market, asset, price) * shares),
        "fiftyTwoWeekLow": plain(market, asset, year.low if year else price),
        "fiftyTwoWeekHigh": plain(market, asset, year.high if year else price),
        "currency": "USD",
        "maxAge": 1,
    }
    if asset.is_stock:
        detail["trailingPE"] = round(15 + 30 * market.process.random("pe", asset.symbol).random(), 5)
        detail["beta"] = round(0.4 + 1.6 * market.process.random("beta", asset.symbol).random(), 3)
    else:
        detail |= {"circulatingSupply": asset.supply, "fromCurrency": asset.symbol, "toCurrency": "USD=X"}
    if dividend:
        detail |= {"dividendRate": dividend, "dividendYield": round(dividend / plain(market, asset, price), 4)}
        paid = [a for a in actions(market, asset, market.now() - 200 * DAY, market.now()) if a.ratio is None]
        detail["exDividendDate"] = paid[-1].instant if paid else None
    return detail


def _volume(market: Market, asset: Listing, candle: Candle | None) -> int:
    if candle is None:
        return 0
    return (
        int(candle.volume / split_factor(market, asset)) if asset.is_stock else int(coins(candle.volume) * candle.close)
    )


def _financials(market: Market, asset: Listing) -> dict[str, Any]:
    draw = market.process.random("financials", asset.symbol)
    price = market.price(API, asset, market.now())
    revenue = int(asset.supply * asset.start_price * (0.1 + 0.4 * draw.random()))
    margin = round(0.05 + 0.3 * draw.random(), 5)
    return {
        "currentPrice": plain(market, asset, price),
        "targetMeanPrice": plain(market, asset, price * (0.95 + 0.3 * draw.random())),
        "recommendationKey": "hold" if draw.random() < 0.5 else "buy",  # noqa: PLR2004
        "totalRevenue": revenue,
        "grossMargins": round(margin + 0.2, 5),
        "profitMargins": margin,
        "totalCash": int(revenue * 0.2),
        "totalDebt": int(revenue * 0.3),
        "returnOnEquity": round(0.1 + 0.3 * draw.random(), 5),
        "financialCurrency": "USD",
        "maxAge": 86400,
    }


def _statistics(market: Market, asset: Listing) -> dict[str, Any]:
    shares = int(asset.supply / split_factor(market, asset))
    draw = market.process.random("statistics", asset.symbol)
    if not asset.is_stock:
        return {"maxAge": 1}
    statistics: dict[str, Any] = {
        "sharesOutstanding": shares,
        "floatShares": int(shares * (0.7 + 0.29 * draw.random())),
        "bookValue": round(asset.start_price * 0.2 * draw.random(), 3),
        "trailingEps": round(asset.start_price / (15 + 30 * draw.random()), 2),
        "heldPercentInstitutions": round(0.4 + 0.4 * draw.random(), 5),
        "maxAge": 1,
    }
    splits = [a for a in actions(market, asset, market.now() - 730 * DAY, market.now()) if a.ratio]
    if splits and splits[-1].ratio:
        new, old = splits[-1].ratio
        statistics |= {"lastSplitFactor": f"{new}:{old}", "lastSplitDate": splits[-1].instant}
    return statistics


def _price(market: Market, asset: Listing) -> dict[str, Any]:
    return {"maxAge": 1, **_quote(market, asset)}


def _calendar(market: Market, asset: Listing) -> dict[str, Any]:
    """Only the ex-dividend dates: earnings are not simulated."""
    coming = [a for a in actions(market, asset, market.now(), market.now() + 100 * DAY) if a.ratio is None]
    return {"maxAge": 1, "earnings": {"earningsDate": []}, **({"exDividendDate": coming[0].instant} if coming else {})}


def _quotes(request: Request, market: Market) -> Answer:
    known = [market.universe.by_yahoo.get(symbol.strip().upper()) for symbol in request.get("symbols").split(",")]
    rows = [_quote(market, asset) for asset in known if asset is not None]
    return Answer({"quoteResponse": {"result": rows, "error": None}}, resource="yahoo.quote")


def _quote(market: Market, asset: Listing) -> dict[str, Any]:
    candle, price, before = _day(market, asset)
    now = market.now()
    shares = asset.supply / split_factor(market, asset)
    return {
        "language": "en-US",
        "region": "US",
        "quoteType": instrument_type(asset),
        "currency": "USD",
        "exchange": asset.exchange,
        "shortName": _name(asset),
        "longName": _name(asset),
        "marketState": "REGULAR" if not asset.is_stock or _is_open(now) else "CLOSED",
        "regularMarketPrice": plain(market, asset, price),
        "regularMarketChange": round(plain(market, asset, price) - plain(market, asset, before), 6),
        "regularMarketChangePercent": round((price / before - 1) * 100, 5),
        "regularMarketPreviousClose": plain(market, asset, before),
        "regularMarketOpen": plain(market, asset, candle.open if candle else price),
        "regularMarketDayHigh": plain(market, asset, candle.high if candle else price),
        "regularMarketDayLow": plain(market, asset, candle.low if candle else price),
        "regularMarketVolume": _volume(market, asset, candle),
        "regularMarketTime": int(now),
        "marketCap": round(plain(market, asset, price) * shares),
        "sharesOutstanding" if asset.is_stock else "circulatingSupply": int(shares),
        "exchangeTimezoneName": "America/New_York" if asset.is_stock else "UTC",
        "exchangeTimezoneShortName": "EST" if asset.is_stock else "UTC",
        "gmtOffSetMilliseconds": -18_000_000 if asset.is_stock else 0,
        "symbol": asset.yfinance,
    }


def _is_open(now: float) -> bool:
    day = nyse.new_york_date(now)
    return nyse.is_trading_day(day) and 0 <= now - nyse.session_open(day) < nyse.SESSION_MINUTES * 60


def _series(request: Request, market: Market, symbol: str) -> Answer:
    """Share counts by quarter where they are asked for; every other type exists without values."""
    asset = market.universe.by_yahoo.get(symbol.upper())
    types = [name for item in request.query.get("type", ()) for name in item.split(",")]
    result: list[dict[str, Any]] = []
    for name in types or ["shares_out"]:
        series: dict[str, Any] = {"meta": {"symbol": [symbol.upper()], "type": [name]}}
        if asset is not None and asset.is_stock and name == "shares_out":
            start, end = max(FIRST_DAY, request.integer("period1", 0)), request.integer("period2", int(market.now()))
            stamps = [at for at in range(start - start % DAY, min(end, int(market.now())), 91 * DAY) if at >= start]
            series |= {"timestamp": stamps, name: [int(asset.supply / split_factor(market, asset))] * len(stamps)}
        result.append(series)
    return Answer({"timeseries": {"result": result, "error": None}})
