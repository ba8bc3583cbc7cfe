"""`engine diff` tells rows of the vault from another by what they are kept by."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.data_diff import _grain

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("broken tables"),
]


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        ("vault.hub_customer", "customer_hk"),
        ("vault.link_customer_company", "customer_company_hk"),
        ("vault.sat_customer_profile", "customer_hk, record_source, load_timestamp"),
        ("vault.sat_asset_price_stock", "asset_hk, observed_at, record_source, load_timestamp"),
        ("vault.eff_sat_customer_company", "customer_hk, effective_from"),
    ],
)
def test_these_columns_tell_a_row_from_another(built: Any, model: str, columns: str) -> None:
    native = built.snapshot(model).model
    assert _grain(native) == columns.split(", ")
    table = built.table(model) if native.kind.is_materialized else model
    twice = f"SELECT {columns} FROM {table} GROUP BY ALL HAVING count(*) > 1"
    assert built.models.context.engine_adapter.fetchall(twice) == []
