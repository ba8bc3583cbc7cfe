"""Positions: what is lost between the landed offsets and those that brokers hold, and where to read on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sources.kafka.positions import Held, Hole, Mark, Positions, lag


def told(holes: list[Hole]) -> list[tuple[int, int, int, str]]:
    return [(hole.partition, hole.start, hole.end, hole.why.split(":")[0]) for hole in holes]


def test_a_state_comes_back_through_json() -> None:
    positions = Positions("id", {11: 5, 2: 7}, {2: Mark(6, 1)})
    state: dict[str, Any] = {}
    positions.keep(state)
    assert list(state["next"]) == ["2", "11"]
    assert Positions.of(json.loads(json.dumps(state))) == positions
    assert Positions.of({}) == Positions()


def test_what_was_never_read_is_read_from_its_beginning() -> None:
    positions = Positions("id", {0: 5})
    assert positions.settle("id", {0: Held(0, 9), 1: Held(40, 50)}) == []
    assert positions.next == {0: 5, 1: 40}


def test_what_retention_deleted_is_a_gap() -> None:
    positions = Positions("id", {0: 5, 1: 5, 2: 5}, {0: Mark(5, 1), 1: Mark(5, 1)})
    holes = positions.settle("id", {0: Held(6, 9), 1: Held(5, 9), 2: Held(9, 9)})
    assert told(holes) == [(0, 5, 6, "kafka_gap"), (2, 5, 9, "kafka_gap")]
    assert positions.next == {0: 6, 1: 5, 2: 9}
    assert positions.marks == {1: Mark(5, 1)}


def test_another_id_is_another_topic() -> None:
    positions = Positions("id", {0: 5, 1: 300}, {1: Mark(300, 4)})
    holes = positions.settle("other", {0: Held(0, 9)})
    assert told(holes) == [(0, 5, 5, "topic_recreated"), (1, 300, 300, "topic_recreated")]
    assert (positions.topic_id, positions.next, positions.marks) == ("other", {0: 0}, {})


@pytest.mark.parametrize(("before", "now", "after"), [(None, "id", "id"), ("id", None, "id"), (None, None, None)])
def test_an_id_that_is_not_known_tells_nothing(before: str | None, now: str | None, after: str | None) -> None:
    positions = Positions(before, {0: 5})
    assert positions.settle(now, {0: Held(0, 9)}) == []
    assert (positions.topic_id, positions.next) == (after, {0: 5})


def test_a_position_behind_the_end_is_cut_unless_the_brokers_can_say_where() -> None:
    positions = Positions("id", {0: 300, 1: 300, 2: 9}, {1: Mark(300, 4)})
    holes = positions.settle("id", {0: Held(0, 9), 1: Held(0, 9), 2: Held(0, 9)})
    assert told(holes) == [(0, 9, 300, "kafka_truncated")]
    assert positions.next == {0: 9, 1: 300, 2: 9}


def test_a_cut_goes_back_to_where_the_logs_part() -> None:
    positions = Positions("id", {0: 300}, {0: Mark(300, 4)})
    assert told([positions.cut(0, 250)]) == [(0, 250, 300, "kafka_truncated")]
    assert (positions.next, positions.marks) == ({0: 250}, {})


def test_reading_begins_at_the_mark_while_it_is_held() -> None:
    positions = Positions("id", {0: 300, 1: 300, 2: 300}, {0: Mark(298, 4), 1: Mark(298, 4)})
    assert [positions.start(0, 298), positions.start(1, 299), positions.start(2, 0)] == [
        (298, 4),
        (300, None),
        (300, None),
    ]


def test_lag_is_what_is_still_to_be_read() -> None:
    assert lag({0: 5, 1: 12}, {0: Held(0, 9), 1: Held(0, 9), 2: Held(4, 9)}) == {0: 4, 1: 0, 2: 5}
