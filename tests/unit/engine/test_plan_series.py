from dataclasses import replace
from datetime import timedelta

import pytest

from engine.plan.series import series_difference, series_parts
from engine.table import Column, Table
from engine.timeseries import TimeSeries

SERIES = TimeSeries("at", timedelta(days=7), candles=("1h",))
QUOTES = Table("quotes", (Column("at", "timestamp"),), primary_key=("symbol", "at"), timeseries=SERIES)
CASES = [
    (replace(QUOTES, primary_key=("at", "symbol")), []),
    (
        replace(QUOTES, primary_key=("at",)),
        ["~ keys.quotes: symbol, at -> at (the hypertable and its candles are made anew from landing)"],
    ),
    (
        replace(QUOTES, timeseries=replace(SERIES, retain=timedelta(days=30), chunk=timedelta(hours=36))),
        [
            "~ timeseries.quotes.chunk: 1w -> 36h (counts for chunks to come)",
            "~ timeseries.quotes.retain: none -> 30d (older rows are dropped from the hypertable, candles stay)",
        ],
    ),
    (
        replace(QUOTES, timeseries=replace(SERIES, candles=("1d",))),
        [
            "- timeseries.quotes.candles: 1h (drops the view quotes_1h)",
            "+ timeseries.quotes.candles: 1d (made of the rows that the hypertable has left)",
        ],
    ),
    (
        replace(QUOTES, timeseries=None),
        ["- timeseries.quotes (its hypertable and candles stay as they are, and are not filled)"],
    ),
]


def plan(*tables):
    return {"tables": {table.name: {} for table in tables}, **series_parts(tables)}


@pytest.mark.parametrize(("edited", "told"), CASES)
def test_an_edit_is_told_with_what_it_does(edited, told):
    assert series_difference(plan(QUOTES), plan(edited)) == told


def test_a_setting_taken_out_and_a_series_that_begins():
    kept = replace(QUOTES, timeseries=replace(SERIES, retain=timedelta(days=30)))
    [line] = series_difference(plan(kept), plan(QUOTES))
    assert line.startswith("~ timeseries.quotes.retain: 30d -> none (no more rows are dropped")
    [line] = series_difference(plan(replace(QUOTES, timeseries=None)), plan(QUOTES))
    assert line == "+ timeseries.quotes (a hypertable is made and filled from landing)"


def test_a_plan_of_an_older_version_says_nothing_of_them():
    assert series_difference({"tables": {"quotes": {}}}, plan(QUOTES)) == []
