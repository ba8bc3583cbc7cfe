"""When a run is due and when it is late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.lateness import due


@pytest.mark.parametrize(
    ("schedule", "after", "at", "late_at"),
    [
        ("*/5 * * * *", "12:00:01", "12:05:00", "12:10:00"),
        ("*/5 * * * *", "11:59:59", "12:05:00", "12:10:00"),  # it was the run of noon, a second early
        ("0 * * * *", "12:20:00", "13:00:00", "13:30:00"),
        ("0 20 * * *", "13:00:05", "13:00:00+1", "13:30:00+1"),  # 20:00 in Ho Chi Minh is 13:00 UTC
    ],
)
def test_due_and_late(schedule: str, after: str, at: str, late_at: str) -> None:
    def instant(text: str) -> datetime:
        time, _, days = text.partition("+")
        return datetime.fromisoformat(f"2026-03-01T{time}").replace(tzinfo=UTC) + timedelta(days=int(days or 0))

    found = due(schedule, "Asia/Ho_Chi_Minh", instant(after))
    assert (found.at, found.late_at) == (instant(at), instant(late_at))


def test_the_interval_is_the_one_that_begins_when_it_is_due() -> None:
    friday = datetime(2026, 3, 6, 12, tzinfo=UTC)
    assert due("0 20 * * 1-5", "UTC", friday).interval == timedelta(days=3)
