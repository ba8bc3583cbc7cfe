"""How rows get into the tables that keep a row, or some, a key (transforms/materializations/keyed.py)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.session import connect

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
KEYED = Path(__file__).parents[3] / "transforms" / "materializations" / "keyed.py"
DAYS = {name: f"2026-05-0{number} 00:00:00+00" for number, name in enumerate(("early", "noon", "late"), 1)}


class Table:
    """One table filled by a kind, in DuckDB's memory."""

    def __init__(self, folder: Path, kind: str, columns: str, depends_on: str = "") -> None:
        """Make the empty table and its model."""
        from sqlmesh.core.dialect import parse
        from sqlmesh.core.engine_adapter import create_engine_adapter
        from sqlmesh.core.model import load_sql_based_model
        from sqlmesh.utils import sys_path

        spec = importlib.util.spec_from_file_location("keyed_under_test", KEYED)
        assert spec is not None
        assert spec.loader is not None
        self.keyed = sys.modules["keyed_under_test"] = importlib.util.module_from_spec(spec)
        with sys_path(KEYED.parents[1]):
            spec.loader.exec_module(self.keyed)
        connection = connect(folder, extensions=False)
        self.adapter = create_engine_adapter(lambda: connection, "duckdb")
        self.adapter.execute(f"CREATE TABLE thing ({columns})")
        name, properties = kind.split(": ")
        custom = f"kind CUSTOM (materialization '{name}', materialization_properties ({properties}))"
        query = "SELECT " + ", ".join(f"NULL AS {column.split()[0]}" for column in columns.split(", "))
        self.model = load_sql_based_model(
            parse(f"MODEL (name vault.thing, {custom}, allow_partials TRUE{depends_on}); {query}")
        )

    def put(self, kind: str, query: str) -> None:
        """Put the rows of a query, which are not the table's first."""
        from sqlglot import parse_one

        of = getattr(self.keyed, kind)(self.adapter)
        of.insert("thing", parse_one(query, dialect="duckdb"), self.model, False, {})

    def rows(self) -> list[tuple[Any, ...]]:
        """All there is."""
        return [tuple(row) for row in self.adapter.fetchall("SELECT * FROM thing ORDER BY ALL")]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Table]:
    table = Table(tmp_path, "insert_new: key = k", "k TEXT, said TEXT, _arrived_at TIMESTAMPTZ, _key BIGINT")
    yield table
    table.adapter.close()


def arrival(key: str, said: str, when: str, bits: int = 1) -> str:
    return f"SELECT '{key}' AS k, '{said}' AS said, TIMESTAMPTZ '{DAYS[when]}' AS _arrived_at, {bits} AS _key"


def test_a_key_that_is_there_stays_as_it_is(hub: Table) -> None:
    hub.put("InsertNew", arrival("a", "first", "noon"))
    hub.put("InsertNew", f"{arrival('a', 'second', 'late')} UNION ALL {arrival('b', 'other', 'late', 2)}")
    assert [(key, said) for key, said, *_ in hub.rows()] == [("a", "first"), ("b", "other")]


def test_an_interval_that_passed_before_and_is_run_after_gives_the_first_arrival(hub: Table) -> None:
    hub.put("InsertNew", arrival("a", "second", "late"))
    hub.put("InsertNew", f"{arrival('a', 'first', 'early')} UNION ALL {arrival('b', 'other', 'early')}")
    assert [(key, said, at.day) for key, said, at, _ in hub.rows()] == [("a", "first", 1), ("b", "other", 1)]


def test_keys_whose_bits_are_alike_are_not_one_another(hub: Table) -> None:
    hub.put("InsertNew", arrival("a", "first", "noon", 7))
    hub.put("InsertNew", arrival("b", "other", "early", 7))
    assert [(key, said) for key, said, *_ in hub.rows()] == [("a", "first"), ("b", "other")]


@pytest.mark.parametrize(("known_since", "expected"), [("early", "replaced"), ("late", "kept")])
def test_only_what_a_hub_knew_before_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_since: str, expected: str
) -> None:
    """Of a key that the hub has got now there is no older row: one that is there all the same shows no look-up."""
    kind = "replace_groups: key = thing_hk, hubs = vault.hub_thing"
    columns = "thing_hk TEXT, said TEXT, _arrived_at TIMESTAMPTZ, _key BIGINT"
    table = Table(tmp_path, kind, columns, ", depends_on (vault.hub_thing)")
    table.adapter.execute("CREATE TABLE hub_thing (thing_hk TEXT, _arrived_at TIMESTAMPTZ)")
    table.adapter.execute(f"INSERT INTO hub_thing VALUES ('a', '{DAYS[known_since]}')")
    table.adapter.execute(f"INSERT INTO thing VALUES ('a', 'old', '{DAYS['early']}', 1)")
    monkeypatch.setattr(table.keyed, "to_table_mapping", lambda *_: {'"vault"."hub_thing"': "hub_thing"})
    table.put("ReplaceGroups", arrival("a", "new", "late").replace("AS k", "AS thing_hk"))
    assert [said for _, said, *_ in table.rows()] == (["new"] if expected == "replaced" else ["new", "old"])
    table.adapter.close()


def test_a_hub_that_the_model_does_not_depend_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlmesh.utils.errors import SQLMeshError

    columns = "k TEXT, thing_hk TEXT, _arrived_at TIMESTAMPTZ, _key BIGINT"
    table = Table(tmp_path, "insert_new: key = k, hubs = vault.hub_gone", columns)
    monkeypatch.setattr(table.keyed, "to_table_mapping", lambda *_: {})
    with pytest.raises(SQLMeshError, match=r"hubs names vault.hub_gone, which the model does not read"):
        table.put("InsertNew", "SELECT 'a' AS thing_hk, now() AS _arrived_at")
    table.adapter.close()


def test_of_two_rows_the_greater_one_stays_and_null_is_least(tmp_path: Path) -> None:
    table = Table(tmp_path, "keep_newest: key = k, newest = (seen, said)", "k TEXT, seen INT, said TEXT, _key BIGINT")
    table.adapter.execute(
        "INSERT INTO thing VALUES "
        "('later', 1, 'a', 1), ('earlier', 5, 'a', 2), ('tie', 1, 'b', 3), ('null', NULL, 'a', 4)"
    )
    new = ("('later', 2, 'z', 1)", "('earlier', 4, 'z', 2)", "('tie', 1, 'c', 3)", "('null', 0, 'z', 4)")
    table.put("KeepNewest", f"SELECT * FROM (VALUES {', '.join(new)}) AS given (k, seen, said, _key)")
    assert [row[:3] for row in table.rows()] == [
        ("earlier", 5, "a"), ("later", 2, "z"), ("null", 0, "z"), ("tie", 1, "c"),
    ]  # fmt: skip
    table.put("KeepNewest", "SELECT 'null' AS k, NULL::INT AS seen, 'zz' AS said, 4::BIGINT AS _key")
    assert ("null", 0, "z") in [row[:3] for row in table.rows()]
    table.adapter.close()
