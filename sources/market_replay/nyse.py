"""When the New York Stock Exchange trades: 09:30 to 16:00 in New York, Monday to Friday, without its fixed holidays.

Early closes (the days before some holidays) are not modelled: such a day is a whole one here.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
SESSION_MINUTES = 390


def _weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth weekday (0 is Monday) of a month; nth -1 is the last one."""
    if nth > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the anonymous computus)."""
    century = year // 100
    correction = century - century // 4 - (8 * century + 13) // 25
    epact = (19 * (year % 19) + correction + 15) % 30
    epact -= (epact // 28) * (1 - (29 // (epact + 1)) * ((21 - year % 19) // 11))
    weekday = (year + year // 4 + epact + 2 - century + century // 4) % 7
    offset = epact - weekday
    month = 3 + (offset + 40) // 44
    return date(year, month, offset + 28 - 31 * (month // 4))


def _observed(day: date, *, saturday: bool = True) -> date | None:
    """A holiday on a Sunday is kept on Monday; on a Saturday on Friday, but for New Year's Day."""
    if day.weekday() == 6:  # noqa: PLR2004 - Sunday
        return day + timedelta(days=1)
    if day.weekday() == 5:  # noqa: PLR2004 - Saturday
        return day - timedelta(days=1) if saturday else None
    return day


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """The exchange's ten full holidays of a year, as observed."""
    days = {
        _observed(date(year, 1, 1), saturday=False),
        _weekday(year, 1, 0, 3),  # Martin Luther King Jr. Day
        _weekday(year, 2, 0, 3),  # Washington's Birthday
        _easter(year) - timedelta(days=2),  # Good Friday
        _weekday(year, 5, 0, -1),  # Memorial Day
        _observed(date(year, 6, 19)),  # Juneteenth
        _observed(date(year, 7, 4)),
        _weekday(year, 9, 0, 1),  # Labor Day
        _weekday(year, 11, 3, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    return frozenset(day for day in days if day is not None)


def is_trading_day(day: date) -> bool:
    """Whether the exchange opens on this day (a date in New York)."""
    return day.weekday() < 5 and day not in holidays(day.year)  # noqa: PLR2004 - Monday to Friday


@lru_cache(maxsize=8192)
def session_open(day: date) -> int:
    """09:30 in New York on that day, as epoch seconds."""
    return int(datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK).timestamp())


def new_york_date(instant: float) -> date:
    """The date in New York at that instant."""
    return datetime.fromtimestamp(instant, tz=UTC).astimezone(NEW_YORK).date()


def split_day(year: int) -> date:
    """The first Monday of June: never a holiday of the exchange."""
    return _weekday(year, 6, 0, 1)
