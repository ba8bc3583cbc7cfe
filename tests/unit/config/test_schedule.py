"""Cron: what is refused, how often it fires, and that the quick path says what croniter says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.schedule import BOUNDS, PLAIN, ScheduleError, _expand, parse_schedule


@pytest.mark.parametrize(
    ("cron", "runs", "minutes"),
    [
        ("0 20 * * *", 30, 1440),
        ("*/5 * * * *", 30 * 288, 5),
        ("* * * * *", 30 * 1440, 1),
        ("*/35 * * * *", 30 * 48, 25),
        ("0,1 3 * * *", 60, 1),
        ("0 0 1 * *", 1, 28 * 1440),
        ("0 0 * * 1", 5, 7 * 1440),
        ("0 12 * * mon-fri", 22, 1440),
        ("@daily", 30, 1440),
        ("@hourly", 720, 60),
        ("0 0 l * *", 1, 28 * 1440),
        ("59 23 * * *", 30, 1440),
    ],
)
def test_frequency(cron: str, runs: int, minutes: int) -> None:
    schedule = parse_schedule(cron)
    assert schedule.runs_per_month == runs
    assert schedule.shortest_interval == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "cron",
    [
        *("", "every day", "a b c d e", "1" * 300, "0 20 * *", "* * * * * * *"),
        *("61 * * * *", "* 24 * * *", "*/0 * * * *", "0 0 0 * * *", "5-1 * * *", "0 0 * 13 *", "0 0 * * 9"),
        *("-1 * * * *", "0 0 30 2 *", "h h * * *", "@never"),
    ],
)
def test_refused(cron: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(cron)


def test_next_runs_are_in_the_zone_of_the_file() -> None:
    runs = parse_schedule("0 20 * * *").next_runs(datetime(2026, 1, 1, 14, tzinfo=UTC), "Asia/Ho_Chi_Minh", 2)
    assert [run.isoformat() for run in runs] == ["2026-01-02T20:00:00+07:00", "2026-01-03T20:00:00+07:00"]


@st.composite
def plain_fields(draw: st.DrawFn) -> str:
    fields = []
    for low, high in BOUNDS:
        parts = []
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(low, high))
            end = draw(st.integers(start, high))
            step = draw(st.sampled_from(["", "/2", "/7"]))
            parts.append(draw(st.sampled_from([f"{start}", f"{start}-{end}{step}"])))
        whole = draw(st.sampled_from(["*", "*/5", ",".join(parts)]))
        fields.append(whole)
    return " ".join(fields)


@settings(deadline=None)
@given(plain_fields())
@example("* * * * 0-6")
@example("0 0 1 * 0-6")
def test_the_quick_path_agrees_with_croniter(cron: str) -> None:
    assert all(PLAIN.match(field) for field in cron.split())
    try:
        minutes, hours, _, weekdays = _expand(cron)
    except ScheduleError:
        return  # a date that does not exist: croniter alone can tell, and the quick path asks it
    schedule = parse_schedule(cron)
    times = {60 * hour + minute for hour in hours or range(24) for minute in minutes or range(60)}
    assert set(schedule.minutes) == times
    assert schedule.weekdays == (frozenset(weekdays) or None)


@settings(deadline=None)
@given(st.sampled_from(["*/5 * * * *", "0 */6 * * *", "15,45 8-17 * * *", "0 20 * * *", "7 3 * * 1,4"]))
def test_the_shortest_interval_is_croniters(cron: str) -> None:
    runs = croniter(cron, datetime(2026, 1, 1, tzinfo=UTC))
    times = [runs.get_next(datetime) for _ in range(600)]
    gaps = [after - before for before, after in pairwise(times)]
    assert parse_schedule(cron).shortest_interval == min(gaps)
