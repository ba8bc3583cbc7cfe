"""A broken model file is one clear error: the file, the line, the reason, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.models.errors import ModelError

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
    "no partial intervals": (", allow_partials TRUE", "", f"{MART}:3", "add allow_partials TRUE"),
    "a key in capitals, which is no mistake, and one that is": (
        "(key = asset)",
        "(key = (ASSET, aset))",
        f"{MART}:3",
        "needs the column aset",
    ),
    "a hub that is not read": (
        "(key = asset)",
        "(key = asset, hubs = stage.price)",
        f"{MART}:3",
        "whose price_hk is not in the model's key",
    ),
}


RAW = "transforms/models/raw/prices.sql"
LANDED = {
    "a landed table": ("landing.prices", "landing.price", f"{RAW}:9", "nothing delivers landing.price", "'prices'"),
    "a declared column": ("r.price::BIGINT", "r.pricee::BIGINT", f"{RAW}:7", "has no column pricee", "'price'"),
}


@pytest.mark.parametrize("name", LANDED)
def test_a_misspelt_name_of_landing_is_refused_and_not_made(project: Any, name: str) -> None:
    old, new, place, reason, hint = LANDED[name]
    project.edit("raw.prices", old, new)
    error = refused(project)
    assert error.reason.startswith(place), error
    assert reason in error.reason
    assert error.remedy.startswith(f"Did you mean {hint}?")
    project.price("BTC", 3, 1)
    assert project.run().error.startswith(f"{place}: ")
    project.edit("raw.prices", new, old)
    assert project.run().error is None
    assert project.prices() == [("BTC", 3, 2), ("ETH", 5, 1)]
    columns = project.query("SELECT column_name FROM duckdb_columns() WHERE schema_name = 'landing'")
    assert not {"pricee"} & {column for (column,) in columns}


def test_the_case_of_a_landed_name_does_not_matter(written: Any) -> None:
    written.edit("raw.prices", "r.price::BIGINT", "r.PRICE::BIGINT")
    written.edit("raw.prices", "landing.prices", "landing.Prices")
    assert written.run().error is None
    assert written.prices() == [("BTC", 1, 1), ("ETH", 5, 1)]


def test_what_nobody_delivers_and_nothing_is_like_is_empty(written: Any) -> None:
    """A source that was left out of the file must not break the models that read it."""
    written.edit("raw.fees", "landing.fees", "landing.duties")
    assert written.run().error is None
    assert written.query("SELECT count(*) FROM marts.fee") == [(0,)]


def test_a_table_of_kind_full_that_would_wait_for_whole_intervals_is_refused(written: Any) -> None:
    path = written.model("marts.sums")
    path.write_text("MODEL (\n  name marts.sums,\n  kind FULL\n);\n\nSELECT COUNT(*)::BIGINT AS n FROM marts.price\n")
    error = refused(written)
    assert error.reason.startswith("transforms/models/marts/sums.sql:3"), error
    path.write_text(path.read_text().replace("kind FULL", "kind FULL, allow_partials TRUE"))
    assert written.run().error is None
    written.price("SOL", 9, 1)
    assert written.run().error is None
    assert written.query("SELECT n FROM marts.sums") == [(3,)]


@pytest.mark.parametrize(
    ("arguments", "reason"), [("requird := asset", "no argument requird"), ("x := 1", "argument x")]
)
def test_an_audit_is_given_nothing_that_it_does_not_use(written: Any, arguments: str, reason: str) -> None:
    audits = written.folder / "transforms" / "audits"
    audits.mkdir()
    (audits / "present.sql").write_text(
        "AUDIT (name present, defaults (required = ()));\nSELECT * FROM @this_model WHERE @required IS NULL\n"
    )
    written.edit("marts.price", "grain (asset)", f"grain (asset), audits (PRESENT(required := asset, {arguments}))")
    error = refused(written)
    assert reason in error.reason
    assert error.reason.startswith(f"{MART}:3"), error


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
