"""A step that failed may be called again within its run: what was landed or loaded stays, only the rest is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.config.load import load_project
from engine.extract import Extraction, extract
from engine.progress import Silent
from engine.report import DestinationReport, ResourceReport, RunReport
from engine.run import Runner
from engine.steps import Kind, Outcome
from sources.protocol import Resource

FILE = """
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: lake}
    warehouse: {type: duckdb, path: warehouse}
sources:
  shop:
    type: files
    path: shop
    settle_seconds: 0
    resources: {raw_orders: {files: "orders.jsonl"}, raw_notes: {files: "notes.jsonl"}}
  depot: {type: files, path: depot, settle_seconds: 0, resources: {raw_stock: {files: "*.jsonl"}}}
pipelines:
  daily: {extract: [shop, depot], load: [warehouse], transform: false}
"""


class Again:
    """Carries out every step once more after a failure, when `mend` has been called."""

    def __init__(self, mend: Callable[[], None]) -> None:
        self.mend = mend
        self.told: list[tuple[str, str, bool]] = []
        self.called: list[tuple[Kind, str]] = []

    def side_by_side(
        self, kind: Kind, names: Sequence[str], attempt: Callable[[str], Outcome[Any]], **_: Any
    ) -> list[Any]:
        results = []
        for name in names:
            outcome = self._call(kind, name, attempt)
            if outcome.failure:
                self.told.append((name, outcome.failure, outcome.retry))
                self.mend()
                outcome = self._call(kind, name, attempt)
            results.append(outcome.result)
        return results

    def _call(self, kind: Kind, name: str, attempt: Callable[[str], Outcome[Any]]) -> Outcome[Any]:
        self.called.append((kind, name))
        return attempt(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines.yaml").write_text(FILE)
    for name, rows in {"shop/orders": 3, "shop/notes": 1, "depot/stock": 2}.items():
        file = tmp_path / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps({"id": at}) + "\n" for at in range(rows)))
    return tmp_path


def run(folder: Path, steps: Again) -> RunReport:
    project = load_project(folder / "pipelines.yaml", env={})
    return Runner(project, Silent(), steps=steps).run("daily")


def test_only_the_resource_that_failed_is_extracted_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = ["raw_notes"]

    def flaky(extraction: Extraction, source: str, resource: Resource) -> ResourceReport:
        if resource.name in away:
            return ResourceReport(source, resource.name, resource.table.name, "failed", error="away")
        return extract(extraction, source, resource)

    monkeypatch.setattr("engine.run.extract", flaky)
    steps = Again(away.clear)
    report = run(folder, steps)
    assert steps.told == [("shop", "away", True)]
    assert report.exit_code == 0
    assert {r.table: r.rows for r in report.resources if r.source != "assets"} == {
        "raw_orders": 3,
        "raw_notes": 1,
        "raw_stock": 2,
    }
    assert steps.called.count(("extract", "shop")) == 2
    assert steps.called.count(("extract", "depot")) == 1
    packages = [path.parent.name for path in (folder / "lake" / "shop").rglob("manifest.json")]
    assert len(packages) == 2, "what was landed by the first attempt is not landed again"


def test_a_destination_that_is_called_again_counts_what_both_attempts_loaded() -> None:
    first = DestinationReport("warehouse", "failed", packages=2, rows=20, bytes=200, seconds=1.5, errors=["lost"])
    assert DestinationReport("warehouse", packages=0, seconds=0.5).after(first) == DestinationReport(
        "warehouse", "loaded", packages=2, rows=20, bytes=200, seconds=2.0
    )
    both = DestinationReport("warehouse", "loaded", packages=1, rows=5, bytes=50, seconds=1).after(first)
    assert (both.status, both.packages, both.rows, both.bytes) == ("loaded", 3, 25, 250)
    still = DestinationReport("warehouse", "failed", errors=["still"]).after(first)
    assert (still.status, still.errors) == ("failed", ["still"])
