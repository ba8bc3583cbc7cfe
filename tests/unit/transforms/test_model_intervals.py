"""Which intervals are left to build: the arithmetic of engine.models.intervals."""

from __future__ import annotations

from engine.models.intervals import unbuilt

CELL = 300_000


def test_an_interval_that_was_cut_short_goes_on_where_it_ended() -> None:
    built = [(0, CELL + 1_000)]
    assert unbuilt([(CELL, 2 * CELL), (2 * CELL, 2 * CELL + 7)], built, newest=2 * CELL) == [
        (CELL + 1_000, 2 * CELL),
        (2 * CELL, 2 * CELL + 7),
    ]


def test_nothing_is_left_of_a_model_for_which_nothing_arrived() -> None:
    built = [(0, CELL + 1_000)]
    missing = [(CELL, 2 * CELL)]
    assert unbuilt(missing, built, newest=CELL + 999) == []
    assert unbuilt(missing, built, newest=CELL + 1_000) == [(CELL + 1_000, 2 * CELL)]


def test_a_model_without_intervals_and_a_hole_in_them_are_built() -> None:
    assert unbuilt([(0, CELL)], [], newest=0) == [(0, CELL)]
    assert unbuilt([(CELL, 2 * CELL)], [(0, CELL), (2 * CELL, 3 * CELL)], newest=0) == [(CELL, 2 * CELL)]


def test_what_nobody_noted_an_arrival_for_is_built() -> None:
    assert unbuilt([(CELL, 2 * CELL)], [(0, CELL)], newest=None) == [(CELL, 2 * CELL)]
