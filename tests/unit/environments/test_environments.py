"""Edited models beside production's: built, compared, promoted, dropped; and what runs do meanwhile."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from engine.errors import TickhouseError, UsageError
from engine.models.environments import environment_name
from engine.models.errors import ModelError
from engine.models.transform import TransformError
from engine.plan.page import model_lines

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("environments"),
]
FIRST = [("BTC", 1, 1), ("ETH", 5, 1)]
TWICE = [("BTC", 2, 1), ("ETH", 10, 1)]
PRICE = "ARG_MAX(price, hour)::BIGINT AS price"


def double(project: Any) -> None:
    project.edit("marts.price", PRICE, "(2 * ARG_MAX(price, hour))::BIGINT AS price")


def test_an_edited_model_is_compared_and_promoted_and_productions_tables_stay_as_they_are(project: Any) -> None:
    double(project)
    planned = project.plan("dev")
    assert [(row["model"], row["change"]) for row in planned["changed"]] == [
        ("marts.price", "breaking"), ("marts.dear", "breaking"),
    ]  # fmt: skip
    before = project.physical()
    assert len(before) == 3, "stage.price, marts.price, marts.fee"

    done = project.apply("dev")
    assert done["built"] == ["marts.price"]
    assert project.prices("marts__dev") == TWICE
    assert project.prices() == FIRST
    beside = project.physical()
    assert {name: beside[name] for name in before} == before, "production's tables and files are those of before"
    [own] = beside.keys() - before.keys()
    assert own.startswith("sqlmesh__marts.marts__price__")

    compared = project.diff("dev")
    assert compared["marts.price"]["differs"] == {"price": 2}
    assert compared["marts.price"]["samples"]["differing"][0] == {"key": {"asset": "BTC"}, "columns": {"price": [1, 2]}}

    promoted = project.apply()
    assert promoted["built"] == [], "what the environment has built is not built again"
    after = project.physical()
    assert after == beside, "not one file was written, of no table"
    assert project.prices() == TWICE
    assert project.query("SELECT * FROM marts.dear") == [("ETH", 10)]
    assert project.diff("dev") == {}
    assert (project.run().status, project.run().models) == ("unchanged", 0), "the next run has nothing to plan"


def test_a_plan_names_models_and_no_tests(project: Any) -> None:
    test = project.folder / "transforms" / "audits" / "priced.sql"
    test.parent.mkdir()
    test.write_text(
        "AUDIT (name priced, standalone true);\n"
        "SELECT asset FROM marts.price WHERE asset NOT IN (SELECT asset FROM stage.price)\n"
    )
    for _ in ("it comes", "it goes"):
        planned = project.plan()
        assert (planned["status"], planned["added"], planned["removed"]) == ("changed", [], [])
        assert "  no model changes, only tests of several models do" in model_lines(planned)
        assert project.apply()["status"] == "changed", "a test is applied all the same"
        assert project.plan()["status"] == "unchanged"
        test.unlink(missing_ok=True)


def test_a_plan_writes_nothing(project: Any) -> None:
    double(project)
    files = [project.folder / "warehouse" / "catalog.sqlite", project.state]
    before = [path.read_bytes() for path in files]
    for environment in ("prod", "dev"):
        planned = project.plan(environment)
        [build] = [row for row in planned["build"] if not row["view"]]
        assert (build["model"], build["rows"], build["rows_from"]) == ("marts.price", 2, "its table now")
    assert [path.read_bytes() for path in files] == before
    assert (
        project.query("SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_schema LIKE '%dev'")
        == []
    )


def test_a_new_model_is_estimated_by_what_it_reads(project: Any) -> None:
    text = project.model("marts.fee").read_text()
    project.model("marts.fee2").write_text(text.replace("marts.fee,", "marts.fee2,"))
    planned = project.plan()
    assert planned["added"] == ["marts.fee2"]
    [build] = planned["build"]
    assert (build["rows"], build["rows_from"]) == (1, "the landed rows it reads, at most")
    project.model("marts.fee").unlink()
    assert project.plan()["removed"] == ["marts.fee"]


def test_runs_build_production_as_it_is_while_an_edit_is_on_trial(project: Any) -> None:
    double(project)
    first = project.apply("dev")
    project.price("BTC", 3, 1)
    report = project.run()
    assert report.error is None
    assert any("dev is on trial" in warning for warning in report.warnings)
    assert project.prices() == [("BTC", 3, 2), ("ETH", 5, 1)]
    assert project.prices("marts__dev") == TWICE, "an environment is brought forward by applying it again"
    done = project.apply("dev")
    assert done["built"] == ["marts.price"]
    assert done["build"][0]["from"] > first["build"][0]["from"], "only what arrived since"
    assert project.prices("marts__dev") == [("BTC", 6, 2), ("ETH", 10, 1)]
    project.price("ETH", 9, 1)
    assert project.run().error is None
    promoted = project.apply()
    assert promoted["built"] == ["marts.price"]
    assert project.prices() == [("BTC", 6, 2), ("ETH", 18, 2)]
    project.price("BTC", 4, 2)
    assert project.run().warnings == []
    assert project.prices() == [("BTC", 8, 3), ("ETH", 18, 2)]


def test_what_is_loaded_and_not_yet_modelled_is_not_missed(project: Any) -> None:
    """The environment may not note an interval as done that production's own tables have not come to."""
    double(project)
    project.price("BTC", 3, 1)
    assert project.run("load").status == "off"
    assert project.apply("dev")["built"] == ["marts.price"]
    assert project.prices("marts__dev") == TWICE
    assert project.apply()["built"] == []
    assert project.run().error is None
    assert project.prices() == [("BTC", 6, 2), ("ETH", 10, 1)]


def test_a_dropped_environment_leaves_nothing_and_lets_edits_through(project: Any) -> None:
    double(project)
    project.apply("dev")
    assert project.drop("dev")["dropped"] == ["marts.dear", "marts.price"]
    with pytest.raises(duckdb.CatalogException):
        project.prices("marts__dev")
    with pytest.raises(UsageError, match="there is no environment called 'dev'"):
        project.diff("dev")
    with pytest.raises(UsageError, match="there is no environment called 'dev'"):
        project.drop("dev")
    project.run()
    assert project.prices() == TWICE


def test_changed_columns_and_rows_are_told(project: Any) -> None:
    project.edit("marts.price", "COUNT(*)::BIGINT AS hours", "COUNT(*)::INT AS hours, 1::BIGINT AS one")
    project.edit("marts.price", "GROUP BY asset, _key", "AND asset <> 'ETH' GROUP BY asset, _key")
    project.model("marts.fee").unlink()
    project.apply("dev")
    found = project.diff("dev")
    price = found["marts.price"]
    assert price["columns"] == {"added": ["one"], "removed": [], "retyped": {"hours": ["BIGINT", "INTEGER"]}}
    assert price["rows"] == {"prod": 2, "env": 1}
    assert (price["only_in_prod"], price["only_in_env"], price["equal"]) == (1, 0, 1)
    assert price["samples"]["only_in_prod"] == [{"key": {"asset": "ETH"}}]
    assert (found["marts.fee"]["status"], found["marts.fee"]["rows"]["prod"]) == ("removed", 1)
    assert json.dumps(found)


def test_without_a_grain_rows_are_compared_by_what_they_are_kept_by_or_whole(project: Any) -> None:
    project.edit("marts.price", ", grain (asset)", "")
    project.edit("marts.dear", ", grain (asset)", "")
    double(project)
    project.apply("dev")
    found = project.diff("dev")
    price, dear = found["marts.price"], found["marts.dear"]
    assert (price["by"], price["differs"]) == (["asset"], {"price": 2})
    assert dear["by"] is None
    assert (dear["only_in_prod"], dear["only_in_env"], dear["equal"]) == (1, 1, 0)


def test_a_column_that_is_not_there_is_an_error_with_its_line(project: Any) -> None:
    project.edit("marts.price", PRICE, "ARG_MAX(prize, hour)::BIGINT AS price")
    with pytest.raises(ModelError) as caught:
        project.apply("dev")
    assert caught.value.reason.startswith("transforms/models/marts/price.sql:8\n")
    assert '"prize"' in caught.value.reason
    assert project.prices() == FIRST
    project.edit("marts.price", "prize", "price")
    project.edit("marts.price", PRICE, "ARG_MAX(price, hour)::BIGINT AS price, CAST(asset AS INT) AS number")
    with pytest.raises(TransformError, match=r"marts\.price"):
        project.apply("dev")
    assert project.prices() == FIRST


def test_after_a_run_that_failed_readers_keep_what_they_have(project: Any) -> None:
    marker = project.state.with_name("transformed-warehouse.json")
    noted = json.loads(marker.read_text())
    marker.write_text(json.dumps({**noted, "building": True}))
    double(project)
    assert project.apply("dev")["published"] is False
    with pytest.raises(TickhouseError, match="readers do not see"):
        project.diff("dev")
    project.price("BTC", 3, 1)
    project.run()
    assert project.prices("marts__dev") == TWICE
    assert project.apply("dev")["published"] is True


def test_nothing_to_try_and_nothing_arrived(project: Any, written: Any) -> None:
    assert project.plan("dev")["status"] == "unchanged"
    with pytest.raises(UsageError, match="there is nothing to try in dev"):
        project.apply("dev")
    assert project.apply()["status"] == "unchanged"
    assert written.plan()["status"] == "first"
    assert len(written.plan()["added"]) == 6
    with pytest.raises(TickhouseError, match="nothing has arrived yet"):
        written.apply("dev")
    with pytest.raises(UsageError, match="there is no environment called 'dev'"):
        written.diff("dev")


@pytest.mark.parametrize("name", ["", "a b", "a-b", "a.b", "dév", "prod", "Prod", "x" * 41])
def test_names_that_no_environment_can_have(name: str) -> None:
    with pytest.raises(UsageError):
        environment_name(name)


def test_names_are_kept_as_sqlmesh_keeps_them() -> None:
    assert environment_name("Dev_2") == "dev_2"
