"""Dates as text: every day of every month is typed as a whole column, and days that are not there are set aside."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from engine.conform import vector_times
from engine.table import Column

DAY = Column("day", "date")


def test_all_days_but_the_29th_of_february_need_no_look_at_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2023, 1, 1) + timedelta(days=number) for number in range(800)]
    days = [day for day in days if (day.month, day.day) != (2, 29)]

    def never(*_: Any) -> Any:
        raise AssertionError("asked value by value")

    monkeypatch.setattr("engine.conform.vector_parts.convert_values", never)
    typed = vector_times.dates(pa.chunked_array([[day.isoformat() for day in days]]), DAY)
    assert typed.values.to_pylist() == days
    assert not typed.faults


@pytest.mark.parametrize("day", ["2024-02-29", "2000-02-29"])
def test_a_leap_day_is_one(day: str) -> None:
    assert vector_times.dates(pa.chunked_array([[day, None]]), DAY).values.to_pylist() == [
        date.fromisoformat(day),
        None,
    ]


@pytest.mark.parametrize(
    "month_and_day", ["02-30", "02-31", "04-31", "06-31", "09-31", "11-31", "01-32", "00-29", "13-31"]
)
def test_a_day_that_no_year_has_is_set_aside(month_and_day: str) -> None:
    typed = vector_times.dates(pa.chunked_array([["2024-01-31", f"2024-{month_and_day}"]]), DAY)
    assert typed.values.to_pylist() == [date(2024, 1, 31), None]
    assert list(typed.faults) == [1]


def test_the_29th_of_february_of_another_year_is_set_aside() -> None:
    typed = vector_times.dates(pa.chunked_array([["2023-02-29", "1900-02-29", "2023-02-28"]]), DAY)
    assert list(typed.faults) == [0, 1]
