"""`engine lineage` before anything has run, and `engine trace` after a run, as a person types them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.e2e.engine_project import EngineProject


def test_lineage_is_printed_before_anything_has_run(small_project: Callable[..., EngineProject]) -> None:
    project = small_project()
    document = project.engine("lineage", "marts.fct_transactions.net_amount", "--json").document()
    assert "landing.raw_transaction_personal.transaction_amount" in document["landed_columns"]
    page = project.engine("lineage", "marts.fct_asset_prices").out
    assert "vault.sat_asset_price_crypto" in page
    assert "landing.raw_cryptoprices_binance" in page
    unknown = project.engine("lineage", "marts.fct_transactions.net_amonut", expect=2)
    assert "Did you mean net_amount" in unknown.err
    assert not list(project.folder.glob(".data/demo/lake*"))
    assert not list(project.folder.glob(".data/demo/warehouse*"))


def test_a_price_is_traced_to_its_package(ran_project: EngineProject) -> None:
    key = ("BTC", "crypto", "price_source=binance", "--json")
    document = ran_project.engine("trace", "marts.fct_asset_prices", *key).document()
    (row,) = document["rows"]
    (table,) = document["landed"]
    assert table["table"] == "landing.raw_cryptoprices_binance"
    assert [landed["values"]["price"] for landed in table["rows"] if landed["current"]] == [row["price"]]
    (package,) = document["packages"]
    manifest = ran_project.folder / ".data/demo/lake" / package["path"] / "manifest.json"
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == package["manifest_sha256"]
    assert package["problem"] is None
    assert package["simulated"]

    page = ran_project.engine("trace", "marts.fct_asset_prices", "btc", "crypto", "binance").out
    assert package["manifest_sha256"] in page
    missing = ran_project.engine("trace", "marts.fct_asset_prices", "NOSUCH", expect=1)
    assert "no row with asset_symbol = NOSUCH" in missing.err
    assert missing.out == ""
