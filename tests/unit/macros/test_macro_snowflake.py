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
    "USING",
    "ALL",
    "INSERT",
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
    """Every model of the project and its audits, rendered for Snowflake; and what puts rows into their tables."""
    folder = tmp_path_factory.mktemp("snowflake") / "transforms"
    shutil.copytree(TRANSFORMS, folder, ignore=shutil.ignore_patterns("__pycache__", "dbt", "tests"))
    return {**open_models(folder, "snowflake"), **merges()}


def merges() -> dict[str, str]:
    """The statements of transforms/materializations/merging.py."""
    from sqlmesh.utils import sys_path

    with sys_path(TRANSFORMS):
        from materializations import merging
    columns, key, version = ['"_key"', '"k"', '"v"'], ['"k"'], ['"v"']
    return {
        "insert_new": merging.insert_new("t", "SELECT 1", [*columns, '"_arrived_at"'], key),
        "keep_newest": merging.keep_newest("t", "SELECT 1", columns, key, version),
        "replace_keys": merging.replace_keys("t", "SELECT 1", columns, key, by=['"_key"']),
        "replace_versions": merging.replace_versions("t", "fresh", columns, key, version),
    }


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


@pytest.mark.slow
def test_snowflake_can_read_all_of_it_once_its_names_are_in_capitals(models: dict[str, str]) -> None:
    import sqlglot

    from engine.models.snowflake import in_capitals, text_in_capitals

    assert {"transactions_complete of business.transaction", "replace_versions", "marts.dim_asset"} <= set(models)
    for name, sql in models.items():
        tree = in_capitals(sqlglot.parse_one(sql, dialect="snowflake"))
        said = tree.sql(dialect="snowflake")
        small = [
            word for word in re.findall(r'"([^"]*)"', re.sub(r"'(?:[^'\\]|\\.|'')*'", "", said)) if word != word.upper()
        ]
        assert small == [], name
        assert text_in_capitals(said) == said, name
        assert not list(tree.find_all(sqlglot.exp.Command)), name
        multiplied = [each for each in tree.find_all(sqlglot.exp.Interval) if isinstance(each.parent, sqlglot.exp.Mul)]
        assert multiplied == [], f"{name}: an INTERVAL is a constant there"


def test_names_in_a_text_are_put_into_capitals_and_nothing_else() -> None:
    from engine.models.snowflake import text_in_capitals

    given = r"""MERGE INTO "db"."t" AS x /* "as it is" */ USING (SELECT 'say "so", it\'s', $$"q"$$ AS "a""b") AS o"""
    said = r"""MERGE INTO "DB"."T" AS x /* "as it is" */ USING (SELECT 'say "so", it\'s', $$"q"$$ AS "A""B") AS o"""
    assert text_in_capitals(given) == said


def test_no_literal_for_snowflake_has_an_escape_that_it_does_not_know(engines: Engines) -> None:
    known = set("'\"\\bfnrt0xu") | set("1234567")
    literals = [text for sql in engines.rendered["snowflake"].values() for text in TEXTS.findall(sql)]
    escapes = {escape for text in literals for escape in re.findall(r"\\(.)", text, re.DOTALL)}
    assert escapes
    assert escapes - known == set()
