"""`engine query` for a person: rows that fit the terminal, and what is said where nothing is published."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from engine.cli import cli
from engine.errors import NotPublishedError
from engine.query import QueryResult
from engine.query_output import as_records, for_terminal

PROFILES = """
profiles:
  local: {data: .data/local, lake: {type: filesystem, path: .data/local/lake}, warehouse: WAREHOUSE}
  demo: {data: .data/demo, lake: {type: filesystem, path: .data/demo/lake}, warehouse: WAREHOUSE}
  other: {data: .data/other, lake: {type: filesystem, path: .data/other/lake}, warehouse: WAREHOUSE}
sources:
  first: {type: files, path: first, resources: {raw_first: {files: "*.csv"}}}
pipelines:
  one: {extract: [first], load: [warehouse]}
"""


def drawn(result: QueryResult, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(for_terminal(result, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def wide(columns: int, value: Any = "a longer text", rows: int = 2, *, truncated: bool = False) -> QueryResult:
    names = tuple(f"column_{at}" for at in range(columns))
    return QueryResult(names, ("VARCHAR",) * columns, ((value,) * columns,) * rows, truncated)


def test_a_row_that_does_not_fit_is_one_column_a_line() -> None:
    assert drawn(wide(12, truncated=True), 80) == [
        *(["-- row 1"] + [f"{f'column_{at}':<9}  a longer text" for at in range(12)]),
        *(["-- row 2"] + [f"{f'column_{at}':<9}  a longer text" for at in range(12)]),
        "first 2 rows",
    ]


@pytest.mark.parametrize(("columns", "width"), [(12, 160), (7, 80), (1, 20)])
def test_a_row_that_fits_is_a_row_of_a_table(columns: int, width: int) -> None:
    lines = drawn(wide(columns), width)
    assert not any(line.startswith("-- row") for line in lines)
    assert max(map(len, lines)) <= width


def test_many_short_columns_fit() -> None:
    names = tuple("abcdefghijklmnopqr")
    lines = drawn(QueryResult(names, ("BIGINT",) * 18, ((1,) * 18,)), 80)
    assert lines[1].split("┃")[1:-1] == [f" {name} " for name in names]


def test_records_keep_texts_as_they_are() -> None:
    result = QueryResult(("a", "[b]"), ("VARCHAR", "VARCHAR"), (("[red]x[/red]\n\x1b[2J", None),))
    out = io.StringIO()
    Console(file=out, width=60, highlight=False).print(as_records(result))
    assert "[red]x[/red]" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 3


@pytest.mark.parametrize("kind", ["ducklake", "duckdb"])
def test_an_unpublished_profile_names_itself_and_those_with_data(tmp_path: Path, kind: str) -> None:
    (tmp_path / "first").mkdir()
    file = tmp_path / "pipelines.yaml"
    file.write_text(PROFILES.replace("WAREHOUSE", f"{{type: {kind}, path: .data/none}}"))

    def failed() -> NotPublishedError:
        ended = CliRunner().invoke(cli, ["query", "select 1", "-f", str(file), "-p", "local"])
        assert isinstance(ended.exception, NotPublishedError)
        return ended.exception

    alone = failed()
    assert alone.reason == "warehouse: nothing is published here yet in profile local"
    assert alone.remedy == "Run a pipeline first: `engine run --all`."
    (tmp_path / ".data" / "demo" / "state").mkdir(parents=True)
    (tmp_path / ".data" / "demo" / "state" / "plan.json").write_text("{}")
    beside = failed()
    assert beside.reason == alone.reason
    assert beside.remedy.startswith("Profile demo has data: add `-p demo`, or export ENGINE_PROFILE=demo. ")
    assert "other" not in beside.remedy
    assert "`engine run --all -p local`" in beside.remedy
