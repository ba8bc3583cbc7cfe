"""Arrow columns to dates and timestamps: text, instants, local times, epoch numbers."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.arrow_types import ARROW_TYPES
from engine.conform.times import (
    END,
    END_EPOCH,
    EPOCH_OUTSIDE,
    EPOCH_UNITS,
    FIRST,
    FIRST_EPOCH,
    OUTSIDE,
    year_start,
)
from engine.conform.values import Typed
from engine.conform.vector_parts import by_value, patched, refused, without_empty
from engine.table import Column

_INSTANT = ARROW_TYPES["timestamp"]
_DAY = r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_DATE = r"^(19|20|21)[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)$"
"""Every day but the 29th of February: that one is asked for its year."""
_CLOCK = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_WITH_ZONE = _DAY + _CLOCK + r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"
_WITHOUT_ZONE = _DAY + _CLOCK + "$"
_FIRST_OF_ZONES, _END_OF_ZONES = year_start(1902), year_start(2037)
_FIRST_OF_ZONES, _END_OF_ZONES = year_start(1902), year_start(2037)
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, in days since 1970."""
_FIRST_PLAIN_DAY, _END_OF_PLAIN_DAYS = -25_567, 84_006
"""1900-01-01 and 2200-01-01."""


def timestamps(values: pa.ChunkedArray, column: Column) -> Typed:
    """Type a column as UTC instants in microseconds."""
    kind = values.type
    if pa.types.is_string(kind):
        return _timestamps_of_text(values, column)
    if pa.types.is_integer(kind) and column.epoch:
        return _timestamps_of_epoch(values, values, column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        try:
            micros = _micros(values)
        except pa.ArrowInvalid:  # beyond what 64 bits of microseconds hold
            return by_value(values, column)
        return (
            _bounded(micros, values, column)
            if pa.types.is_timestamp(kind) and kind.tz
            else _from_local(micros, values, column)
        )
    return by_value(values, column)


def dates(values: pa.ChunkedArray, column: Column) -> Typed:
    """Type a column as dates."""
    kind = values.type
    if pa.types.is_date(kind):
        allowed = _between(values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY + 1)
        if _every(allowed):
            return Typed(values)
        faults = refused(values, allowed, "a date outside the years 1 to 9999", column)
        return Typed(pc.if_else(allowed, values, pa.scalar(None, values.type)), faults)
    if pa.types.is_string(kind):
        values = without_empty(values)
        days = _plain_dates(values)
        if days is not None:
            return Typed(days)
        sure = pc.match_substring_regex(values, _DATE)
        return patched(values, sure, lambda part: part.cast(pa.date32()), column)
    if pa.types.is_timestamp(kind):
        return _dates_of_timestamps(values, column)
    return by_value(values, column)


def _plain_dates(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Cast text; None unless all of it is days of the years that the pattern knows: a fifth of the pattern's time."""
    try:
        days = values.cast(pa.date32())
    except pa.ArrowInvalid:
        return None
    return days if _every(_between(days.cast(pa.int32()), _FIRST_PLAIN_DAY, _END_OF_PLAIN_DAYS)) else None


def _dates_of_timestamps(values: pa.ChunkedArray, column: Column) -> Typed:
    try:
        local = _micros(values)
    except pa.ArrowInvalid:
        return by_value(values, column)
    if values.type.tz and column.timezone:
        if not _every(_in_zone_table(local)):
            return by_value(values, column)
        local = pc.local_timestamp(local.cast(pa.timestamp("us", column.timezone)))
    local = local.cast(pa.timestamp("us"))
    sure = _between(local.cast(pa.int64()), FIRST, END)
    if column.timezone is None:
        sure = pc.and_(sure, pc.equal(pc.floor_temporal(local, unit="day"), local))
    if _every(sure):
        return Typed(local.cast(pa.date32(), safe=False))
    return by_value(values, column)


def _timestamps_of_text(values: pa.ChunkedArray, column: Column) -> Typed:
    values = without_empty(values)
    if column.epoch:
        if _every(pc.match_substring_regex(values, "^[0-9]{1,18}$")):
            return _timestamps_of_epoch(values.cast(pa.int64()), values, column)
        return by_value(values, column)
    try:
        return _bounded(values.cast(_INSTANT), values, column)
    except pa.ArrowInvalid:
        pass
    if column.timezone:
        return _local_text(values, column)
    return patched(values, pc.match_substring_regex(values, _WITH_ZONE), lambda part: part.cast(_INSTANT), column)


def _local_text(values: pa.ChunkedArray, column: Column) -> Typed:
    try:
        typed = _all_assumed(values.cast(pa.timestamp("us")), values, column)
    except pa.ArrowInvalid:
        typed = None
    if typed:
        return typed
    local = pc.match_substring_regex(values, _WITHOUT_ZONE)
    moments = pc.if_else(local, values, pa.scalar(None, pa.string())).cast(pa.timestamp("us"))
    sure = pc.if_else(pc.is_valid(values), pc.fill_null(_exists(moments, column), False), pa.scalar(None, pa.bool_()))
    return patched(values, sure, lambda part: _assumed(part.cast(pa.timestamp("us")), column), column)


def _timestamps_of_epoch(values: pa.ChunkedArray, given: pa.ChunkedArray, column: Column) -> Typed:
    unit = EPOCH_UNITS[column.epoch or "us"]
    allowed = _between(values, FIRST_EPOCH // unit, END_EPOCH // unit)
    faults = {} if _every(allowed) else refused(given, allowed, EPOCH_OUTSIDE, column)
    kept = pc.if_else(allowed, values, pa.scalar(None, values.type)) if faults else values
    return Typed(pc.multiply(kept.cast(pa.int64()), unit).cast(_INSTANT), faults)


def _micros(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return instants in UTC or local times without a zone, in microseconds, cut towards the past."""
    kind = values.type
    zone = "UTC" if pa.types.is_timestamp(kind) and kind.tz else None
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        plain = values.cast(pa.timestamp("ns", zone)).cast(pa.timestamp("ns"))
        values = pc.floor_temporal(plain, unit="microsecond")
        return values.cast(pa.timestamp("us")).cast(pa.timestamp("us", zone))
    return values.cast(pa.timestamp("us", zone))


def _from_local(values: pa.ChunkedArray, given: pa.ChunkedArray, column: Column) -> Typed:
    """Give local times the column's zone: of two meanings the earlier, of none a fault."""
    if column.timezone is None:
        return by_value(values, column)
    typed = _all_assumed(values, given, column)
    return typed or patched(values, _exists(values, column), lambda part: _assumed(part, column), column)


def _all_assumed(values: pa.ChunkedArray, given: pa.ChunkedArray, column: Column) -> Typed | None:
    """Type local times that all exist; None where Arrow is not sure of one."""
    if not _every(_in_zone_table(values)):
        return None
    try:
        return _bounded(_assumed(values, column), given, column)
    except pa.ArrowInvalid:
        return None


def _exists(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Whether the zone's clocks surely showed these local times: before and after a gap differ."""
    known = _in_zone_table(values)
    values = pc.if_else(known, values, pa.scalar(None, values.type))
    before = pc.assume_timezone(values, column.timezone, ambiguous="earliest", nonexistent="earliest")
    after = pc.assume_timezone(values, column.timezone, ambiguous="earliest", nonexistent="latest")
    return pc.and_kleene(known, pc.equal(before, after))


def _in_zone_table(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether Arrow's zone arithmetic holds: it ends with the table of 1901 to 2037 and knows no later summer time."""
    return _between(values.cast(pa.int64()), _FIRST_OF_ZONES, _END_OF_ZONES)


def _assumed(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    return pc.assume_timezone(values, column.timezone, ambiguous="earliest", nonexistent="raise").cast(_INSTANT)


def _bounded(instants: pa.ChunkedArray, given: pa.ChunkedArray, column: Column) -> Typed:
    allowed = _between(instants.cast(pa.int64()), FIRST, END)
    if _every(allowed):
        return Typed(instants)
    faults = refused(given, allowed, OUTSIDE, column)
    return Typed(pc.if_else(allowed, instants, pa.scalar(None, _INSTANT)), faults)


def _between(numbers: pa.ChunkedArray, first: int, end: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(numbers, first), pc.less(numbers, end))


def _every(mask: pa.ChunkedArray) -> bool:
    return pc.all(mask).as_py() is not False
