"""Where the clock is set on or back, the engine waits for a run when Prefect's scheduler starts it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from engine.lateness import due
from engine.schedule import parse_schedule

CHANGES = {
    "Berlin, on": ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    "Berlin, back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York, back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Santiago, on": ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    "Lord Howe, half an hour": ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),
}
CRONS = (
    "30 2 * * *",
    "0 2 * * *",
    "30 1 * * *",
    "0 1-3 * * *",
    "15 0 * * *",
    "*/20 2 * * *",
    "*/30 * * * *",
    "0 3 * * 1",
)
MONTHLY = "0 4 1 * *"
CRONS += ("* * * * *", MONTHLY)


@pytest.mark.parametrize("change", CHANGES)
def test_runs_are_due_when_prefect_starts_them(change: str) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    zone, at = CHANGES[change]
    for minutes in (-900, -70, -50, -30, -10, 10, 30, 50, 70):
        after = at + timedelta(minutes=minutes)
        for cron in CRONS:
            given = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(100, start=after))
            # within the changed hour Prefect gives times that are over, too: it starts none twice
            begin = [each.astimezone(UTC) for each in given if each > after]
            found = parse_schedule(cron).next_runs(after, zone, 3)
            assert [each.astimezone(UTC) for each in found] == sorted(begin)[:3], (cron, minutes)


@pytest.mark.parametrize("change", CHANGES)
def test_the_last_run_is_the_one_before_the_next(change: str) -> None:
    zone, at = CHANGES[change]
    for cron in CRONS:
        schedule = parse_schedule(cron)
        run = schedule.next_runs(at - timedelta(days=40 if cron == MONTHLY else 2), zone)[0]
        while run < at + timedelta(days=1) and cron != "* * * * *":
            following = schedule.next_runs(run, zone)[0]
            assert schedule.last_run(following, zone) == run, cron
            run = following


def test_a_night_s_run_is_not_late_for_a_day() -> None:
    """It began at 00:30 UTC, the first of two times that are 02:30 in Berlin that night."""
    began = datetime(2026, 10, 25, 0, 30, 1, tzinfo=UTC)
    assert due("30 2 * * *", "Europe/Berlin", began).at == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
