"""Cron schedules: are they right, when do they fire, how often at most, how many runs in a month.

Frequencies are counted on the wall clock of a 30-day month; a change to or from summer time is left out of them,
`next_runs` follows it as Prefect's scheduler does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

MONTH_DAYS = 30
DAY_MINUTES = 24 * 60
FIELDS = 5
MAX_LENGTH = 200
LAST_DAY = 28
WEEK_DAYS = 7
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
PLAIN = re.compile(r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[0-9]{1,2})?(,[0-9]{1,2}(-[0-9]{1,2})?(/[0-9]{1,2})?)*\Z")
"""Fields that need no croniter, whose import takes a tenth of `engine validate`."""

CHANGE = timedelta(hours=3)
"""No zone's clock is set on or back by more at once."""


class ScheduleError(ValueError):
    """A cron expression that is not one; the message says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked cron expression: `minutes` of the day on which it fires, on the days that `days_of` counts."""

    cron: str
    minutes: tuple[int, ...]
    days: frozenset[int] | None
    weekdays: frozenset[int] | None
    """Days of the month (1 to 31) and of the week (0 is Sunday); None: every one. Both given: either is enough."""

    @property
    def shortest_interval(self) -> timedelta:
        """The least time between two runs."""
        gaps = [after - before for before, after in pairwise(self.minutes)]
        days = self._days_fired(31)
        overnight = min((after - before for before, after in pairwise(days)), default=28)
        gaps.append((overnight - 1) * DAY_MINUTES + DAY_MINUTES - self.minutes[-1] + self.minutes[0])
        return timedelta(minutes=min(gaps))

    @property
    def runs_per_month(self) -> int:
        """Runs in the busiest 30-day month (whatever its first weekday), at least one."""
        return max(1, len(self._days_fired(MONTH_DAYS))) * len(self.minutes)

    def next_runs(self, after: datetime, timezone: str, count: int = 1) -> list[datetime]:
        """The next runs after an instant (with a zone), in the given zone: when Prefect's scheduler starts them.

        A time of the wall clock that comes twice (the end of summer time) is the first of the two; one that is left out
        is counted from behind the gap.
        """
        from croniter import croniter

        zone = ZoneInfo(timezone)
        walls = croniter(self.cron, _wall(after, zone))
        found: list[datetime] = []
        last = after
        while len(found) < count:
            at = _instant(walls.get_next(datetime), zone)
            if at > last:
                found.append(at.astimezone(zone))
                last = at
        return found

    def last_run(self, before: datetime, timezone: str) -> datetime:
        """The last time that it gives before an instant (with a zone), in the given zone; as `next_runs` has it."""
        from croniter import croniter

        zone = ZoneInfo(timezone)
        here = _wall(before, zone)
        walls = croniter(self.cron, here + CHANGE)
        last: datetime | None = None
        while True:
            wall = walls.get_prev(datetime)
            if last is not None and wall < here - CHANGE:
                return last.astimezone(zone)
            at = _instant(wall, zone)
            if at < before:
                last = at if last is None else max(last, at)

    def _days_fired(self, length: int) -> list[int]:
        """Days of the busiest month of that length on which it fires."""
        return max((self._month(length, first) for first in range(7)), key=len)

    def _month(self, length: int, first_weekday: int) -> list[int]:
        fired = []
        for day in range(1, length + 1):
            in_days = self.days is not None and day in self.days
            in_week = self.weekdays is not None and (first_weekday + day - 1) % 7 in self.weekdays
            if in_days or in_week or (self.days is None and self.weekdays is None):
                fired.append(day)
        return fired


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The earlier of what a time of the wall clock may be, in UTC."""
    return min(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def parse_schedule(cron: str) -> Schedule:
    """Check a cron expression of five fields (or @daily and its like). Raises ScheduleError."""
    text = cron.strip().lower()
    fields = text.split()
    if len(text) > MAX_LENGTH or not (text.startswith("@") or len(fields) == FIELDS):
        raise ScheduleError(f"a schedule has five fields (minute hour day month weekday), this has {len(fields)}")
    if all(PLAIN.match(field) for field in fields):
        expanded = [_plain(field, *bounds) for field, bounds in zip(fields, BOUNDS, strict=True)]
        if None not in expanded and expanded[2] == set():
            minutes, hours, days, _, weekdays = (sorted(values or ()) for values in expanded)
            return _schedule(text, minutes, hours, days, [day % 7 for day in weekdays])
    return _schedule(text, *_expand(text))


def _schedule(
    text: str, minutes: Sequence[int], hours: Sequence[int], days: Sequence[int], weekdays: Sequence[int]
) -> Schedule:
    """Put expanded fields together; an empty field is every value."""
    times = sorted(hour * 60 + minute for hour in hours or range(24) for minute in minutes or range(60))
    week = frozenset(weekdays)
    if len(week) == WEEK_DAYS and not days:
        week = frozenset()  # as croniter has it; beside days of the month all seven do count: it fires every day
    return Schedule(text, tuple(times), frozenset(days) or None, week or None)


def _plain(field: str, low: int, high: int) -> set[int] | None:
    """Expand lists, ranges and steps of numbers; a star gives an empty set, a value out of bounds None."""
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if part == "*":
            return set() if field == "*" else None
        start, end = (low, high) if first == "*" else (int(first), int(last or (high if step else first)))
        if not (low <= start <= end <= high) or (step and int(step) < 1) or first == last:
            return None  # wrong, or (2-2) what croniter reads as every value: it decides
        values |= set(range(start, end + 1, int(step or 1)))
    return values


def _expand(text: str) -> tuple[list[int], list[int], list[int], list[int]]:
    """Let croniter judge what is not plain numbers: names, L, #, @daily, a day that a month may lack."""
    from croniter import croniter
    from croniter.croniter import CroniterError

    if any(part.split("/")[0].split("(")[0] in {"h", "r"} for part in text.split()):
        raise ScheduleError("hashed and random fields (H, R) have no fixed time")
    try:
        fields, nth = croniter.expand(text)
        croniter(text, datetime(2028, 1, 1, tzinfo=ZoneInfo("UTC"))).get_next()
    except (CroniterError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).strip().rstrip(".") or "not a cron expression"
        raise ScheduleError(reason[:MAX_LENGTH]) from None
    minutes, hours, days, _, weekdays = fields[:FIELDS]
    on_days = [LAST_DAY if day == "l" else int(day) for day in days if day != "*"]
    on_weekdays = [int(day) % 7 for day in (nth or weekdays) if day not in {"*", "l"}]
    return _numbers(minutes), _numbers(hours), on_days, on_weekdays


def _numbers(values: Sequence[int | str]) -> list[int]:
    return [] if "*" in values else [int(value) for value in values]
