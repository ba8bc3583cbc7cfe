"""Which types of landed packages a replay takes into a table as it is declared now."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast, get_args

from destinations.landing_rules import refuse_other_types
from engine.conform.schema import MergedSchema
from engine.errors import DestinationError, UsageError
from engine.table import Column, DataType, Table

if TYPE_CHECKING:
    from engine.lake.package import Package

TYPES: tuple[DataType, ...] = get_args(DataType)


def replays(landed: DataType, declared: DataType) -> bool:
    package = SimpleNamespace(
        manifest=SimpleNamespace(columns=[Column("n", landed)]), entry=SimpleNamespace(load_id="1")
    )
    try:
        refuse_other_types("warehouse", Table("raw_n", (Column("n", declared),)), cast("Package", package))
    except DestinationError:
        return False
    return True


def lands(landed: DataType, declared: DataType) -> bool:
    try:
        MergedSchema(Table("raw_n", (Column("n", declared),)), [Column("n", landed)])
    except UsageError:
        return False
    return True


def test_a_replay_refuses_the_types_that_a_run_refuses() -> None:
    """Decimals declared where whole numbers are landed among them: the column would take those, a run lands none."""
    pairs = list(product(TYPES, TYPES))
    assert [pair for pair in pairs if replays(*pair)] == [pair for pair in pairs if lands(*pair)]
    assert not replays("bigint", "decimal")
    assert replays("bigint", "double")
