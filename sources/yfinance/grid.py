"""Whether the newest bar of a chart is still moving.

Yahoo stamps finished bars with the instant at which they begin: the session's opening for daily bars of an exchange,
midnight for currencies and longer bars, the opening plus a multiple of the interval within a day. While a market is
open it appends one bar stamped with the last trade. Such a bar is off this grid, and its volume may be 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

DAY = 86_400
INTRADAY = {"1m": 60, "2m": 120, "5m": 300, "15m": 900, "60m": 3600, "1h": 3600}


@dataclass(frozen=True, slots=True)
class Session:
    """The exchange's zone, its current regular session and its last trade (epoch seconds)."""

    zone: tzinfo
    start: int | None = None
    end: int | None = None
    traded: int | None = None


def is_live(stamps: Sequence[int], interval: str, session: Session) -> bool:
    """Say whether the last of these bars is unfinished: off the grid, or inside a period that still trades."""
    last = stamps[-1]
    if session.traded is None:
        return False
    step = INTRADAY.get(interval)
    if step is not None:
        return (last - _origin(stamps, session)) % step != 0 or last <= session.traded < last + step
    if _time_of_day(last, session.zone) not in _grid(stamps, session):
        return True
    if interval == "1d":
        return _within(last, session) and session.end is not None and session.traded < session.end
    return _same_period(last, session.traded, interval, session.zone)


def _origin(stamps: Sequence[int], session: Session) -> int:
    return session.start if session.start is not None else stamps[0]


def _grid(stamps: Sequence[int], session: Session) -> set[int]:
    known = {0, *(_time_of_day(stamp, session.zone) for stamp in stamps[:-1])}
    if session.start is not None:
        known.add(_time_of_day(session.start, session.zone))
    return known


def _within(stamp: int, session: Session) -> bool:
    return session.start is not None and session.end is not None and session.start <= stamp < session.end


def _same_period(stamp: int, traded: int, interval: str, zone: tzinfo) -> bool:
    begins, now = (datetime.fromtimestamp(second, tz=zone) for second in (stamp, traded))
    if interval == "1mo":
        return (begins.year, begins.month) == (now.year, now.month)
    return stamp <= traded < stamp + 7 * DAY


def _time_of_day(stamp: int, zone: tzinfo) -> int:
    local = datetime.fromtimestamp(stamp, tz=zone)
    return local.hour * 3600 + local.minute * 60 + local.second
