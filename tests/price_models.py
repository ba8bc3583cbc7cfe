"""The models of prices alone, for projects that many tests build from nothing: what they show is not the customers."""

from __future__ import annotations

import shutil
from pathlib import Path

TRANSFORMS = Path(__file__).parents[1] / "transforms"
KEPT = {
    "stage": {"price_crypto", "price_stock", "news", "transaction_personal", "transaction_corporate"},
    "vault": {"hub_asset", "sat_asset_price_crypto", "sat_asset_price_stock"},
    "marts": {"fct_asset_prices", "fct_asset_candles"},
    "business": set(),
    "semantic": set(),
}
"""Models by folder; of the other folders everything. Assets have five feeds, and prices are checked against assets."""


def copy_price_models(folder: Path) -> None:
    """Write `folder`/transforms with the models from landed prices to fct_asset_prices and fct_asset_candles."""

    def left_out(path: str, names: list[str]) -> set[str]:
        kept = KEPT.get(Path(path).name) if Path(path).parent.name == "models" else None
        unused = {".cache", "__pycache__", "tests"} & set(names)
        return unused if kept is None else unused | {name for name in names if Path(name).stem not in kept}

    shutil.copytree(TRANSFORMS, folder / "transforms", ignore=left_out)
