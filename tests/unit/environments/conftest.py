"""A project of five small models that has run once, to be edited."""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from destinations import open_destination
from engine.config.load import load_project
from engine.models import environments
from engine.models.data_diff import data_diff
from engine.models.plan import model_plan
from engine.progress import Silent
from engine.report import TransformReport
from engine.run import Runner

PROJECT = Path(__file__).parents[3]
YAML = """\
timezone: UTC
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: lake}
    warehouse: {type: ducklake, path: warehouse}
sources:
  shop:
    type: files
    path: in
    settle_seconds: 0
    resources:
      prices: {files: "prices*.jsonl", table: prices, columns: {asset: {}, price: {type: bigint}, hour: {type: bigint}}}
      fees: {files: "fees*.jsonl", table: fees, columns: {asset: {}, fee: {type: bigint}}}
pipelines:
  daily: {extract: [shop], load: [warehouse]}
  load: {extract: [shop], load: [warehouse], transform: false}
"""
VIEW = "kind VIEW, cron '@yearly', start '2025-01-01'"
STAGE = "kind CUSTOM (materialization 'replace_arrived'), allow_partials TRUE"
MART = "kind CUSTOM (materialization 'replace_groups', materialization_properties (key = asset)), allow_partials TRUE"
KEY = "(HASH(asset) % 1000000007)::BIGINT AS _key"
ARRIVED = "_arrived_at BETWEEN @start_dt AND @end_dt"
PACKAGE = "JOIN landing._packages AS p ON p._load_id = r._load_id"
RAW_PRICES = f"""
SELECT
  r.asset::TEXT AS asset, r.price::BIGINT AS price, r.hour::BIGINT AS hour, r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.prices AS r {PACKAGE}
"""
RAW_FEES = f"""
SELECT
  r.asset::TEXT AS asset, r.fee::BIGINT AS fee, r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.fees AS r {PACKAGE}
"""
PRICE = f"""
SELECT
  asset,
  ARG_MAX(price, hour)::BIGINT AS price,
  COUNT(*)::BIGINT AS hours,
  MAX(_arrived_at)::TIMESTAMPTZ AS _arrived_at,
  _key
FROM stage.price
WHERE _key IN (SELECT _key FROM stage.price WHERE {ARRIVED})
GROUP BY asset, _key
"""
MODELS = {
    "raw.prices": (VIEW, RAW_PRICES),
    "raw.fees": (VIEW, RAW_FEES),
    "stage.price": (STAGE, f"SELECT asset, price, hour, _load_id, _arrived_at, {KEY} FROM raw.prices WHERE {ARRIVED}"),
    "marts.price": (f"{MART}, grain (asset)", PRICE),
    "marts.fee": (f"{MART}, grain (asset)", f"SELECT asset, fee, _arrived_at, {KEY} FROM raw.fees WHERE {ARRIVED}"),
    "marts.dear": (f"{VIEW}, grain (asset)", "SELECT asset, price FROM marts.price WHERE price >= 5"),
}


@dataclass(frozen=True)
class EditedProject:
    """The folder of one project."""

    folder: Path

    def model(self, name: str) -> Path:
        schema, table = name.split(".")
        return self.folder / "transforms" / "models" / schema / f"{table}.sql"

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.model(name)
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))

    def deliver(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        (self.folder / "in" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def price(self, asset: str, price: int, hour: int) -> None:
        self.deliver(f"prices_{asset}_{hour}", [{"asset": asset, "price": price, "hour": hour}])

    def run(self, pipeline: str = "daily") -> TransformReport:
        """Run; whatever comes before the models must have worked."""
        report = Runner(self.loaded, Silent()).run(pipeline)
        assert [resource.error for resource in report.resources if resource.error] == []
        [transformed] = report.transforms
        return transformed

    def plan(self, environment: str = "prod") -> dict[str, Any]:
        return model_plan(self.loaded, "warehouse", self.warehouse, environment)

    def apply(self, environment: str | None = None) -> dict[str, Any]:
        with self.warehouse as opened:
            return environments.apply(self.loaded, "warehouse", opened, environment, lambda _: None)

    def drop(self, environment: str) -> dict[str, Any]:
        with self.warehouse as opened:
            return environments.drop(self.loaded, "warehouse", opened, environment, lambda _: None)

    def diff(self, environment: str) -> dict[str, dict[str, Any]]:
        found = data_diff(self.loaded, "warehouse", self.warehouse, environment)
        return {model["model"]: model for model in found["models"]}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask as a reader does."""
        connection = self.warehouse.reader()
        try:
            return [tuple(row) for row in connection.execute(sql).fetchall()]
        finally:
            connection.close()

    def prices(self, schema: str = "marts") -> list[tuple[Any, ...]]:
        return self.query(f"SELECT asset, price, hours FROM {schema}.price ORDER BY ALL")

    def physical(self) -> dict[str, list[str]]:
        """The files of each of SQLMesh's tables, by schema, name and the snapshot in which it was made."""
        catalog = sqlite3.connect(f"file:{self.folder / 'warehouse' / 'catalog.sqlite'}?mode=ro", uri=True)
        try:
            rows = catalog.execute(
                "SELECT s.schema_name || '.' || t.table_name || ' of ' || t.begin_snapshot, "
                "f.path || '#' || f.begin_snapshot "
                "FROM ducklake_table AS t JOIN ducklake_schema AS s USING (schema_id) "
                "LEFT JOIN ducklake_data_file AS f ON f.table_id = t.table_id AND f.end_snapshot IS NULL "
                "WHERE t.end_snapshot IS NULL AND s.schema_name LIKE 'sqlmesh%' ORDER BY 1, 2"
            ).fetchall()
        finally:
            catalog.close()
        found: dict[str, list[str]] = {}
        for table, file in rows:
            found.setdefault(table, []).append(file)
        return found

    @property
    def state(self) -> Path:
        return self.folder / ".data" / "state" / "sqlmesh-warehouse.duckdb"

    @property
    def loaded(self) -> Any:
        return load_project(self.folder / "pipelines.yaml", env={})

    @property
    def warehouse(self) -> Any:
        project = self.loaded
        return open_destination("warehouse", project.destinations["warehouse"], self.folder, self.folder / ".data")


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has never run."""
    project = EditedProject(tmp_path_factory.mktemp("written"))
    for part in ("materializations", "config.py"):
        source, target = PROJECT / "transforms" / part, project.folder / "transforms" / part
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for name, (properties, query) in MODELS.items():
        project.model(name).parent.mkdir(parents=True, exist_ok=True)
        project.model(name).write_text(f"MODEL (\n  name {name},\n  {properties}\n);\n\n{query.strip()}\n")
    (project.folder / "pipelines.yaml").write_text(YAML)
    project.price("BTC", 1, 0)
    project.price("ETH", 5, 0)
    project.deliver("fees_0", [{"asset": "BTC", "fee": 7}])
    return project.folder


@pytest.fixture(scope="session")
def run_once(written_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after its first run: BTC at 1, ETH at 5."""
    folder = tmp_path_factory.mktemp("run") / "project"
    shutil.copytree(written_once, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SQLMesh's own, while it is imported
        assert EditedProject(folder).run().error is None
    return folder


@pytest.fixture
def written(written_once: Path, tmp_path: Path) -> EditedProject:
    shutil.copytree(written_once, tmp_path / "written")
    return EditedProject(tmp_path / "written")


@pytest.fixture
def project(run_once: Path, tmp_path: Path) -> EditedProject:
    shutil.copytree(run_once, tmp_path / "project")
    return EditedProject(tmp_path / "project")
