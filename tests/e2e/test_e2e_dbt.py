"""A dbt project dropped under transforms/dbt is planned, run and queried with the native models, on both warehouses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.engine_project import ROOT, EngineProject

EXAMPLE = ROOT / "docs" / "examples" / "dbt" / "market_reports"
YAML = """\
timezone: UTC
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: lake}
    ducklake: {type: ducklake, path: ducklake}
    duckdb: {type: duckdb, path: warehouse.duckdb}
sources:
  shop:
    type: files
    path: in
    settle_seconds: 0
    resources:
      prices:
        files: "prices*.jsonl"
        table: raw_cryptoprices_coingecko
        columns:
          {base_currency: {}, quote_currency: {}, price: {type: decimal}, observed_at: {type: timestamp}}
pipelines:
  daily: {extract: [shop], load: [ducklake, duckdb]}
"""
WAREHOUSES = ("ducklake", "duckdb")
MODELS = (
    "raw/raw_*prices_*.sql",
    "raw/raw_news.sql",
    "raw/raw_transaction_*.sql",
    "stage/price_*.sql",
    "stage/news.sql",
    "stage/transaction_*.sql",
    "vault/hub_asset.sql",
    "vault/sat_asset_price_*.sql",
    "marts/fct_asset_prices.sql",
)
"""What the mart that the example reads is made of."""
READS_DBT = """\
MODEL (name marts.desk_spread, kind FULL, allow_partials TRUE);

SELECT desk, MAX(spread_bps) AS spread_bps FROM market_reports.price_range GROUP BY desk
"""


def price(project: EngineProject, name: str, asset: str, price: str, hour: int) -> None:
    row = {"base_currency": asset, "quote_currency": "USD", "price": price, "observed_at": f"2026-05-01T{hour:02}:00Z"}
    (project.folder / "in").mkdir(exist_ok=True)
    (project.folder / "in" / f"prices_{name}.jsonl").write_text(json.dumps(row) + "\n")


def rows(project: EngineProject, warehouse: str, sql: str) -> list[list[Any]]:
    found: list[list[Any]] = project.engine("query", sql, "--json", "--on", warehouse).document()["rows"]
    return found


def build(project: EngineProject) -> dict[str, list[str]]:
    """Run, every warehouse must be built; return the warnings of each."""
    [report] = project.run("daily")
    assert {t["warehouse"]: (t["status"], t["error"]) for t in report["transforms"]} == dict.fromkeys(
        WAREHOUSES, ("built", None)
    )
    return {transformed["warehouse"]: transformed["warnings"] for transformed in report["transforms"]}


def new_project(folder: Path) -> EngineProject:
    transforms = folder / "transforms"
    for part in ("audits", "macros", "materializations"):
        shutil.copytree(ROOT / "transforms" / part, transforms / part)
    for pattern in MODELS:
        for model in (ROOT / "transforms" / "models").glob(pattern):
            (transforms / "models" / model.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(model, transforms / "models" / model.parent.name)
    (folder / "pipelines.yaml").write_text(YAML)
    shutil.copy(ROOT / "transforms" / "config.py", transforms)
    return EngineProject(folder, "local")


def plain_sqlmesh(project: EngineProject, *arguments: str) -> str:
    """What `sqlmesh ARGUMENTS... plan` answers."""
    sqlmesh = Path(sys.executable).with_name("sqlmesh")
    done = subprocess.run(
        [sqlmesh, *arguments, "plan", "--no-prompts", "--skip-tests"],
        cwd=project.folder,
        env={**project.environment, "ENGINE_PROFILE": project.profile},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # three runs on two warehouses
def test_dbt_models_are_built_with_the_native_ones_and_follow_what_arrives(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    example = project.folder / "transforms" / "dbt" / "market_reports"
    shutil.copytree(EXAMPLE, example)
    price(project, "btc", "BTC", "100", 0)
    price(project, "sol", "SOL", "5", 0)
    build(project)
    ranges = "SELECT asset_symbol, desk, observations, spread_bps FROM market_reports.price_range ORDER BY 1"
    logged = "SELECT asset_symbol, hour(observed_at), price::INT, logged_at FROM market_reports.price_log ORDER BY ALL"
    first = {warehouse: rows(project, warehouse, logged) for warehouse in WAREHOUSES}
    for warehouse in WAREHOUSES:
        assert rows(project, warehouse, ranges) == [["BTC", "majors", 1, 0], ["SOL", None, 1, 0]]
        assert [row[:3] for row in first[warehouse]] == [["BTC", 0, 100], ["SOL", 0, 5]]

    price(project, "btc_corrected", "BTC", "80", 0)
    price(project, "btc_later", "BTC", "120", 1)
    build(project)  # nothing is edited: the models are run, the incremental one takes what arrived
    for warehouse in WAREHOUSES:
        assert rows(project, warehouse, ranges) == [["BTC", "majors", 2, 5000], ["SOL", None, 1, 0]]
        second = rows(project, warehouse, logged)
        assert [row[:3] for row in second] == [["BTC", 0, 80], ["BTC", 1, 120], ["SOL", 0, 5]]
        assert second[2] == first[warehouse][1], "a row that nothing arrived for was written anew"
        assert second[0][3] != first[warehouse][0][3]

    (project.folder / "transforms" / "models" / "marts" / "desk_spread.sql").write_text(READS_DBT)
    (example / "tests" / "nothing_is_cheap.sql").write_text("select * from {{ ref('price_range') }} where lowest < 10")
    (example / "profiles.yml").write_text("market_reports: {}\n")
    warnings = build(project)
    for warehouse in WAREHOUSES:
        assert rows(project, warehouse, "SELECT * FROM marts.desk_spread ORDER BY ALL") == [["majors", 5000], [None, 0]]
        told = [line for line in warnings[warehouse] if "prices_fresh" not in line]
        assert [line.split(" ")[0] for line in told] == [
            "transforms/dbt/market_reports/profiles.yml",
            "market_reports.price_range:",
        ]
        assert "nothing_is_cheap failed for 1 row" in told[1]
    both = ("-p", "transforms", "-p", "transforms/dbt/market_reports")
    assert "No changes to plan" in plain_sqlmesh(project, *both)
    assert "it would remove them" in plain_sqlmesh(project, *both[:2])
    written = [path for name in ("target", "logs") for path in example.rglob(name)]
    assert written == [], "dbt wrote into the project"


def test_a_dbt_project_without_dbt_is_one_clear_error(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    shutil.copytree(EXAMPLE, project.folder / "transforms" / "dbt" / "market_reports")
    shadow = tmp_path / "shadow" / "dbt"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("")  # found before the real one, and empty
    price(project, "btc", "BTC", "100", 0)
    without = EngineProject(project.folder, "local", {"PYTHONPATH": str(shadow.parent)})
    [report] = without.run("daily", expect=2)  # no retry installs it
    for transformed in report["transforms"]:
        assert transformed["error"] == "transforms/dbt/market_reports is a dbt project, and dbt is not installed"
        assert transformed["remedy"].startswith('Install it with `pip install "tickhouse[dbt]"`')
    assert [loaded["status"] for loaded in report["destinations"]] == ["loaded", "loaded"]
