"""Control over HTTP, below /_control/: faults, requests, ledger, clock. The same as MarketReplay's methods."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sources.market_replay.exchange import Answer, Request
from sources.market_replay.faults import fault_of
from sources.market_replay.market import iso

if TYPE_CHECKING:
    from sources.market_replay.server import MarketReplay

LOCAL = {"127.0.0.1", "localhost"}


def control(replay: MarketReplay, request: Request, body: bytes) -> Answer:
    """GET requests, ledger (?resource=), faults, clock; POST faults, clock; DELETE faults."""
    if request.headers.get("host", "").partition(":")[0] not in LOCAL:
        return Answer({"error": "control is for this machine only"}, 403)
    routes: dict[tuple[str, str], Callable[[], Answer]] = {
        ("GET", "/requests"): lambda: Answer([asdict(item) for item in replay.requests]),
        ("GET", "/ledger"): lambda: Answer([asdict(item) for item in replay.ledger.entries(request.get("resource"))]),
        ("GET", "/faults"): lambda: Answer(_faults(replay)),
        ("GET", "/clock"): lambda: Answer({"now": iso(replay.market.now())}),
        ("POST", "/faults"): lambda: _inject(replay, body),
        ("POST", "/clock"): lambda: _set_clock(replay, body),
        ("DELETE", "/faults"): lambda: _clear(replay),
    }
    route = routes.get((request.method, request.path.rstrip("/")))
    if route is None:
        known = [f"{method} /_control{path}" for method, path in routes]
        return Answer({"error": f"no such control: {request.method} {request.path}", "known": known}, 404)
    try:
        return route()
    except (ValueError, TypeError) as error:
        return Answer({"error": str(error)}, 400)


def _faults(replay: MarketReplay) -> list[dict[str, Any]]:
    return [{**asdict(armed.fault), "fired": armed.fired} for armed in replay.faults.armed()]


def _inject(replay: MarketReplay, body: bytes) -> Answer:
    asked = json.loads(body)
    faults = [fault_of(values) for values in (asked if isinstance(asked, list) else [asked])]
    replay.inject(*faults)
    return Answer({"armed": len(faults)}, 201)


def _clear(replay: MarketReplay) -> Answer:
    replay.clear_faults()
    return Answer({"armed": 0})


def _set_clock(replay: MarketReplay, body: bytes) -> Answer:
    """{"now": ISO, "speed": number} starts anew, {"advance": seconds} moves on."""
    asked = json.loads(body)
    if "now" in asked or "speed" in asked:
        now = asked.get("now")
        replay.market.clock.set(None if now is None else datetime.fromisoformat(now), asked.get("speed"))
    replay.advance(float(asked.get("advance", 0)))
    return Answer({"now": iso(replay.market.now())})
