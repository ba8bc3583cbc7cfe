"""The ingest side of a plan is compared with that pipeline's own last run."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from engine.extract import extract
from engine.plan.page import page
from engine.plan.plan import changes_since, keep, model_plans, never_ran, plan_document
from engine.progress import Silent
from engine.report import ResourceReport
from engine.run import Runner
from sources.assets import SOURCE as ASSETS


def add_column(project: Any) -> None:
    path = project.folder / "pipelines.yaml"
    path.write_text(path.read_text().replace("fee: {type: bigint}", "fee: {type: bigint}, note: {}"))


def test_each_pipeline_has_a_past_of_its_own(written: Any) -> None:
    assert changes_since(written.loaded) is None
    assert never_ran(written.loaded) == ["daily", "load"]
    keep(written.loaded, "daily")
    assert changes_since(written.loaded) == changes_since(written.loaded, "daily") == []
    assert changes_since(written.loaded, "load") is None
    assert never_ran(written.loaded) == ["load"]
    keep(written.loaded, "load")
    add_column(written)
    told = ["+ tables.fees.note"]
    assert changes_since(written.loaded) == told
    keep(written.loaded, "load")
    assert changes_since(written.loaded, "load") == []
    assert changes_since(written.loaded, "daily") == told, "daily has not run with the edit yet"
    assert changes_since(written.loaded) == told
    keep(written.loaded, "daily")
    assert changes_since(written.loaded) == []


def test_more_calls_are_told_in_words(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def calls(each: int, weight: int, total: int) -> list[dict[str, Any]]:
        use = {"calls_per_run": each, "weight_per_run": weight, "runs_per_month": 30, "calls_per_month": total}
        limits = {"per_minute": 60, "per_month": None, "verdict": "ok", "pipeline": None}
        uses = [{"pipeline": "daily", **use}]
        return [{"source": "news", "uses": uses, "calls_per_month": total, "sentence": f"{total:,} a month", **limits}]

    def document(project: Any, only: str | None = None) -> dict[str, Any]:
        return {**plan_document(project, only), "calls": counted}

    monkeypatch.setattr("engine.plan.plan.plan_document", document)
    counted = calls(50, 50, 1500)
    keep(written.loaded, "daily")
    counted = calls(51, 51, 1530)
    assert changes_since(written.loaded) == [
        "~ calls.news.daily: 50 calls a run -> 51 calls a run",
        "~ calls.news.total: 1,500 calls a month -> 1,530 calls a month",
    ]
    counted = calls(50, 100, 1500)
    assert changes_since(written.loaded) == ["~ calls.news.daily: 50 calls a run -> 50 calls a run of weight 100"]


@pytest.mark.parametrize(
    ("failing", "status", "changes"), [({"fees"}, "partial", []), ({"fees", "prices"}, "failed", None)]
)
def test_a_run_that_ends_in_part_is_a_past_too(
    written: Any, monkeypatch: pytest.MonkeyPatch, failing: set[str], status: str, changes: list[str] | None
) -> None:
    def some_fail(extraction: Any, source: str, resource: Any) -> ResourceReport:
        if resource.name in failing or (source == ASSETS and len(failing) > 1):
            return ResourceReport(source, resource.name, resource.table.name, status="failed", error="refused")
        return extract(extraction, source, resource)

    monkeypatch.setattr("engine.run.extract", some_fail)
    assert Runner(written.loaded, Silent()).run("load").status == status
    assert changes_since(written.loaded, "load") == changes


def test_a_page_counts_the_models_and_names_the_pipelines_that_never_ran(written: Any) -> None:
    keep(written.loaded, "daily")
    document = {**plan_document(written.loaded), "never_ran": never_ran(written.loaded)}
    text = page(document, changes_since(written.loaded))
    assert "Changes since the last run:\n  none\nNever ran: load\n" in text
    assert "Models: 6 (marts 3, raw 2, stage 1)" in text


def test_an_edit_above_a_skipped_source_does_not_concern_it(written: Any) -> None:
    path = written.folder / "pipelines.yaml"
    skipped = '  away: {type: files, path: "${NO_SUCH_FOLDER}", optional: true, resources: {}}\npipelines:\n'
    path.write_text(path.read_text().replace("pipelines:\n", skipped))
    assert "pipelines.yaml:" in written.loaded.skipped_sources["away"]
    keep(written.loaded, "daily")
    path.write_text("# a line more\n" + path.read_text())
    assert changes_since(written.loaded) == []


PROBE = """
import sys
from pathlib import Path
from engine.config.load import load_project
from engine.extract import extract
from engine.plan.plan import model_plans
plans = model_plans(load_project(Path("pipelines.yaml"), env={}))
print([plan["status"] for plan in plans], "sqlmesh" in sys.modules)
"""


def probed(project: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=project.folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.xdist_group("environments")
def test_sqlmesh_is_asked_only_about_edits(project: Any, written: Any) -> None:
    assert probed(project) == "['unchanged'] False"
    text = (written.folder / "pipelines.yaml").read_text()
    (written.folder / "pipelines.yaml").write_text(
        text.replace("daily: {extract: [shop], load: [warehouse]}", "daily: {extract: [shop], load: []}")
    )
    assert probed(written) == "[] False", "no pipeline runs models"
    project.edit("marts.dear", "price >= 5", "price >= 4")
    assert probed(project) == "['changed'] True"


@pytest.mark.xdist_group("environments")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_beside_a_run_that_builds_models_a_plan_says_so_in_one_line(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.planning.WAIT_SECONDS", 0.5)
    project.edit("marts.dear", "price >= 5", "price >= 4")
    holding = subprocess.Popen(
        [sys.executable, "-c", "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()",
         str(project.state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holding.stdout is not None
        assert holding.stdout.readline()
        [plan] = model_plans(project.loaded)
    finally:
        holding.communicate(b"\n", timeout=20)
    assert plan["status"] == "busy"
    assert plan["reason"].startswith("SQLMesh's state is held by a run that builds models")
    assert [found["status"] for found in model_plans(project.loaded)] == ["changed"]


def test_another_key_and_a_time_series_are_told(written: Any) -> None:
    path = written.folder / "pipelines.yaml"
    wide = path.read_text().replace("fee: {type: bigint}}", "fee: {type: decimal}, at: {type: timestamp}}")
    path.write_text(wide)
    keep(written.loaded, "daily")
    series = "primary_key: [asset, at], timeseries: {hypertable: at, retain: 30d}"
    path.write_text(wide.replace("table: fees,", f"table: fees, {series},"))
    assert plan_document(written.loaded)["timeseries"]["fees"]["retain"] == "30d"
    told = [
        "~ keys.fees: none -> asset, at",
        "+ timeseries.fees (a hypertable is made and filled from landing)",
    ]
    assert changes_since(written.loaded) == changes_since(written.loaded, "daily") == told
    keep(written.loaded, "daily")
    assert changes_since(written.loaded) == []
