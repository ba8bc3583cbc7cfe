"""The semantic catalogue against the real views: columns, types, and every measure's SQL."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.semantic import COLUMNS, Catalogue, by_table, differences, load_catalogue, quoted
from tests.vault.adapter import ROOT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("broken tables"),
]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(ROOT / "transforms" / "semantic")


def test_every_column_is_there_with_its_type(built: Any, catalogue: Catalogue) -> None:
    columns = by_table(built.models.context.engine_adapter.fetchall(COLUMNS))
    assert differences(catalogue, columns) == []


def test_every_measure_can_be_asked_within_its_dimensions(built: Any, catalogue: Catalogue) -> None:
    asked = 0
    for table in catalogue.tables:
        for name, measure in table.measures.items():
            by = [quoted(dimension) for dimension in measure.within]
            selected = ", ".join([*by, f"{table.sql(name)} AS measured"])
            rows = built.models.context.engine_adapter.fetchall(
                f"SELECT {selected} FROM {table.table} GROUP BY {', '.join(by) or 'ALL'}"
            )
            assert rows, f"{table.table}.{name}"
            asked += rows[0][-1] is not None
    assert asked >= 20
    [(amount, fees, rate)] = built.models.context.engine_adapter.fetchall(
        "SELECT "
        + ", ".join(
            catalogue.table("semantic.semantic_transactions").sql(name)
            for name in ("transaction_amount", "fee_amount", "fee_rate")
        )
        + " FROM semantic.semantic_transactions"
    )
    assert (amount, fees, rate) == (30, 3, 10)
