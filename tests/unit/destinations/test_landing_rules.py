"""Which types of landed packages a replay takes into a table as it is declared now."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast, get_args

import pytest

from destinations.dialect import DUCKDB
from destinations.landing_rules import evolution, refuse_other_types
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


@pytest.mark.parametrize(
    ("stored", "remedy"), [("numeric(10,2)", "Somebody altered it there"), ("BOOLEAN", "pipelines.yaml")]
)
def test_a_type_that_no_file_can_ask_for_was_altered_in_the_database(stored: str, remedy: str) -> None:
    with pytest.raises(DestinationError, match=r"'n' of landing.raw_n is stored as .*, not as DECIMAL") as refused:
        evolution("store", DUCKDB, "raw_n", {"n": stored}, [Column("n", "decimal")])
    assert remedy in refused.value.remedy
