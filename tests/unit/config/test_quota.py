"""Quota arithmetic: calls a run and a month, what fits, and the verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quota import MONTH_MINUTES, QuotaReport, every, fitting_interval, quota_report
from engine.schedule import parse_schedule
from engine.table import Table
from sources.protocol import Calls, Resource


def resource(
    calls: int, weight: int | None = None, per_minute: int | None = None, per_month: int | None = None
) -> Resource:
    asked = Calls(calls, weight if weight is not None else calls, per_minute, per_month)

    def build(_: object) -> None:
        raise AssertionError("the arithmetic builds nothing")

    return Resource(name=f"r{calls}", table=Table("t", ()), build=build, calls=asked)


def report(crons: dict[str, str | None], *resources: Resource) -> QuotaReport:
    extracts = {name: [("api", one) for one in resources] for name in crons}
    return quota_report(extracts, {name: parse_schedule(cron) for name, cron in crons.items() if cron})


def test_the_sentence_of_the_specification() -> None:
    (quota,) = report({"p": "*/5 * * * *"}, resource(7, per_month=10_000)).sources
    assert quota.sentence == "60,480 calls a month; the plan allows 10,000: every 35 minutes would fit"
    assert (quota.verdict, quota.pipeline, quota.calls_per_month) == ("refuse", "p", 60_480)


@pytest.mark.parametrize(
    ("cron", "limit", "verdict", "sentence"),
    [
        ("0 20 * * *", None, "ok", "30 calls a month"),
        ("0 20 * * *", 10_000, "ok", "30 calls a month; the plan allows 10,000"),
        (
            "0 20 * * *",
            30,
            "warn",
            "30 calls a month; the plan allows 30: 100% of it, retries and backfills come on top",
        ),
        ("0 20 * * *", 29, "refuse", "30 calls a month; the plan allows 29: every 25 hours would fit"),
        ("0 0 1 * *", 0, "refuse", "1 call a month; the plan allows 0: no schedule of p fits"),
        (None, 10, "ok", "0 calls a month; the plan allows 10"),
    ],
)
def test_verdicts_of_a_month(cron: str | None, limit: int | None, verdict: str, sentence: str) -> None:
    (quota,) = report({"p": cron}, resource(1, per_month=limit)).sources
    assert (quota.verdict, quota.sentence) == (verdict, sentence)


def test_pipelines_of_one_source_add_up() -> None:
    (quota,) = report({"daily": "0 20 * * *", "often": "*/5 * * * *"}, resource(1, per_month=5_000)).sources
    assert [(use.pipeline, use.calls_per_month) for use in quota.uses] == [("daily", 30), ("often", 8_640)]
    assert quota.calls_per_month == 8_670
    assert quota.pipeline == "often"
    assert quota.sentence.endswith("every 10 minutes would fit")


def test_a_run_that_takes_longer_than_its_interval_is_refused() -> None:
    (quota,) = report({"p": "*/5 * * * *"}, resource(100, 36_000, per_minute=6_000)).sources
    assert quota.verdict == "refuse"
    assert quota.sentence.endswith("6,000 a minute are allowed: it takes 6 minutes, every 10 minutes would fit")


def test_a_run_that_takes_minutes_is_a_warning() -> None:
    (quota,) = report({"p": "0 20 * * *"}, resource(100, 100, per_minute=30)).sources
    assert (quota.verdict, quota.pipeline) == ("warn", "p")
    assert quota.sentence.endswith("it takes 4 minutes")


def test_as_json() -> None:
    (row,) = report({"p": "0 20 * * *"}, resource(2, 4, per_minute=30, per_month=100)).as_json()
    use = {"pipeline": "p", "calls_per_run": 2, "weight_per_run": 4, "runs_per_month": 30, "calls_per_month": 60}
    assert row["uses"] == [use]
    assert (row["source"], row["calls_per_month"], row["verdict"]) == ("api", 60, "ok")


def test_a_source_that_does_not_count_its_calls_is_left_out() -> None:
    quiet = Resource(name="r", table=Table("t", ()), build=resource(1).build)
    assert report({"p": "0 20 * * *"}, quiet).sources == ()


@settings(deadline=None)
@given(st.integers(1, 5_000), st.integers(0, 1_000_000))
def test_the_interval_fits_and_five_minutes_less_does_not(calls: int, limit: int) -> None:
    minutes = fitting_interval(calls, limit)
    if minutes is None:
        assert limit < calls
        return
    assert minutes % 5 == 0
    assert MONTH_MINUTES / minutes * calls <= limit
    if minutes > 5:
        assert MONTH_MINUTES / (minutes - 5) * calls > limit // calls * calls


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (5, "every 5 minutes"),
        (60, "every hour"),
        (115, "every 115 minutes"),
        (120, "every 2 hours"),
        (1440, "every day"),
        (1490, "every 25 hours"),
        (4320, "every 3 days"),
        (4325, "every 4 days"),
    ],
)
def test_an_interval_is_said_as_people_do_and_never_shorter_than_it_is(minutes: int, said: str) -> None:
    assert every(minutes) == said
