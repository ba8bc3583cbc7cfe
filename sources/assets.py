"""The asset lists of pipelines.yaml as a landed table: delivered whole whenever any list has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.table import Column, Table
from sources.protocol import AssetLists, Resource, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

SOURCE = "assets"
"""The record source of raw_assets."""
TABLE = "raw_assets"


def asset_resource(assets: AssetLists) -> Resource:
    """Return the resource that lands every configured asset once, with its symbol at each source."""
    symbols = sorted({name for listed in assets.values() for asset in listed for name in asset.symbols})
    columns = (
        Column("asset_symbol", "text", nullable=False),
        Column("asset_type", "text", nullable=False, description="crypto or stock"),
        Column("asset_name", "text"),
        Column("asset_category", "text"),
        *(Column(name, "text", description=f"symbol at {name}; null: not carried there") for name in symbols),
    )
    table = Table(TABLE, columns, ("asset_symbol", "asset_type"), description="Assets of pipelines.yaml, resolved")
    return Resource(TABLE, table, _build)


def _build(context: SourceContext) -> DltResource:
    import dlt

    def raw_assets() -> Iterator[list[dict[str, Any]]]:
        rows = asset_rows(context.assets)
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
        state = dlt.current.resource_state()
        if state.get("sha256") != digest:
            state["sha256"] = digest
            yield rows

    return dlt.resource(raw_assets, name=TABLE)


def asset_rows(assets: AssetLists) -> list[dict[str, Any]]:
    """One row an asset; one that stands in several lists comes once."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for listed in assets.values():
        for asset in listed:
            rows.setdefault(
                (asset.symbol, asset.asset_type),
                {
                    "asset_symbol": asset.symbol,
                    "asset_type": asset.asset_type,
                    "asset_name": asset.name or None,
                    "asset_category": asset.category or None,
                    **{name: symbol or None for name, symbol in asset.symbols.items()},
                },
            )
    return list(rows.values())
