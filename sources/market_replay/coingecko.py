"""CoinGecko v3: ping, coins/markets, coins/{id}/market_chart, coins/{id}/ohlc, simple/price, coins/list.

Numbers are whole or not as they come, most fields may be null, times are ISO 8601 with Z and milliseconds: as recorded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market, coins, decimals, iso
from sources.market_replay.process import DAY, FIRST_DAY, HOUR
from sources.market_replay.universe import Listing

MAX_PER_PAGE = 250
PERIODS = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "14d": 14 * DAY, "30d": 30 * DAY, "200d": 200 * DAY, "1y": 365 * DAY}
API = "coingecko"


class CoinGecko:
    """The public and demo host; the pro host answers that it is for subscribers only."""

    hosts = ("api.coingecko.com", "pro-api.coingecko.com")

    def __init__(self, *, enforce_limits: bool = False, per_minute: int = 30) -> None:
        self.enforce_limits = enforce_limits
        self.per_minute = per_minute
        self._minute = 0
        self._calls = 0
        self._routes: dict[str, Callable[[Request, Market], Answer]] = {
            "ping": lambda _request, _market: Answer({"gecko_says": "(V3) To the Moon!"}),
            "coins/markets": self._markets,
            "coins/list": _list,
            "simple/price": self._simple_price,
        }

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request."""
        if request.host == "pro-api.coingecko.com" and not request.headers.get("x-cg-pro-api-key"):
            message = "API Key Missing. Please make sure you're using the right authentication method."
            stamp = iso(market.now()).replace("Z", "+00:00")
            return Answer({"status": {"timestamp": stamp, "error_code": 10002, "error_message": message}}, 401)
        if self.enforce_limits and self._count(market.now()) > self.per_minute:
            return self.failure(429, market)
        path = request.path.removeprefix("/api/v3/").strip("/")
        match = re.fullmatch(r"coins/([^/]+)/(market_chart|ohlc)", path)
        if match:
            return self._history(request, market, match.group(1), match.group(2))
        return self._routes.get(path, _unknown)(request, market)

    def failure(self, status: int, market: Market) -> Answer:
        """CoinGecko's own words for a status: one of its three error shapes."""
        if status == 429:  # noqa: PLR2004
            message = (
                "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing to subscribe to "
                "our API plans for higher rate limits."
            )
            return Answer({"status": {"error_code": 429, "error_message": message}}, 429, {"Retry-After": "60"})
        if status == 401:  # noqa: PLR2004
            message = "This request is limited Pro API subscribers"
            return Answer({"status": {"error_code": 10005, "error_message": message}}, 401)
        if status == 403:  # noqa: PLR2004
            stamp = iso(market.now()).replace("Z", "+00:00")
            return Answer({"status": {"timestamp": stamp, "error_code": 403, "error_message": "Forbidden"}}, 403)
        return Answer({"error": "Internal Server Error" if status == 500 else f"error {status}"}, status)  # noqa: PLR2004

    def _count(self, now: float) -> int:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._calls = minute, 0
        self._calls += 1
        return self._calls

    def _markets(self, request: Request, market: Market) -> Answer:
        currency = request.get("vs_currency")
        if not currency:
            return Answer({"error": "Missing parameter vs_currency"}, 422)
        rate = market.dollars(currency, market.now())
        if rate is None:
            return Answer({"error": "invalid vs_currency"}, 400)
        ranked = _ranked(market)
        chosen = _chosen(request, ranked)
        per_page = min(MAX_PER_PAGE, max(1, request.integer("per_page", 100)))
        page = request.page if request.page is not None else max(1, request.integer("page", 1))
        start = (page - 1) * per_page - (request.shift if page > 1 else 0)
        rows = [
            _row(asset, ranked.index(asset) + 1, rate, request, market)
            for asset in chosen[max(0, start) : max(0, start) + per_page]
        ]
        headers = {"Cache-Control": "max-age=30, public, must-revalidate, s-maxage=30"}
        return Answer(rows, headers=headers, resource="coingecko.markets")

    def _simple_price(self, request: Request, market: Market) -> Answer:
        payload: dict[str, dict[str, Any]] = {}
        for name in request.get("ids").split(","):
            asset = market.universe.by_coingecko.get(name.strip())
            if asset is None:
                continue
            prices: dict[str, Any] = {}
            for currency in request.get("vs_currencies").split(","):
                rate = market.dollars(currency.strip(), market.now())
                if rate is not None:
                    price = market.price(API, asset, market.now()) / rate
                    prices[currency.strip().lower()] = _number(price, asset.start_price / rate)
            if request.flag("include_last_updated_at"):
                prices["last_updated_at"] = int(market.now())
            payload[asset.coingecko] = prices
        return Answer(payload, resource="coingecko.simple")

    def _history(self, request: Request, market: Market, name: str, kind: str) -> Answer:
        if not request.get("vs_currency"):
            return Answer({"error": "Missing parameter vs_currency"}, 422)
        asset = market.universe.by_coingecko.get(name)
        rate = market.dollars(request.get("vs_currency"), market.now())
        if asset is None or rate is None:
            return Answer({"error": "coin not found" if asset is None else "invalid vs_currency"}, 404)
        now = market.now()
        days = 3000 if request.get("days") == "max" else max(1, request.integer("days", 1))
        step = DAY if days > 90 or request.get("interval") == "daily" else HOUR if days > 1 else 300  # noqa: PLR2004
        if kind == "ohlc":
            step = 1800 if days <= 2 else 4 * HOUR if days <= 30 else 4 * DAY  # noqa: PLR2004 - documented steps
        first = max(FIRST_DAY, int((now - days * DAY) // step + 1) * step)
        instants = [*range(first, int(now), step)]
        if kind == "ohlc":
            candles = [(at, market.window(API, asset, at - step, at)) for at in instants]
            rows = [[at * 1000, *(_number(p / rate, asset.start_price) for p in c[:4])] for at, c in candles if c]
            return Answer(rows, resource="coingecko.ohlc")
        points = [(float(at), market.price(API, asset, at) / rate) for at in (*instants, now)]
        payload = {
            "prices": [[int(at * 1000), _long(price)] for at, price in points],
            "market_caps": [[int(at * 1000), _long(price * asset.supply)] for at, price in points],
            "total_volumes": [[int(at * 1000), _long(price * asset.supply * 0.02)] for at, price in points],
        }
        return Answer(payload, resource="coingecko.market_chart")


def _unknown(_request: Request, _market: Market) -> Answer:
    return Answer({"error": "Incorrect path. Please check https://www.coingecko.com/api/"}, 404)


def _list(_request: Request, market: Market) -> Answer:
    listed = market.universe.by_coingecko.values()
    return Answer([{"id": asset.coingecko, "symbol": asset.symbol.lower(), "name": asset.name} for asset in listed])


def _ranked(market: Market) -> list[Listing]:
    """The coins by market capitalisation at their start prices, so that a page's order stays the same."""
    listed = market.universe.by_coingecko.values()
    return sorted(listed, key=lambda asset: (-asset.start_price * asset.supply, asset.coingecko))


def _chosen(request: Request, ranked: list[Listing]) -> list[Listing]:
    """An unknown id is left out without a word."""
    chosen = ranked
    for parameter, attribute in (("ids", "coingecko"), ("symbols", "symbol")):
        if request.get(parameter):
            asked = {item.strip().lower() for item in request.get(parameter).split(",")}
            chosen = [asset for asset in chosen if getattr(asset, attribute).lower() in asked]
    return chosen[::-1] if request.get("order") == "market_cap_asc" else chosen


def _row(asset: Listing, rank: int, rate: float, request: Request, market: Market) -> dict[str, Any]:
    """One coin of coins/markets, its keys in the recorded order."""
    now = market.now()
    updated = math.floor((now - 20 - rank % 37) * 1000) / 1000
    scale = asset.start_price / rate
    price = market.price(API, asset, updated) / rate
    day = market.window(API, asset, updated - DAY, updated)
    first, high, low = (day.open / rate, day.high / rate, day.low / rate) if day else (price, price, price)
    volume = coins(day.volume) * price if day else 0.0
    cap, cap_before = price * asset.supply, first * asset.supply
    capped = _max_supply(asset)
    ath, atl = 2.6 * scale, 0.03 * scale
    row: dict[str, Any] = {
        "id": asset.coingecko,
        "symbol": asset.symbol.lower(),
        "name": asset.name,
        "image": f"https://coin-images.coingecko.com/coins/images/{rank}/large/{asset.coingecko}.png?1696501400",
        "current_price": _number(price, scale),
        "market_cap": round(cap),
        "market_cap_rank": rank,
        "fully_diluted_valuation": None if capped is None else round(price * capped),
        "total_volume": round(volume),
        "high_24h": _number(high, scale),
        "low_24h": _number(low, scale),
        "price_change_24h": _long(price - first),
        "price_change_percentage_24h": round((price / first - 1) * 100, 5),
        "market_cap_change_24h": _long(cap - cap_before),
        "market_cap_change_percentage_24h": round((cap / cap_before - 1) * 100, 5),
        "circulating_supply": float(asset.supply),
        "total_supply": None if capped is None else float(capped),
        "max_supply": float(capped) if capped is not None and rank % 3 else None,
        "ath": _number(ath, scale),
        "ath_change_percentage": round((price / ath - 1) * 100, 5),
        "ath_date": "2021-11-10T14:24:11.849Z",
        "atl": float(f"{atl:.6g}"),
        "atl_change_percentage": round((price / atl - 1) * 100, 5),
        "atl_date": "2020-03-13T02:22:55.391Z",
        "roi": _roi(asset, rank),
        "last_updated": iso(updated),
    }
    if request.flag("sparkline"):
        hours = [updated - 7 * DAY + HOUR * i for i in range(168)]
        row["sparkline_in_7d"] = {"price": [_long(market.price(API, asset, at) / rate) for at in hours]}
    asked = [item.strip() for item in request.get("price_change_percentage").split(",")]
    for period in sorted(item for item in asked if item in PERIODS):
        then = market.price(API, asset, updated - PERIODS[period]) / rate
        known = updated - PERIODS[period] >= FIRST_DAY
        row[f"price_change_percentage_{period}_in_currency"] = _long((price / then - 1) * 100) if known else None
    return row


def _max_supply(asset: Listing) -> float | None:
    """Two coins in five have no known cap, so that nulls occur as they do in the recordings."""
    return None if sum(asset.symbol.encode()) % 5 < 2 else float(math.ceil(asset.supply * 1.1))  # noqa: PLR2004


def _roi(asset: Listing, rank: int) -> dict[str, Any] | None:
    if rank % 7 != 2:  # noqa: PLR2004 - a few coins carry one
        return None
    times = 3 + sum(asset.symbol.encode()) % 50 + 0.8168661668423025
    return {"times": times, "currency": "btc", "percentage": round(times * 100, 6)}


def _number(price: float, scale: float) -> int | float:
    """A price with as many digits as CoinGecko shows; whole numbers come without a point."""
    value = round(price, decimals(scale) if scale < 1000 else 0)  # noqa: PLR2004
    return int(value) if value == int(value) and scale >= 1000 else value  # noqa: PLR2004


def _long(value: float) -> float:
    """A computed figure: 15 significant digits, as the API's own floats have."""
    return float(f"{value:.15g}")
