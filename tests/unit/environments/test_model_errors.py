"""A broken model file is one clear error: the file, the line, the reason, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.model_errors import ModelError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("environments"),
]
MART = "transforms/models/marts/price.sql"
EDITS = {
    "a word too many": ("FROM stage.price\n", "FROM stage.price price of\n", f"{MART}:12", "Unexpected token"),
    "a property that there is not": ("grain (asset)", "grian (asset)", f"{MART}:3", "'grian'. Did you mean"),
    "a kind that there is not": ("kind CUSTOM", "kind CUSTM", f"{MART}:3", "Model kind specified as 'CUSTM'"),
    "a materialization that there is not": ("'replace_groups'", "'replace_group'", "transforms: ", "'replace_group'"),
    "a macro that there is not": ("COUNT(*)", "@nosuch(asset)", f"{MART}:9", "Macro 'nosuch' does not exist"),
    "a model that there is not": ("FROM stage.price\n", "FROM stage.prise\n", f"{MART}:12", "no model stage.prise"),
    "a circle": ("FROM stage.price\n", "FROM marts.dear\n", "transforms: ", "cycle"),
    "no MODEL block": ("MODEL (", "MODLE (", MART, ""),
    "a property of the kind that there is not": (
        "(key = asset)",
        "(key = asset, endet = gone)",
        f"{MART}:3",
        "replace_groups has no property endet, it has key, version, ended, hubs",
    ),
    "a kind without its key": (
        ", materialization_properties (key = asset)",
        "",
        f"{MART}:3",
        "wants columns as its key",
    ),
    "a key in quotation marks": ("(key = asset)", "(key = 'asset')", f"{MART}:3", "key = NAME"),
    "a key that is no column": ("(key = asset)", "(key = aset)", f"{MART}:3", "needs the column aset"),
    "no _key": ("  _key\nFROM", "  1 AS other\nFROM", MART, "needs the column _key, which the query does not return"),
    "a hub that is not read": (
        "(key = asset)",
        "(key = asset, hubs = stage.price)",
        f"{MART}:3",
        "whose price_hk is not in the model's key",
    ),
}


def refused(project: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        project.plan()
    error = caught.value
    assert error.exit_code == 2
    assert error.remedy
    assert str(project.folder) not in str(error)
    assert "Traceback" not in str(error)
    return error


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_model(written: Any, name: str) -> None:
    old, new, place, reason = EDITS[name]
    written.edit("marts.price", old, new)
    error = refused(written)
    assert error.reason.startswith(place), error
    assert reason in error.reason, error


def test_a_near_name_is_suggested_and_the_line_shown(written: Any) -> None:
    written.edit("marts.price", "FROM stage.price\n", "FROM stage.prise\n")
    error = refused(written)
    assert " > 12 | FROM stage.prise\n" in error.reason
    assert error.remedy.startswith("Did you mean 'stage.price'?")


def test_two_files_of_one_name(written: Any) -> None:
    source = written.model("marts.fee")
    source.with_name("fee2.sql").write_text(source.read_text())
    assert "Duplicate SQL model name: 'marts.fee'" in refused(written).reason


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\n\ndef broken(:\n    pass\n", 3, "invalid syntax"),
        ("x = 1\nraise ValueError('no')\n", 2, "ValueError: no"),
    ],
)
def test_a_macro_file_that_python_cannot_run(written: Any, text: str, line: int, reason: str) -> None:
    folder: Path = written.folder / "transforms" / "macros"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "own.py").write_text(text)
    error = refused(written)
    assert error.reason.startswith(f"transforms/macros/own.py:{line}\n"), error
    assert reason in error.reason


def test_a_run_says_it_in_one_line_and_that_no_retry_helps(written: Any) -> None:
    written.edit("marts.price", "(key = asset)", "(key = aset)")
    report = written.run()
    assert report.status == "failed"
    assert not report.retry
    assert report.error == (f"{MART}:3: replace_groups needs the column aset, which the query does not return"), (
        report.error
    )
    assert report.remedy == "Correct the file, then run `engine plan`."


def test_a_run_of_a_file_that_cannot_be_read_says_where(written: Any) -> None:
    written.edit("marts.price", "FROM stage.price\n", "FROM stage.price price of\n")
    report = written.run()
    assert (report.status, report.retry) == ("failed", False)
    assert (report.error or "").startswith(f"{MART}:12: Invalid expression / Unexpected token"), report.error


def test_a_column_that_there_is_not_is_shown_where_it_stands(project: Any) -> None:
    project.edit("marts.price", "COUNT(*)::BIGINT AS hours", "COUNT(old.hourz)::BIGINT AS hours")
    project.edit("marts.price", "FROM stage.price\nWHERE", "FROM stage.price AS old\nWHERE")
    with pytest.raises(ModelError) as caught:
        project.apply()
    [line] = [line for line in caught.value.reason.splitlines() if line.startswith(" >")]
    assert "COUNT(old.hourz)" in line


def test_broken_yaml_of_a_dbt_project_is_named(written: Any) -> None:
    folder = written.folder / "transforms" / "dbt"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: own\nversion: '1.0'\nprofile: own\nmodel-paths: [models]\n")
    (folder / "models" / "mart.sql").write_text("SELECT 1 AS x\n")
    (folder / "models" / "schema.yml").write_text("version: 2\nmodels:\n  - name: [mart\n    description: it\n")
    error = refused(written)
    assert error.reason.startswith("transforms/dbt/models/schema.yml:"), error
