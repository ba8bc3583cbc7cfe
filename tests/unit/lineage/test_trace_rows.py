"""A row back to what was landed for it, on a real project."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TickhouseError, UsageError
from engine.trace import output as trace_output
from engine.trace.trace import NoSuchRowError
from tests.unit.lineage.traced_project import DAYS, Traced

FEED = "landing.raw_transaction_personal"
pytestmark = [
    pytest.mark.xdist_group("lineage"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
]


def landed(document: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Rows of one landed table."""
    return [row for found in document["landed"] if found["table"] == table for row in found["rows"]]


def stamps(rows: list[dict[str, Any]]) -> list[str]:
    return [row["values"]["load_timestamp"][:10] for row in rows]


def test_all_three_deliveries_of_a_transaction_are_found_and_the_current_one_marked(traced: Traced) -> None:
    document = traced.document("marts.fct_transactions", "T-1")
    (row,) = document["rows"]
    assert row["fee_amount"].startswith("2.5")
    own = landed(document, FEED)
    assert stamps(own) == [*reversed(DAYS)]
    assert [row["current"] for row in own] == [True, False, False]
    assert not any(row["joined"] for row in own)
    packages = {package["load_id"]: package for package in document["packages"]}
    assert len({row["values"]["_load_id"] for row in own}) == 3
    for row in own:
        package = packages[row["values"]["_load_id"]]
        manifest = traced.lake_folder / package["path"] / "manifest.json"
        assert hashlib.sha256(manifest.read_bytes()).hexdigest() == package["manifest_sha256"]
        assert (package["table"], package["problem"], package["checked"]) == ("raw_transaction_personal", None, True)
        assert package["run_id"] == row["values"]["_run_id"]
        assert package["arrived_at"].endswith("+00:00")
    assert not document["cut"]


def test_what_is_joined_is_followed_to_its_current_values_only(traced: Traced) -> None:
    document = traced.document("marts.fct_transactions", "T-1")
    customers = landed(document, "landing.raw_customers")
    assert stamps(customers) == [DAYS[2]]
    assert customers[0]["joined"]
    assert customers[0]["current"]
    assert stamps(landed(document, "landing.raw_assets")) == [DAYS[0]]


def test_the_page_for_people_says_the_same(traced: Traced) -> None:
    page = list(trace_output.lines(traced.find("marts.fct_transactions", "T-1")))
    assert page[0] == "marts.fct_transactions  transaction_id = T-1: 1 row"
    marked = [line for line in page if line.startswith("  * ") and "binance" not in line and "package" in line]
    assert any(f"{DAYS[2]} 12:00:00+00:00" in line for line in marked)
    assert any(line.strip().startswith("transaction_id T-1, fee_amount 2.5") for line in page)
    assert sum("manifest sha256" in line for line in page) == 5


@pytest.mark.parametrize("key", ["t-1", "  T-1\u2003", "transaction_id=t-1", "TRANSACTION_ID= T-1"])
def test_keys_are_folded_as_the_vault_folds_them(traced: Traced, key: str) -> None:
    assert len(landed(traced.document("marts.fct_transactions", key), FEED)) == 3


def test_a_hash_key_is_a_key_too(traced: Traced) -> None:
    ((hash_key,),) = traced.query("SELECT transaction_hk FROM vault.hub_transaction WHERE transaction_id = 'T-2'")
    rows = landed(traced.document("marts.fct_transactions", hash_key), FEED)
    assert [row["values"]["transaction_id"] for row in rows] == ["T-2"]
    assert len(landed(traced.document("vault.hub_transaction", f"transaction_hk={hash_key}"), FEED)) == 1


def test_a_customer_has_every_profile_and_what_named_it_first(traced: Traced) -> None:
    rows = landed(traced.document("marts.dim_customer", "c-1"), "landing.raw_customers")
    assert [(row["values"]["customer_id"], row["current"], row["first"]) for row in rows] == [
        ("C-1", True, False),
        (" c-1", False, True),
    ]


def test_a_hub_has_all_that_named_its_key_and_a_satellite_its_deliveries(traced: Traced) -> None:
    document = traced.document("vault.hub_customer", "C-1")
    assert len(landed(document, FEED)) == 3
    assert [row["current"] for row in landed(document, "landing.raw_customers")] == [False, True]
    versions = traced.document("vault.sat_transaction_personal", "T-1")
    assert len(versions["rows"]) == 2
    assert [row["current"] for row in landed(versions, FEED)] == [True, False, True]


def test_a_link_is_found_by_the_keys_of_its_hubs(traced: Traced) -> None:
    document = traced.document("vault.link_customer_transaction", "customer_id=c-1", "transaction_id=t-1")
    assert [row["current"] for row in landed(document, FEED)] == [False, False, True]
    with pytest.raises(NoSuchRowError):
        traced.find("vault.link_customer_transaction", "customer_id=C-2", "transaction_id=T-1")


def test_a_key_of_several_columns_is_given_in_order_or_by_name(traced: Traced) -> None:
    assert len(traced.document("marts.fct_asset_prices", "btc")["rows"]) == 4
    by_name = traced.document(
        "marts.fct_asset_prices", "BTC", "crypto", "price_source=binance", f"price_date={DAYS[0]}"
    )
    assert [row["price"][:2] for row in by_name["rows"]] == ["50"]
    prices = landed(by_name, "landing.raw_cryptoprices_binance")
    assert [(row["values"]["price"][:2], row["current"]) for row in prices] == [("50", True)]
    assert landed(by_name, "landing.raw_cryptoprices_coingecko") == []  # a history of its own


def test_a_mean_comes_from_all_sources(traced: Traced) -> None:
    document = traced.document("marts.fct_asset_price_comparison", "BTC", f"price_date={DAYS[0]}")
    found = {table["table"] for table in document["landed"]}
    assert found == {"landing.raw_cryptoprices_binance", "landing.raw_cryptoprices_coingecko"}
    assert all(row["current"] for table in document["landed"] for row in table["rows"])


def test_the_impact_of_news_has_the_article_and_the_prices_around_it(traced: Traced) -> None:
    document = traced.document("marts.fct_asset_news_impact", "https://n/1")
    assert len(landed(document, "landing.raw_news")) == 1
    shown = document["rows"][0]
    assert shown["price_day_1"].startswith("52")
    assert shown["price_day_3"] is None
    prices = {row["values"]["price"][:2] for row in landed(document, "landing.raw_cryptoprices_binance")}
    assert {"50", "52"} <= prices


def test_totals_have_the_transactions_that_they_add_up(traced: Traced) -> None:
    document = traced.document("semantic.semantic_customer_overview", "C-1")
    assert document["rows"][0]["total_transactions"] == 1
    assert [row["values"]["fee_amount"][:3] for row in landed(document, FEED)] == ["2.5"]


def test_a_reject_is_traced_by_the_columns_that_it_has(traced: Traced) -> None:
    document = traced.document("vault.rejects", "column_name=customer_id")
    (row,) = landed(document, "landing.raw_customers")[:1]
    assert row["values"]["_load_id"] == document["rows"][0]["_load_id"]
    with pytest.raises(UsageError, match="one key too many"):
        traced.find("vault.rejects", "C-1")


def test_every_table_with_rows_is_traced_to_landed_rows_and_their_packages(traced: Traced) -> None:
    followed = []
    for model in traced.graph:
        if model.landed or not traced.query(f"SELECT 1 FROM {model.name} LIMIT 1"):
            continue
        hashes = [name for name in traced.graph.columns(model.name) if name.endswith("_hk")]
        column = next(iter(model.grain or hashes), None) or (
            "source" if model.name.startswith("raw.") else "table_name"
        )
        ((value,),) = traced.query(f"SELECT min({column}) FROM {model.name}")
        document = traced.document(model.name, f"{column}={value}")
        rows = [row for table in document["landed"] for row in table["rows"]]
        assert rows, model.name
        assert {row["values"]["_load_id"] for row in rows} == {package["load_id"] for package in document["packages"]}
        assert any(row["current"] for row in rows), model.name
        followed.append(model.name.split(".")[0])
    assert {name: followed.count(name) for name in ("marts", "semantic")} == {"marts": 9, "semantic": 3}
    assert followed.count("vault") > 10


def test_no_such_key_says_which_are_near(traced: Traced) -> None:
    with pytest.raises(NoSuchRowError, match="no row with transaction_id = T-9") as caught:
        traced.find("marts.fct_transactions", "t-9")
    assert "T-1" in caught.value.remedy
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("key", ["T-1' OR '1'='1", "x'; DROP TABLE marts.dim_asset; --", "transaction_id=' OR TRUE --"])
def test_a_key_is_a_value_and_no_sql(traced: Traced, key: str) -> None:
    with pytest.raises(NoSuchRowError):
        traced.find("marts.fct_transactions", key)


@pytest.mark.parametrize(
    ("table", "key", "reason"),
    [
        ("marts.fct_asset_prices", ("price_date=soon",), "price_date is a DATE"),
        ("marts.fct_asset_prices", ("prize=1",), "has no column 'prize'"),
        ("marts.fct_transactions", ("T-1", "T-2"), "one key too many"),
        ("marts.fct_transactions", (), "no key of marts.fct_transactions"),
        ("marts.fct_transactions", ("  ",), "nothing is left of it"),
    ],
)
def test_a_key_that_cannot_be_one_is_a_usage_error(
    traced: Traced, table: str, key: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        traced.find(table, *key)


def test_a_cut_is_said(traced: Traced) -> None:
    found = traced.find("marts.fct_transactions", "T-1", limit=2)
    assert trace_output.document(found)["cut"]
    assert any("cut at 2" in line for line in trace_output.lines(found))
    assert stamps(landed(trace_output.document(found), FEED))[0] == DAYS[2]


def test_a_package_that_the_lake_lost_or_changed_is_said(traced: Traced, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(traced.lake_folder, copy)
    packages = traced.find("marts.fct_transactions", "T-1").packages
    lost, cut_off, changed, *sound = [package for package in packages if package.path]
    shutil.rmtree(copy / str(lost.path))
    (file,) = (copy / str(cut_off.path)).glob("part-*")
    file.write_bytes(file.read_bytes()[:-1])
    (copy / str(changed.path) / "manifest.json").write_text("{}")
    found = {package.load_id: package.problem for package in traced.find("fct_transactions", "T-1", lake=copy).packages}
    assert "is missing" in str(found[lost.load_id])
    assert "truncated" in str(found[cut_off.load_id])
    assert "manifest.json was changed" in str(found[changed.load_id])
    assert [found[package.load_id] for package in sound] == [None] * len(sound)


def test_another_lake_is_not_taken_for_this_one(traced: Traced, tmp_path: Path) -> None:
    found = traced.find("marts.fct_transactions", "T-2", lake=tmp_path / "empty")
    assert found.packages
    assert all("another lake" in str(package.problem) for package in found.packages)
    assert any("PROBLEM" in line for line in trace_output.lines(found))


def test_models_that_are_ahead_of_the_warehouse_are_an_error_with_a_remedy(traced: Traced) -> None:
    from dataclasses import replace

    renamed = replace(traced.graph.find("marts.dim_company"), name="marts.dim_planet")
    other = type(traced.graph)([*traced.graph, renamed], {})
    with pytest.raises(TickhouseError, match="does not have what the models say"):
        Traced(traced.project, other).find("marts.dim_planet", "K-1")


def test_landed_rows_are_traced_by_the_key_that_their_source_declares(traced: Traced) -> None:
    document = traced.document("landing.raw_transaction_personal", "transaction_id=T-2")
    assert [row["values"]["customer_id"] for row in landed(document, FEED)] == ["C-2"]
    assert len(document["packages"]) == 1
    typed = traced.document("raw.raw_transaction_personal", "T-1")  # no folding here: as it was landed
    assert stamps(landed(typed, FEED)) == [DAYS[2], DAYS[0]]
