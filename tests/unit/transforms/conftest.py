"""A small project whose prices and candles come from files, run in process with the real models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from destinations import open_destination
from engine.config.load import load_project
from engine.models.plan import model_plan
from engine.progress import Silent
from engine.report import RunReport, TransformReport
from engine.run import Runner
from tests.price_models import copy_price_models

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
      prices:
        files: "prices*.jsonl"
        table: raw_cryptoprices_coingecko
        columns:
          {base_currency: {}, quote_currency: {}, price: {type: decimal}, observed_at: {type: timestamp}}
      candles:
        files: "candles*.jsonl"
        table: raw_crypto_candles_binance
        columns:
          base_currency: {}
          quote_currency: {value: USDT}
          interval: {value: 1h}
          open_time: {type: timestamp}
          close_time: {type: timestamp}
          open: {type: decimal}
          high: {type: decimal}
          low: {type: decimal}
          close: {type: decimal}
pipelines:
  daily: {extract: [shop], load: [warehouse]}
  land: {extract: [shop], load: []}
"""
MART = Path("transforms/models/marts/fct_asset_prices.sql")


@dataclass(frozen=True)
class ModelProject:
    """The folder of one project."""

    folder: Path

    def deliver(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write in/NAME.jsonl."""
        (self.folder / "in").mkdir(exist_ok=True)
        (self.folder / "in" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def price(self, name: str, price: str, hour: int = 0, asset: str = "BTC") -> None:
        """Deliver one price of an hour of 2026-05-01 in a file of its own."""
        at = f"2026-05-01T{hour:02}:00:00Z"
        row = {"base_currency": asset, "quote_currency": "USD", "price": price, "observed_at": at}
        self.deliver(f"prices_{name}", [row])

    def run(self, pipeline: str = "daily") -> RunReport:
        return Runner(self._project(), Silent()).run(pipeline)

    def build(self) -> TransformReport:
        """Run `daily`; everything but the models must have worked."""
        report = self.run()
        assert [resource.error for resource in report.resources if resource.error] == []
        [transformed] = report.transforms
        return transformed

    def replay(self) -> TransformReport:
        [transformed] = Runner(self._project(), Silent()).replay(None).transforms
        return transformed

    def plan(self) -> dict[str, Any]:
        return model_plan(self._project(), "warehouse", self._warehouse())

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask as a reader does."""
        connection = self._warehouse().reader()
        try:
            return [tuple(row.values()) for row in connection.sql(sql).to_arrow_table().to_pylist()]
        finally:
            connection.close()

    def prices(self) -> list[tuple[str, str, int]]:
        """(asset, price, hour) of the mart, in order."""
        rows = self.query("SELECT asset_symbol, price, observed_at FROM marts.fct_asset_prices ORDER BY ALL")
        return [(asset, f"{price.normalize():f}", at.hour) for asset, price, at in rows]

    def write(self, sql: str) -> None:
        """Change the warehouse behind the engine's back."""
        with self._warehouse() as warehouse:
            warehouse._writer.execute(sql)

    def edit(self, old: str, new: str, model: Path = MART) -> None:
        path = self.folder / model
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def state(self) -> Path:
        return self.folder / ".data" / "state" / "sqlmesh-warehouse.duckdb"

    def _project(self) -> Any:
        return load_project(self.folder / "pipelines.yaml", env={})

    def _warehouse(self) -> Any:
        settings = self._project().destinations["warehouse"]
        return open_destination("warehouse", settings, self.folder, self.folder / ".data")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its first run: BTC at 1 for hour 0, ETH at 5 for hour 0."""
    project = ModelProject(tmp_path_factory.mktemp("first"))
    copy_price_models(project.folder)
    (project.folder / "pipelines.yaml").write_text(YAML)
    project.price("first", "1")
    project.price("other", "5", asset="eth")
    assert project.build().error is None
    return project.folder


@pytest.fixture
def project(built_once: Path, tmp_path: Path) -> ModelProject:
    """A copy of it."""
    shutil.copytree(built_once, tmp_path / "project")
    return ModelProject(tmp_path / "project")


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count SQLMesh's plans."""
    from sqlmesh import Context

    made: list[None] = []
    plan = Context.plan

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(None)
        return plan(*args, **kwargs)

    monkeypatch.setattr(Context, "plan", counted)
    return lambda: len(made)
