"""A project whose prices come from files, run as a command of its own, and killed at a statement of its models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destinations import open_destination
from engine.config.load import load_project
from tests.price_models import copy_price_models

ROOT = Path(__file__).parents[2]
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
pipelines:
  daily: {extract: [shop], load: [warehouse]}
"""
SECONDS = 280
MODEL = Path("transforms/models/marts/fct_asset_prices.sql")


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code` is -9 if it was killed."""

    code: int
    text: str


@dataclass(frozen=True)
class ModelProject:
    """The folder of one project."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> ModelProject:
        """Write a project that has never run."""
        copy_price_models(folder)
        (folder / "pipelines.yaml").write_text(YAML)
        (folder / "in").mkdir()
        return cls(folder)

    @property
    def state(self) -> Path:
        """SQLMesh's state."""
        return self.folder / ".data" / "state" / "sqlmesh-warehouse.duckdb"

    def copy(self, folder: Path) -> ModelProject:
        shutil.copytree(self.folder, folder)
        return ModelProject(folder)

    def price(self, name: str, price: str, at: str = "2026-05-01T00:00:00Z", asset: str = "BTC") -> None:
        """Deliver one price in a file of its own."""
        row = {"base_currency": asset, "quote_currency": "USD", "price": price, "observed_at": at}
        (self.folder / "in" / f"prices_{name}.jsonl").write_text(json.dumps(row) + "\n")

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the engine's command (`run daily` by default)."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.killed_at", *(arguments or ("run", "daily"))],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def engine(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run the command to its end."""
        return ended(self.start(*arguments, env=env))

    def killed_before(self, statement: str, nth: int = 1) -> Ended:
        """Run the pipeline and kill it, as kill -9 does, before the n-th statement of SQLMesh that matches."""
        return self.engine(env={"KILL_BEFORE": statement, "KILL_NTH": str(nth)})

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Ask as a reader does."""
        project = load_project(self.folder / "pipelines.yaml", env={})
        settings = project.destinations["warehouse"]
        connection = open_destination("warehouse", settings, self.folder, project.data_dir).reader()
        try:
            return list(connection.sql(sql).to_arrow_table().to_pylist())
        finally:
            connection.close()

    def writing(self) -> Any:
        """Open the warehouse as its writer."""
        project = load_project(self.folder / "pipelines.yaml", env={})
        return open_destination("warehouse", project.destinations["warehouse"], self.folder, project.data_dir)

    def write(self, sql: str) -> None:
        """Change the warehouse behind the engine's back."""
        with self.writing() as warehouse:
            warehouse._writer.execute(sql)

    def edit(self, old: str, new: str, model: Path = MODEL) -> None:
        text = (self.folder / model).read_text()
        assert old in text
        (self.folder / model).write_text(text.replace(old, new))

    def prices(self) -> list[tuple[str, str, str]]:
        """(asset, price, instant) of the mart, in order."""
        rows = self.query("SELECT asset_symbol, price, observed_at FROM marts.fct_asset_prices ORDER BY ALL")
        return [(row["asset_symbol"], f"{row['price'].normalize():f}", row["observed_at"].isoformat()) for row in rows]

    def tables(self) -> dict[str, Counter[str]]:
        """Return the rows of satellite and marts, without their lineage, as multisets."""
        names = ("vault.sat_asset_price_crypto", "marts.fct_asset_prices", "marts.fct_asset_candles")
        return {
            name: Counter(
                str(sorted((column, value) for column, value in row.items() if not column.startswith("_")))
                for row in self.query(f"SELECT * FROM {name}")
            )
            for name in names
        }

    def rebuilds_equal(self, folder: Path) -> list[str]:
        """Compare with what `engine replay` builds from the lake in a warehouse that is new; return what differs."""
        fresh = self.copy(folder)
        for name in ("warehouse", ".data"):
            shutil.rmtree(fresh.folder / name)
        replayed = fresh.engine("replay")
        if replayed.code:
            return [f"engine replay ended with {replayed.code}: {replayed.text[-500:]}"]
        mine, anew = self.tables(), fresh.tables()
        if not mine["marts.fct_asset_prices"]:
            return ["there are no prices to compare"]
        return [
            f"{name}: too many {list(rows - anew[name])}, missing {list(anew[name] - rows)}"
            for name, rows in mine.items()
            if rows != anew[name]
        ]


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command."""
    text, _ = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, text)
