"""FreeCryptoAPI v1: getData. Every value is a text, the change is a percentage, the date has no zone, no volume.

A failure is {"status": false, "error": ...}, with HTTP 200 as quoted in public code.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market, decimals
from sources.market_replay.process import DAY
from sources.market_replay.universe import Listing

API = "freecryptoapi"


class FreeCryptoApi:
    """api.freecryptoapi.com. Any bearer token is accepted, none is not."""

    hosts = ("api.freecryptoapi.com",)

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request."""
        if not request.headers.get("authorization", "").removeprefix("Bearer").strip() and not request.get("token"):
            return Answer({"status": False, "error": "API key is missing."}, 401)
        if request.path.strip("/") != "v1/getData":
            if request.path.strip("/") in {"v1/getHistory", "v1/getTimeframe", "v1/getOHLC"}:
                return Answer({"status": False, "error": "Your plan does not include historical data."})
            return Answer({"status": False, "error": "Endpoint not found."}, 404)
        names = [name for name in request.get("symbol").replace(" ", "+").split("+") if name]
        known = [asset for name in names if (asset := market.universe.by_freecryptoapi.get(name.upper()))]
        if not names:
            return Answer({"status": False, "error": "Parameter symbol is missing."})
        if not known:
            return Answer({"status": False, "error": "Symbol not found."})
        rows = [_row(asset, market) for asset in known]
        return Answer({"status": "success", "symbols": rows}, resource="freecryptoapi.symbols")

    def failure(self, status: int, market: Market) -> Answer:  # noqa: ARG002 - the protocol's signature
        """Its own error shape."""
        messages = {401: "Invalid API key.", 403: "Your plan does not include this.", 429: "Rate limit exceeded."}
        return Answer({"status": False, "error": messages.get(status, "Internal error.")}, status)


def _row(asset: Listing, market: Market) -> dict[str, Any]:
    now = market.now()
    price = market.price(API, asset, now)
    bitcoin = market.universe.by_base.get("BTC", asset)
    in_bitcoin = price / market.price(API, bitcoin, now)
    day = market.window(API, asset, now - DAY, now)
    first, high, low = (day.open, day.high, day.low) if day else (price, price, price)
    places = decimals(asset.start_price)
    return {
        "symbol": asset.freecryptoapi,
        "last": _text(price, places),
        "last_btc": "1" if asset is bitcoin else _text(in_bitcoin, 16),
        "lowest": _text(low, places),
        "highest": _text(high, places),
        "date": datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "daily_change_percentage": _text((price / first - 1) * 100, 13),
        "source_exchange": "binance",
    }


def _text(number: float, places: int) -> str:
    """As recorded: no trailing zeros, no exponent."""
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
