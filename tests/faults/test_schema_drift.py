"""Schema drift, case by case: versions of one API over several runs, the same in DuckLake and in a DuckDB file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fake_api import FakeApi, Reply
from tests.faults.rest_project import (
    BOTH,
    TABLE,
    Finished,
    Holding,
    RestProject,
    assert_consistent,
    assert_whole,
    digest,
)

pytestmark = pytest.mark.faults

IDS: dict[str, Any] = {"columns": {"id": {"type": "bigint"}}}


class Versions:
    """An API of which each run sees the next version, and the project that asks it."""

    def __init__(self, folder: Path, resource: dict[str, Any], load: tuple[str, ...] = BOTH) -> None:
        self.body: str | None = None
        self.rows: list[dict[str, Any]] = []
        self.api = FakeApi(folder / "ledger.jsonl", lambda _: Reply(self.rows, self.body))
        self.api.__enter__()
        self.project = RestProject(folder / "project", self.api.url, resource, load=load)

    def run(self, rows: list[dict[str, Any]], body: str | None = None) -> Finished:
        """Serve these rows (as this text, where one is given), run, and see that they were asked for."""
        self.rows, self.body = rows, body
        before = len(self.api.asked)
        run = self.project.run()
        assert len(self.api.asked) == before + 1
        return run

    def load(self, *destinations: str) -> None:
        """Load into these from now on; without one the lake alone takes what comes."""
        self.project.document["pipelines"]["pull"]["load"] = list(destinations)
        self.project.write()

    def held(self) -> Holding:
        """What both destinations hold, once everything served is found in them."""
        return assert_whole(self.project, self.api.ledger())


Make = Callable[..., Versions]


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Make]:
    made: list[Versions] = []

    def make(resource: dict[str, Any] | None = None, load: tuple[str, ...] = BOTH) -> Versions:
        made.append(Versions(tmp_path, resource or IDS, load))
        return made[-1]

    yield make
    for each in made:
        each.api.__exit__()


def values(held: Holding, column: str) -> dict[int, Any]:
    return {row["id"]: row[column] for row in held.rows}


def reasons(held: Holding) -> dict[int, str]:
    return {json.loads(row["row"])["id"]: row["reason"] for row in held.set_aside}


Z01 = ([{"id": 1}], [{"id": 2, "color": "red"}], [{"id": 3}], [{"id": 4, "color": "blue", "size": 5}])


def test_z01_a_column_comes_goes_and_comes_back(versions: Make) -> None:
    api = versions()

    for rows in Z01:
        assert api.run(rows).code == 0

    held = api.held()
    assert values(held, "color") == {1: None, 2: "red", 3: None, 4: "blue"}
    assert values(held, "size") == {1: None, 2: None, 3: None, 4: Decimal(5)}


def test_z02_a_type_that_changes_sets_rows_aside_with_a_count(versions: Make) -> None:
    api = versions(load=())
    changes: list[Any] = [5, 5.25, "six", {"whole": 7}, [8], True, "9.5"]

    runs = [api.run([{"id": number, "size": size}]) for number, size in enumerate(changes[:-1])]
    api.load(*BOTH)
    runs.append(api.run([{"id": 6, "size": changes[-1]}]))

    assert [run.code for run in runs] == [0] * len(changes)
    held = api.held()
    assert values(held, "size") == {0: Decimal(5), 1: Decimal("5.25"), 6: Decimal("9.5")}
    assert set(reasons(held)) == {2, 3, 4, 5}
    for number in (2, 3, 4, 5):
        assert f"set aside in {TABLE}: 1 row: size: " in runs[number].out
    assert {row["column_name"] for row in held.set_aside} == {"size"}


def test_z02_text_that_becomes_a_number_or_an_object_keeps_its_column(versions: Make) -> None:
    api = versions()
    changes: list[Any] = ["small", 12, 1.50, {"a": 1}, None]

    assert [api.run([{"id": number, "size": size}]).code for number, size in enumerate(changes)] == [0] * 5

    held = api.held()
    assert values(held, "size") == {0: "small", 1: "12", 2: "1.5", 4: None}
    assert set(reasons(held)) == {3}


def test_z02_under_a_frozen_contract_the_run_says_what_changed_and_lands_nothing(versions: Make) -> None:
    frozen = {"columns": {"id": {"type": "bigint"}, "size": {"type": "bigint"}}, "contract": {"data_type": "freeze"}}
    api = versions(frozen)
    assert api.run([{"id": 1, "size": 1}]).code == 0

    run = api.run([{"id": 2, "size": "large"}])

    assert run.code == 1
    (line,) = run.failures
    assert "is frozen, and column 'size' got text that is no number" in line
    assert " — " in line
    held = assert_consistent(api.project)
    assert [row["id"] for row in held.rows] == [1]
    assert held.aside == []


def test_z03_a_column_of_nulls_takes_its_type_from_its_first_value(versions: Make) -> None:
    api = versions(load=())

    for number in range(10):
        assert api.run([{"id": number, "price": None}]).code == 0
        if number == 8:
            api.load(*BOTH)
    assert "price" not in api.project.holds().columns
    assert api.run([{"id": 10, "price": 1.25}]).code == 0

    held = api.held()
    assert held.columns["price"] == "DECIMAL(38,18)"
    assert values(held, "price") == {**dict.fromkeys(range(10)), 10: Decimal("1.25")}


def test_z04_names_that_become_one_column_overwrite_nothing(versions: Make) -> None:
    api = versions()
    rows: list[dict[str, Any]] = [
        {"id": 1, "price": 1, "Price": 2, "PRICE": 3},
        {"id": 2, "a-b": 1, "a_b": 2, "a b": 3},
        {"id": 3, "price": 4, "a-b": 5},
        {"id": 4, "Price": 6, "a b": 7},
        {"id": 5, "PRICE": 8, "a_b": 9},
    ]

    run = api.run(rows)

    assert run.code == 0
    assert f"set aside in {TABLE}: " in run.out
    assert "become one column" in run.out
    held = api.held()
    assert values(held, "price") == {3: 4, 4: 6, 5: 8}
    assert values(held, "a_b") == {3: 5, 4: 7, 5: 9}
    originals = {json.loads(row["row"])["id"]: json.loads(row["row"]) for row in held.set_aside}
    assert originals == {1: rows[0], 2: rows[1]}, "what was set aside keeps every value"


def test_z06_names_that_are_taken_elsewhere_are_kept_out_of_the_way(versions: Make) -> None:
    api = versions()
    names = ["select", "_dlt_load_id", "load_id", "rowid", "ctid", "", "_load_id", "table", "order by", '"; DROP']
    row = {"id": 1, **{name: f"value of {name}" for name in names}}

    run = api.run([row])

    assert run.code == 0, run.text
    held = api.held()
    landed = {str(value) for value in held.rows[0].values()}
    assert {f"value of {name}" for name in names} <= landed
    assert held.rows[0]["_load_id"] in {package["_load_id"] for package in held.packages}, "the engine's own"


def test_z06_a_row_with_1700_columns_is_set_aside_and_the_others_land(versions: Make) -> None:
    api = versions()
    wide = {"id": 1, **{f"c{number}": number for number in range(1_700)}}

    run = api.run([wide, {"id": 2, "c1": 5}])

    assert run.code == 0, run.text
    assert "1,700 new columns; the table takes 1,000 more in this package" in run.out
    assert len(run.text.splitlines()) <= 40
    held = api.held()
    assert [row["id"] for row in held.rows] == [2]
    assert json.loads(held.set_aside[0]["row"])["c1699"] == 1_699


def test_z07_a_destination_that_missed_every_version_catches_up_to_the_same(versions: Make) -> None:
    api = versions(load=("warehouse",))
    for rows in Z01:
        assert api.run(rows).code == 0
    assert not (api.project.folder / ".data" / "second.duckdb").exists(), "the destination missed nothing"

    api.load(*BOTH)
    run = api.run([{"id": 5, "size": 6, "shape": "round"}])
    assert "second: loaded, 5 rows in 6 packages" in run.out
    before = api.held()

    replayed = api.project.run("replay", "--destination", "second")

    assert replayed.code == 0, replayed.text
    after = api.held()
    assert digest(after.rows) == digest(before.rows)
    assert api.project.run("replay").code == 0
    assert digest(api.held().rows) == digest(before.rows)


def test_z08_seconds_that_become_milliseconds_are_set_aside_and_no_year_50000(versions: Make) -> None:
    timed = {"columns": {"id": {"type": "bigint"}, "at": {"type": "timestamp", "epoch": "s"}}}
    api = versions(timed)
    start = 1_777_000_000

    rows = [{"id": number, "at": (start + number) * (1 if number < 500 else 1000)} for number in range(510)]
    run = api.run(rows)

    assert run.code == 0
    assert f"set aside in {TABLE}: 10 rows: at: an epoch number outside the years 1990 to 2100" in run.out
    held = api.held()
    assert len(held.rows) == 500
    assert max(row["at"] for row in held.rows) < datetime(2100, 1, 1, tzinfo=UTC)
    assert set(reasons(held)) == set(range(500, 510))


def test_z10_a_decimal_that_outgrows_its_column_is_exact_or_set_aside(versions: Make) -> None:
    api = versions({"columns": {"id": {"type": "bigint"}, "price": {"type": "decimal"}}}, load=())
    tokens = ["1.5", f"{10**29}.5", "9" * 20, "1" + "0" * 20, "0.1234567890123456789", f"{'9' * 20}.{'9' * 18}"]

    for number, token in enumerate(tokens):
        if number == len(tokens) - 1:
            api.load(*BOTH)
        run = api.run([{"id": number}], f'[{{"id": {number}, "price": {token}}}]')
        assert run.code == 0, run.text

    held = api.held()
    exact = (0, 2, 5)
    assert values(held, "price") == {number: Decimal(tokens[number]) for number in exact}
    assert set(reasons(held)) == {1, 3, 4}
