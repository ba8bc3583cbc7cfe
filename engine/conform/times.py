"""Dates and instants, value by value: ISO 8601 text, datetimes, declared epochs, declared zones."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from engine.conform.faults import MisfitError
from engine.table import Column

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST_YEAR, LAST_YEAR = 1900, 2200
"""Years a timestamp may have: market data begins before 1970 (an index since 1927), and no source knows 2201."""
FIRST_EPOCH_YEAR, LAST_EPOCH_YEAR = 1990, 2100
"""Years an epoch number may mean: seconds sent as milliseconds, or the other way round, fall outside."""
EPOCH_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds of each declared unit."""

NO_ZONE = "a time without a zone, and the column declares none"
NO_SUCH_TIME = "a local time that does not exist in the declared zone"
OUTSIDE = f"a time outside the years {FIRST_YEAR} to {LAST_YEAR}"
EPOCH_OUTSIDE = f"an epoch number outside the years {FIRST_EPOCH_YEAR} to {LAST_EPOCH_YEAR}: is its unit right?"
NO_EPOCH = "a number for a time, and the column declares no epoch"
NOT_ISO = "not an ISO 8601 time"
NOT_A_DATE = "not an ISO 8601 date"
TIME_OF_DAY = "a time of day in a date column that declares no zone"
BOOLEAN = "a boolean for a time"

_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?)?"
    r" ?(?:([Zz]|UTC|GMT)|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,30})?")
_WIDE = Context(prec=80)


def micros(moment: datetime) -> int:
    """Return the microseconds between 1970 and an aware moment."""
    return (moment - EPOCH) // MICROSECOND


def year_start(year: int) -> int:
    """Return the microseconds between 1970 and the first instant of a year."""
    return micros(datetime(year, 1, 1, tzinfo=UTC))


FIRST, END = year_start(FIRST_YEAR), year_start(LAST_YEAR + 1)
FIRST_EPOCH, END_EPOCH = year_start(FIRST_EPOCH_YEAR), year_start(LAST_EPOCH_YEAR + 1)


def to_timestamp(value: Any, column: Column) -> int | None:
    """Return the UTC instant in microseconds since 1970; a fraction beyond them is cut towards the past."""
    if isinstance(value, str):
        text = value.strip(" ")
        if not text:
            return None
        if column.epoch and _NUMBER.fullmatch(text):
            return _from_epoch(Decimal(text), column)
        return _bounded(_instant(parsed(text, NOT_ISO), column))
    if isinstance(value, datetime):
        return None if value != value else _bounded(_instant(value, column))  # noqa: PLR0124 - pandas' NaT
    if isinstance(value, date):
        return _bounded(_instant(datetime(value.year, value.month, value.day), column))  # noqa: DTZ001 - zone is next
    if isinstance(value, bool):
        raise MisfitError(BOOLEAN)
    if isinstance(value, float):
        value = Decimal(repr(float(value)))
    if isinstance(value, int | Decimal):
        return _from_epoch(Decimal(value), column)
    raise MisfitError(NOT_ISO)


def to_date(value: Any, column: Column) -> date | None:
    """Return a date; an instant's date is that in the declared zone, without one only midnight is a date."""
    if isinstance(value, str):
        text = value.strip(" ")
        if not text:
            return None
        value = parsed(text, NOT_A_DATE)
    if isinstance(value, datetime):
        return None if value != value else _date_of(value, column)  # noqa: PLR0124 - pandas' NaT
    if isinstance(value, date):
        return value
    raise MisfitError(NOT_A_DATE)


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a zone by its IANA name. Raises ZoneInfoNotFoundError or ValueError."""
    return ZoneInfo(name)


def parsed(text: str, complaint: str) -> datetime:
    """Read ISO 8601 text into a datetime, naive where it has no zone."""
    found = _ISO.fullmatch(text)
    if not found:
        raise MisfitError(complaint)
    year, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = found.groups()
    if second == "60":
        raise MisfitError("a leap second")
    if hour == "24":
        raise MisfitError("24 o'clock")
    try:
        shift = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        offset = UTC if utc else (timezone(-shift if sign == "-" else shift) if sign else None)
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")),
            offset,
        )
    except ValueError:
        raise MisfitError("a date or time that does not exist") from None


def _instant(moment: datetime, column: Column) -> datetime:
    if not FIRST_YEAR - 1 <= moment.year <= LAST_YEAR + 1:
        raise MisfitError(OUTSIDE)
    if moment.tzinfo is not None and moment.utcoffset() is not None:
        return moment.astimezone(UTC)
    if column.timezone is None:
        raise MisfitError(NO_ZONE)
    local = zone(column.timezone)
    written = moment.replace(tzinfo=None, fold=0)
    instant = written.replace(tzinfo=local).astimezone(UTC)
    if instant.astimezone(local).replace(tzinfo=None, fold=0) != written:
        raise MisfitError(NO_SUCH_TIME)
    return instant


def _bounded(moment: datetime) -> int:
    since = micros(moment)
    if not FIRST <= since < END:
        raise MisfitError(OUTSIDE)
    return since


def _from_epoch(number: Decimal, column: Column) -> int:
    if column.epoch is None:
        raise MisfitError(NO_EPOCH)
    if not number.is_finite() or number.adjusted() > 20:  # noqa: PLR2004 - no unit needs more digits
        raise MisfitError(EPOCH_OUTSIDE)
    product = _WIDE.multiply(number, Decimal(EPOCH_UNITS[column.epoch]))
    since = int(product.to_integral_value(ROUND_FLOOR, _WIDE))
    if not FIRST_EPOCH <= since < END_EPOCH:
        raise MisfitError(EPOCH_OUTSIDE)
    return since


def _date_of(moment: datetime, column: Column) -> date:
    aware = moment.tzinfo is not None
    if column.timezone is not None:
        if not aware:
            return moment.date()
        try:
            return moment.astimezone(zone(column.timezone)).date()
        except OverflowError:
            raise MisfitError(NOT_A_DATE) from None
    midnight = not (moment.hour or moment.minute or moment.second or moment.microsecond)
    if midnight and (not aware or not moment.utcoffset()):
        return moment.date()
    raise MisfitError(TIME_OF_DAY)
