"""Cron schedules: are they right, when do they fire, how often at most, how many runs in a month.

Frequencies are counted on the wall clock of a 30-day month; a change to or from summer time is left out of them,
`next_runs` follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

MONTH_DAYS = 30
DAY_MINUTES = 24 * 60
FIELDS = 5
MAX_LENGTH = 200


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
        """The next runs after an instant (with a zone), in the given zone."""
        from croniter import croniter

        runs = croniter(self.cron, after.astimezone(ZoneInfo(timezone)))
        return [runs.get_next(datetime) for _ in range(count)]

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


def parse_schedule(cron: str) -> Schedule:
    """Check a cron expression of five fields (or @daily and its like). Raises ScheduleError."""
    from croniter import croniter
    from croniter.croniter import CroniterError

    text = cron.strip().lower()
    if len(text) > MAX_LENGTH or not (text.startswith("@") or len(text.split()) == FIELDS):
        raise ScheduleError(f"a schedule has five fields (minute hour day month weekday), this has {len(text.split())}")
    if "h(" in text or any(part.split("/")[0] in {"h", "r"} for part in text.split()):
        raise ScheduleError("hashed and random fields (H, R) have no fixed time")
    try:
        fields, nth = croniter.expand(text)
        croniter(text, datetime(2028, 1, 1, tzinfo=ZoneInfo("UTC"))).get_next()
    except (CroniterError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).strip().rstrip(".") or "not a cron expression"
        raise ScheduleError(reason[:MAX_LENGTH]) from None
    minutes, hours, days, _, weekdays = fields[:FIELDS]
    at = _numbers(minutes, range(60)), _numbers(hours, range(24))
    times = sorted(hour * 60 + minute for hour in at[1] for minute in at[0])
    every_weekday = weekdays == ["*"] and not nth
    week = frozenset(int(day) % 7 for day in (nth or weekdays) if day not in {"*", "l"})
    month = frozenset(28 if day == "l" else int(day) for day in days if day != "*")
    return Schedule(text, tuple(times), None if days == ["*"] else month, None if every_weekday else week)


def _numbers(values: Sequence[int | str], every: range) -> list[int]:
    return list(every) if "*" in values else [int(value) for value in values]
