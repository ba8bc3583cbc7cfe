"""How far a changed model is built: never beyond what has reached the tables it reads."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest

from engine.models.plan import _node
from engine.models.reach import NEVER, Node, ends

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
UNTIL = 1000


def test_a_new_model_is_built_to_the_end_when_nothing_waits():
    nodes = [Node("stage", (), ["t"], built=500, shared=True), Node("mart", ["stage"])]
    assert ends(nodes, {"t": [100, 400]}, UNTIL) == {"stage": NEVER, "mart": UNTIL}


def test_it_ends_at_the_first_row_that_its_parent_has_not_taken():
    nodes = [Node("stage", (), ["t"], built=500, shared=True), Node("mart", ["stage"])]
    assert ends(nodes, {"t": [100, 500, 700]}, UNTIL)["mart"] == 500
    assert ends(nodes, {"t": [100, 499, 700]}, UNTIL)["mart"] == 700


def test_what_waits_counts_from_any_depth_and_through_views():
    nodes = [
        Node("raw", (), ["t"], moves=False, shared=True),
        Node("stage", ["raw"], built=600, shared=True),
        Node("vault", ["stage"], built=300, shared=True),  # a run died between the two
        Node("view", ["vault"], moves=False),
        Node("mart", ["view", "other"]),
        Node("other", (), ["u"], built=900, shared=True),
    ]
    found = ends(nodes, {"t": [100, 400, 650], "u": [800]}, UNTIL)
    assert found["mart"] == 400
    assert found["view"] == UNTIL, "a view is made, it takes no rows"


def test_a_table_that_is_left_out_of_a_run_keeps_nobody_back():
    nodes = [
        Node("prices", (), ["p"], built=200, shared=True),  # nothing arrived since
        Node("fees", (), ["f"], built=900, shared=True),
        Node("mart", ["prices", "fees"]),
    ]
    assert ends(nodes, {"p": [150], "f": [850]}, UNTIL)["mart"] == UNTIL


def test_what_an_environment_has_built_is_built_again_only_for_what_came_since():
    nodes = [Node("stage", (), ["t"], built=900, shared=True), Node("mart", ["stage"], built=500)]
    assert ends(nodes, {"t": [100]}, UNTIL)["mart"] == NEVER
    assert ends(nodes, {"t": [100, 600]}, UNTIL)["mart"] == UNTIL
    assert ends(nodes, {"t": [100, 950]}, UNTIL)["mart"] == NEVER, "it has not reached the stage"


def test_a_changed_chain_is_built_to_one_end():
    nodes = [
        Node("stage", (), ["t"], built=500, shared=True),
        Node("mart", ["middle"]),
        Node("middle", ["stage"]),
    ]
    found = ends(nodes, {"t": [600]}, UNTIL)
    assert found["middle"] == found["mart"] == 600


def test_a_first_plan_builds_everything():
    nodes = [Node("raw", (), ["t"], moves=False), Node("stage", ["raw"]), Node("mart", ["stage"])]
    assert set(ends(nodes, {"t": [1, 2]}, UNTIL).values()) == {UNTIL}


@pytest.mark.parametrize(("begins", "built"), [("2026-05-01", 5), ("2026-05-02", None)])
def test_a_table_that_was_built_from_a_later_start_on_lacks_its_beginning(begins: str, built: int | None) -> None:
    """Plain `sqlmesh plan dev --start` makes such: promoted as it is, production would have lost its history."""
    day = 86_400_000
    first = (date.fromisoformat(begins) - date(1970, 1, 1)).days * day
    kind = SimpleNamespace(is_view=False, is_symbolic=False)
    snapshot = SimpleNamespace(
        name="marts.price",
        parents=[],
        version="1",
        intervals=[(first, first + 5)],
        node=SimpleNamespace(depends_on=set(), start=None),
        model=SimpleNamespace(kind=kind),
    )
    found = _node(snapshot, {}, "2026-05-01").built
    assert found == (None if built is None else first + built)
