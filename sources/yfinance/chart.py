"""Yahoo's chart answer (v8) read without a float: every number is the decimal that stood in the text.

Shape: {"chart": {"result": [{"meta": {...}, "timestamp": [...], "events": {"dividends": {...}, "splits": {...}},
"indicators": {"quote": [{"open": [...], ...}], "adjclose": [{"adjclose": [...]}]}}], "error": null}}. The arrays run
parallel to `timestamp`; an empty range has neither timestamps nor arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sources.yfinance.grid import Session, is_live

PLACES = 18
SCALE = Decimal(1).scaleb(-PLACES)
"""Landed decimals have 18 places. Yahoo's numbers are binary floats: what a tiny price shows past them is noise."""
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)
FIELDS = ("open", "high", "low", "close", "volume")
ZERO = Decimal(0)
LATEST = 200_000_000_000
"""Epoch seconds that are still a date everywhere (year 8307)."""


class ChartError(Exception):
    """The answer is not a chart. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. Numbers are Decimal, int or None; text where Yahoo sent text, for the typing stage to judge."""

    begins: datetime
    day: date
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    adj_close: Any = None
    dividends: Decimal = ZERO
    splits: Decimal = ZERO
    capital_gains: Decimal = ZERO
    live: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of one ticker. `empty` counts bars that had no price at all, `unplaced` events outside every bar."""

    symbol: str
    currency: str | None
    company: str | None
    bars: tuple[Bar, ...]
    empty: int = 0
    unplaced: int = 0


def read_json(body: bytes) -> Any:
    """Parse JSON with exact decimals; NaN and Infinity, which are not JSON, count as null. Raises ValueError."""
    try:
        return json.loads(body, parse_float=_decimal, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def exact(number: Decimal) -> Decimal:
    """Return the number within the 18 places that the lake stores."""
    exponent = number.as_tuple().exponent
    return number.quantize(SCALE, context=WIDE) if isinstance(exponent, int) and exponent < -PLACES else number


def _decimal(text: str) -> Decimal | str:
    try:
        return exact(Decimal(text))
    except InvalidOperation:  # an exponent or a length beyond every decimal: the typing stage judges the text
        return text


def parse_chart(body: bytes, interval: str) -> Chart:
    """Read one chart answer. Raises ChartError."""
    try:
        answer = read_json(body)
    except ValueError as error:
        raise ChartError("the answer is not JSON") from error
    chart = answer.get("chart") if isinstance(answer, dict) else None
    if not isinstance(chart, dict):
        raise ChartError("the answer holds no chart; Yahoo may have changed its format")
    reason = chart.get("error")
    if reason:
        raise ChartError(str(reason.get("description") or reason) if isinstance(reason, dict) else str(reason))
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], dict):
        raise ChartError("the answer holds no chart; Yahoo may have changed its format")
    try:
        return _chart(results[0], interval)
    except (TypeError, ValueError, ArithmeticError, OSError) as error:  # odd types where numbers or names stood
        raise ChartError("the answer holds odd values; Yahoo may have changed its format") from error


def _chart(result: Mapping[str, Any], interval: str) -> Chart:
    meta = _mapping(result.get("meta"))
    zone = _zone(meta)
    stamps = result.get("timestamp") or []
    if not isinstance(stamps, list) or any(type(stamp) is not int or abs(stamp) > LATEST for stamp in stamps):
        raise ChartError("the bars' timestamps are not whole seconds; Yahoo may have changed its format")
    quote = _first(result, "quote")
    arrays = {name: _array(quote, name, len(stamps)) for name in FIELDS} if stamps else {}
    adjusted = _first(result, "adjclose").get("adjclose")
    arrays["adj_close"] = adjusted if isinstance(adjusted, list) and len(adjusted) == len(stamps) else []
    extra = {
        name: values
        for name, values in quote.items()
        if name not in FIELDS and isinstance(values, list) and len(values) == len(stamps)
    }
    events = _Events(_mapping(result.get("events")), stamps, zone, interval)
    session = _session(meta, zone)
    bars = []
    for at, stamp in enumerate(stamps):
        begins = datetime.fromtimestamp(stamp, tz=UTC)
        bars.append(
            Bar(
                begins=begins,
                day=begins.astimezone(zone).date(),
                **{name: values[at] if values else None for name, values in arrays.items()},
                dividends=events.total("dividends", at),
                splits=events.total("splits", at),
                capital_gains=events.total("capitalGains", at),
                live=at == len(stamps) - 1 and is_live(stamps, interval, session),
                extra={name: values[at] for name, values in extra.items()},
            )
        )
    priced = tuple(bar for bar in bars if any(v is not None for v in (bar.open, bar.high, bar.low, bar.close)))
    return Chart(
        symbol=str(meta.get("symbol") or ""),
        currency=meta.get("currency"),
        company=meta.get("longName") or meta.get("shortName"),
        bars=priced,
        empty=len(bars) - len(priced),
        unplaced=events.unplaced,
    )


class _Events:
    """Dividends, splits and capital gains, each placed on its bar: same trading day, else the bar that holds it."""

    def __init__(self, events: Mapping[str, Any], stamps: list[int], zone: tzinfo, interval: str) -> None:
        self.unplaced = 0
        self._totals: dict[tuple[str, int], Decimal] = {}
        days = {_day(stamp, zone): at for at, stamp in enumerate(stamps)} if interval == "1d" else {}
        for kind, amount in (("dividends", _amount), ("splits", _ratio), ("capitalGains", _amount)):
            for event in _values(events.get(kind)):
                when = event.get("date")
                value = amount(event)
                at = _place(when, stamps, days, zone) if isinstance(when, int) else None
                if at is None or value is None:
                    self.unplaced += 1
                    continue
                before = self._totals.get((kind, at))
                self._totals[kind, at] = value if before is None else _both(kind, before, value)

    def total(self, kind: str, at: int) -> Decimal:
        return self._totals.get((kind, at), ZERO)


def _place(when: int, stamps: list[int], days: Mapping[date, int], zone: tzinfo) -> int | None:
    if days:
        return days.get(_day(when, zone))
    earlier = [at for at, stamp in enumerate(stamps) if stamp <= when]
    return earlier[-1] if earlier else None


def _both(kind: str, one: Decimal, other: Decimal) -> Decimal:
    return exact(WIDE.multiply(one, other) if kind == "splits" else WIDE.add(one, other))


def _amount(event: Mapping[str, Any]) -> Decimal | None:
    return _number(event.get("amount"))


def _ratio(event: Mapping[str, Any]) -> Decimal | None:
    new, old = _number(event.get("numerator")), _number(event.get("denominator"))
    return exact(WIDE.divide(new, old)) if new is not None and old else None


def _number(value: object) -> Decimal | None:
    return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _day(stamp: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(stamp, tz=zone).date()


def _zone(meta: Mapping[str, Any]) -> tzinfo:
    try:
        return ZoneInfo(str(meta["exchangeTimezoneName"]))
    except (KeyError, ValueError, ZoneInfoNotFoundError):
        offset = meta.get("gmtoffset")
        return timezone(timedelta(seconds=offset)) if isinstance(offset, int) else UTC


def _session(meta: Mapping[str, Any], zone: tzinfo) -> Session:
    regular = _mapping(_mapping(meta.get("currentTradingPeriod")).get("regular"))
    whole = {name: value for name, value in regular.items() if name in {"start", "end"} and isinstance(value, int)}
    traded = meta.get("regularMarketTime")
    return Session(
        zone=zone, start=whole.get("start"), end=whole.get("end"), traded=traded if isinstance(traded, int) else None
    )


def _array(quote: Mapping[str, Any], name: str, length: int) -> list[Any]:
    values = quote.get(name)
    if not isinstance(values, list):
        raise ChartError(f"the bars have no `{name}` values; Yahoo may have changed its format")
    if len(values) != length:
        raise ChartError(f"{length} bars but {len(values)} `{name}` values: the answer is damaged")
    return values


def _first(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    blocks = _mapping(result.get("indicators")).get(name)
    return _mapping(blocks[0]) if isinstance(blocks, list) and blocks else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _values(value: object) -> Iterable[Mapping[str, Any]]:
    return [event for event in _mapping(value).values() if isinstance(event, dict)]
