"""The `timeseries:` block of a resource, the same for every source that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field

from engine.table import Column
from engine.timeseries import TimeSeries, problem
from sources.rest.words import WORDS, DurationText, duration

CandleLength = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]


class TimeseriesSettings(BaseModel):
    """How a destination of `type: timescaledb` keeps the table; all others leave it alone."""

    model_config = WORDS

    hypertable: str = Field(description="the timestamp column by which it is cut into chunks; part of the primary_key")
    chunk: DurationText = Field(default="7d", description="length of a chunk; a change counts for chunks to come")
    compress_after: DurationText | None = Field(
        default=None, description="age at which chunks are compressed; without it they are not"
    )
    retain: DurationText | None = Field(
        default=None, description="age at which chunks are dropped from schema timeseries; without it nothing is"
    )
    candles: list[CandleLength] = Field(
        default=[], description="lengths of the candles that are kept as continuous aggregates, <table>_<length>"
    )

    def series(self) -> TimeSeries:
        """Build what a destination reads."""
        return TimeSeries(
            self.hypertable,
            duration(self.chunk),
            _maybe(self.compress_after),
            _maybe(self.retain),
            tuple(dict.fromkeys(self.candles)),
        )


def checked(
    settings: TimeseriesSettings | None, columns: Sequence[Column], primary_key: Sequence[str]
) -> TimeseriesSettings | None:
    """Return the settings as they are. Raises ValueError where they do not fit the table."""
    if settings and (wrong := problem(settings.series(), columns, primary_key)):
        raise ValueError(wrong)
    return settings


def checked_beside(settings: TimeseriesSettings | None, validated: Mapping[str, object]) -> TimeseriesSettings | None:
    """As `checked`, within a resource that declares `columns` and `primary_key` before its `timeseries`."""
    from sources.columns import columns_of

    columns, key = validated.get("columns"), validated.get("primary_key")
    if not isinstance(columns, dict) or not isinstance(key, list):
        return settings  # they are wrong themselves: that is said
    return checked(settings, columns_of(columns), key)


def _maybe(text: str | None) -> timedelta | None:
    return duration(text) if text else None
