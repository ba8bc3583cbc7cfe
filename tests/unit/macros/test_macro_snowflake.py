"""What is rendered for Snowflake calls only functions that someone has looked up there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.unit.macros.engines import PROBES, TRANSFORMS, Engines, open_models

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("macros"),
]
CHECKED = yaml.safe_load((Path(__file__).parent / "snowflake_functions.yaml").read_text())
DOCUMENTED = re.compile(r"https://docs\.snowflake\.com/en/sql-reference/functions/[a-z0-9_]+")
NO_FUNCTIONS = {"AND", "AS", "BY", "CASE", "DECIMAL", "DISTINCT", "ELSE", "EXISTS", "FROM", "IN", "IS", "JOIN", "NOT"}
NO_FUNCTIONS |= {
    "ON",
    "OR",
    "OVER",
    "QUALIFY",
    "SELECT",
    "THEN",
    "TIMESTAMP",
    "UNION",
    "ALL",
    "VALUES",
    "WHEN",
    "WHERE",
}
TEXTS = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"[^\"]*\"", re.DOTALL)


def functions(sql: str) -> set[str]:
    """Return what stands before an opening parenthesis, but for keywords and types."""
    return set(re.findall(r"\b([A-Z_][A-Z0-9_]*)\s*\(", TEXTS.sub("''", sql).upper())) - NO_FUNCTIONS


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every model of the project, rendered for Snowflake."""
    folder = tmp_path_factory.mktemp("snowflake") / "transforms"
    shutil.copytree(TRANSFORMS, folder, ignore=shutil.ignore_patterns("__pycache__", "dbt", "tests"))
    return open_models(folder, "snowflake")


def test_each_checked_function_has_its_page() -> None:
    assert [name for name, page in CHECKED.items() if not DOCUMENTED.fullmatch(page)] == []


@pytest.mark.parametrize("probe", PROBES)
def test_a_macro_calls_only_checked_functions(engines: Engines, probe: str) -> None:
    assert functions(engines.rendered["snowflake"][probe]) - set(CHECKED) == set()


@pytest.mark.slow
def test_the_models_call_only_checked_functions_and_all_of_them(models: dict[str, str]) -> None:
    assert len(models) > 40
    called = {name: functions(sql) for name, sql in models.items()}
    assert {name: found - set(CHECKED) for name, found in called.items() if found - set(CHECKED)} == {}
    assert set(CHECKED) - set().union(*called.values()) == set()


def test_no_literal_for_snowflake_has_an_escape_that_it_does_not_know(engines: Engines) -> None:
    known = set("'\"\\bfnrt0xu") | set("1234567")
    literals = [text for sql in engines.rendered["snowflake"].values() for text in TEXTS.findall(sql)]
    escapes = {escape for text in literals for escape in re.findall(r"\\(.)", text, re.DOTALL)}
    assert escapes
    assert escapes - known == set()
