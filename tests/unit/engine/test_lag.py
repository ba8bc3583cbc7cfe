"""When a lag is a warning."""

from __future__ import annotations

import pytest

from engine.lag import died, worse
from engine.ledger import RunRecord


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([5, 10, 400], "growing: the last runs left 5, 10, 400"),
        ([7, 7, 7], "stuck: the last runs left 7, 7, 7"),
        ([4, None], "stuck: the last run could not read it"),
        ([None, 3, 3, 9], "growing: the last runs left 3, 3, 9"),
        ([0, 10, 400], ""),  # it was all read not long ago
        ([400, 10, 12], ""),
        ([3, 3], ""),
        ([0, 0, 0], ""),
        ([], ""),
    ],
)
def test_a_lag_is_told_when_it_does_not_shrink(left: list[int | None], said: str) -> None:
    assert worse(left) == said


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("nnn", True),
        ("ynnn", True),
        ("nnnn", True),  # the newest may be under way, the three before it are not
        ("nn", False),
        ("nny", False),
        ("nnyn", False),
        ("", False),
    ],
)
def test_runs_that_all_died_are_told(ended: str, *, told: bool) -> None:
    runs = [RunRecord(str(n), "five", "", "later" if how == "y" else None, "", {}) for n, how in enumerate(ended)]
    assert died([*runs, RunRecord("now", "five", "", None, "running", {})]) == (
        "stuck: the last 3 runs died before they ended" if told else ""
    )
