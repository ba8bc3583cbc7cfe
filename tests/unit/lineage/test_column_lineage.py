"""Lineage by the models' files: columns down to landed columns, tables down to landed tables."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.models.graph import ModelGraph, read_models
from engine.trace.lineage import (
    ColumnNode,
    column_lineage,
    landed_columns,
    landed_tables,
    split_target,
    table_lineage,
)
from tests.vault.adapter import project_at

pytestmark = [
    pytest.mark.xdist_group("lineage"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
]


def follow(graph: ModelGraph, target: str) -> ColumnNode:
    model, column = split_target(graph, target)
    assert column is not None
    return column_lineage(graph, model, column)


def nodes(node: ColumnNode) -> list[ColumnNode]:
    return [node, *(found for child in node.made_of for found in nodes(child))]


def test_an_amount_comes_down_to_the_landed_amounts_of_both_feeds(graph: ModelGraph) -> None:
    tree = follow(graph, "marts.fct_transactions.net_amount")
    assert sorted(landed_columns(tree)) == [
        f"landing.raw_transaction_{feed}.{column}"
        for feed in ("corporate", "personal")
        for column in ("fee_amount", "transaction_amount")
    ]
    (rule,) = tree.made_of
    assert rule.name == "business.transaction.net_amount"
    assert [step.expression for step in rule.steps] == ["CAST((transaction_amount - fee_amount) AS DECIMAL(38, 18))"]


def test_macros_are_followed_and_shown_as_the_file_has_them(graph: ModelGraph) -> None:
    tree = follow(graph, "stage.customer.customer_hk")
    assert [(step.column, step.expression) for step in tree.steps] == [
        ("customer_hk", "@hash_key(customer_id)"),
        ("customer_id", "@fold_upper(customer_id)"),
    ]
    assert landed_columns(tree) == ["landing.raw_customers.customer_id"]


def test_hub_satellite_and_ratio_are_followed(graph: ModelGraph) -> None:
    assert set(landed_columns(follow(graph, "vault.hub_customer.customer_hk"))) == {
        "landing.raw_customers.customer_id",
        "landing.raw_transaction_personal.customer_id",
        "landing.raw_transaction_corporate.customer_id",
    }
    hashed = {name.split(".")[2] for name in landed_columns(follow(graph, "vault.sat_customer_profile.hashdiff"))}
    assert hashed >= {"first_name", "email", "customer_tier", "is_kyc_verified", "company_id"}
    assert "customer_id" not in hashed
    ratio = {name.split(".")[2] for name in landed_columns(follow(graph, "business.transaction.fee_percentage"))}
    assert ratio == {"fee_amount", "transaction_amount"}
    linked = {name.split(".")[2] for name in landed_columns(follow(graph, "vault.link_news_asset.news_asset_hk"))}
    assert linked == {"url", "ticker", "asset_type"}


def test_every_column_of_every_model_is_made_of_columns_that_there_are(graph: ModelGraph) -> None:
    from engine.trace.lineage import _ColumnTree

    tree, checked = _ColumnTree(graph), 0
    for model in graph:
        if model.landed:
            continue
        assert graph.columns(model.name), model.name
        for column in graph.columns(model.name):
            for table, parent in tree._within(model, column)[1]:
                known = graph.models[table]
                assert known.landed or parent in graph.columns(table), (model.name, column, table, parent)
                checked += 1
    assert checked > 500


def test_what_was_shown_is_not_shown_again(graph: ModelGraph) -> None:
    tree = follow(graph, "marts.fct_asset_news_impact.change_day_1_percent")
    seen = [node.name for node in nodes(tree) if node.made_of]
    assert len(seen) == len(set(seen))


def test_a_constant_has_no_landed_column(graph: ModelGraph) -> None:
    tree = follow(graph, "stage.price_crypto.asset_type")
    assert landed_columns(tree) == []
    assert [step.expression for step in tree.steps] == ["'crypto'"]


def test_a_table_comes_down_to_landed_tables(graph: ModelGraph) -> None:
    tree = table_lineage(graph, graph.find("fct_transactions"))
    assert tree.name == "marts.fct_transactions"
    assert {"landing.raw_transaction_personal", "landing.raw_customers", "landing.raw_assets"} <= set(
        landed_tables(tree)
    )
    assert "landing._packages" not in landed_tables(tree)
    assert "landing.raw_corporates" not in landed_tables(tree)


def test_reading_the_models_needs_no_data_and_leaves_none(graph: ModelGraph) -> None:
    folder = next(model.native._path for model in graph if model.native is not None).parents[3]
    assert not list(folder.rglob("*.duckdb"))
    assert not (folder / "lake").exists()


@pytest.mark.parametrize(
    ("target", "reason", "hint"),
    [
        ("marts.fct_transaction", "is no table", "Did you mean marts.fct_transactions"),
        ("marts.fct_transactions.net_amout", "has no column 'net_amout'", "Did you mean net_amount"),
        ("marts.fct_transactions.zzzzzz", "has no column 'zzzzzz'", "It has: transaction_hk"),
        ("fct_asset_price.price", "is no table", "marts.fct_asset_prices"),
        ("a.b.c.d", "is no table and no column", "SCHEMA.TABLE"),
        ("marts..x", "is no table and no column", "SCHEMA.TABLE"),
        ("qqqqqqqqqqqq", "is no table", "SHOW TABLES"),
    ],
)
def test_an_unknown_name_is_one_clear_error(graph: ModelGraph, target: str, reason: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)) as caught:
        split_target(graph, target)
    assert hint in str(caught.value)
    assert caught.value.exit_code == 2


def test_names_are_found_without_schema_and_in_any_case(graph: ModelGraph) -> None:
    model, column = split_target(graph, "FCT_Transactions.NET_amount")
    assert (model.name, column) == ("marts.fct_transactions", "net_amount")
    model, column = split_target(graph, "landing.raw_customers.email")
    assert (model.landed, column) == (True, "email")


def test_a_model_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", "duckdb")
    shutil.rmtree(tmp_path / "project" / "transforms" / "models")
    broken = tmp_path / "project" / "transforms" / "models" / "broken.sql"
    broken.parent.mkdir()
    broken.write_text("MODEL (name marts.broken, kind VIEW);\nSELECT FROM (\n")
    with pytest.raises(UsageError, match=r"(?s)the models cannot be read: .*broken\.sql"):
        read_models(project)
    shutil.rmtree(tmp_path / "project" / "transforms")
    with pytest.raises(UsageError, match="there are no models"):
        read_models(project)


def test_stars_unions_groups_and_seeds(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", "duckdb")
    folder = tmp_path / "project" / "transforms"
    shutil.rmtree(folder / "models")
    (folder / "models").mkdir()
    for name, text in {
        "a": "MODEL (name raw.a, kind VIEW);\nSELECT * FROM landing.raw_customers",
        "b": "MODEL (name marts.b, kind VIEW, grain (customer_id));\n"
        "SELECT customer_id, country, COUNT(*) AS rows_there FROM raw.a GROUP BY customer_id, country\n"
        "UNION ALL SELECT symbol, 'none', 0 FROM raw.s",
        "s": "MODEL (name raw.s, kind SEED (path 's.csv'), columns (symbol TEXT));",
    }.items():
        (folder / "models" / f"{name}.sql").write_text(text)
    (folder / "models" / "s.csv").write_text("symbol\nBTC\n")
    graph = read_models(project)
    assert "email" in graph.columns("raw.a")
    tree = follow(graph, "marts.b.customer_id")
    assert landed_columns(tree) == ["landing.raw_customers.customer_id"]
    assert [node.name for node in tree.made_of] == ["raw.a.customer_id", "raw.s.symbol"]
    first, second = graph.readings("marts.b")
    assert {name: value.sql() for name, value in first.columns.items()} == {
        "customer_id": '"customer_id"',
        "country": '"country"',
    }
    assert (second.table, sorted(second.columns), sorted(second.own)) == (
        "raw.s",
        ["country", "customer_id"],
        ["customer_id"],
    )
