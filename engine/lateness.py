"""When the next run of a pipeline is due by its schedule, and from when on it is late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.schedule import parse_schedule

PUNCTUAL = timedelta(seconds=2)
"""A run that began so little before its time is the run of that time: clocks and sleeps are not exact."""
GRACE = timedelta(minutes=30)
"""A run may begin so much after its time, or one interval where that is shorter, until it is late."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a run is due (UTC), and the time from there to the next one."""

    at: datetime
    interval: timedelta

    @property
    def late_at(self) -> datetime:
        """When it is late, if nothing has begun by then. The alert rule says the same."""
        return self.at + min(self.interval, GRACE)


def due(schedule: str, timezone: str, after: datetime) -> Due:
    """Return when the run behind one that began at `after` is due."""
    first, second = parse_schedule(schedule).next_runs(after + PUNCTUAL, timezone, 2)
    at = first.astimezone(UTC)
    return Due(at, second.astimezone(UTC) - at)
