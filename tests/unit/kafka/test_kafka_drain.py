"""One pass over a topic: positions move with what was handed out, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from sources.kafka.drain import BrokersGoneError, Drain, LostPositionError
from sources.kafka.positions import Mark, Positions
from tests.unit.kafka.conftest import FakeConsumer, FakeError, FakeMessage

TRUNCATION = "Partition log truncation detected at offset 9 (leader epoch 3): broker end offset is 4 (offset leader"


def end(offset: int, partition: int = 0) -> FakeMessage:
    return FakeMessage(offset, part=partition, failed=FakeError(-191))


def drained(source: Any, found: list[FakeMessage], positions: Positions, until: dict[int, int], **words: Any) -> Drain:
    return Drain(FakeConsumer(found), source(**words), positions, until)


def offsets(drain: Drain) -> list[list[int]]:
    return [[message.offset() for message in batch] for batch in drain.batches()]


def test_it_ends_with_the_ends_that_were_seen(source: Any) -> None:
    positions = Positions(None, {0: 0, 1: 5})
    found = [FakeMessage(0), FakeMessage(1, epoch=4), end(5, 1), FakeMessage(2, epoch=4)]
    drain = drained(source, found, positions, {0: 3, 1: 5})
    assert offsets(drain) == [[0, 1, 2]]
    assert drain.ended
    assert (positions.next, positions.marks) == ({0: 3, 1: 5}, {0: Mark(3, 4)})


def test_markers_move_the_position_but_not_the_mark(source: Any) -> None:
    positions = Positions(None, {0: 0})
    drain = drained(source, [FakeMessage(0), end(3)], positions, {0: 3})
    assert offsets(drain) == [[0]]
    assert (positions.next, positions.marks) == ({0: 3}, {0: Mark(1, 3)})


def test_a_message_without_an_epoch_takes_the_mark_away(source: Any) -> None:
    positions = Positions(None, {0: 0}, {0: Mark(0, 3)})
    offsets(drained(source, [FakeMessage(0, epoch=-1)], positions, {0: 1}))
    assert (positions.next, positions.marks) == ({0: 1}, {})


@pytest.mark.parametrize("bound", [{"max_messages": 3}, {"max_megabytes": 1}, {"max_seconds": 1e-9}])
def test_bounds_stop_it_before_the_end(source: Any, bound: dict[str, Any]) -> None:
    positions = Positions(None, {0: 0})
    big = [FakeMessage(number, b"x" * 400_000) for number in range(10)]
    drain = drained(source, big, positions, {0: 10}, **bound)
    handed = drain.consumer.consume
    drain.consumer.consume = lambda most, seconds: handed(min(most, 2), seconds)
    read = offsets(drain)[0]
    assert read == list(range({"max_messages": 3, "max_megabytes": 4, "max_seconds": 2}[next(iter(bound))]))
    assert positions.next == {0: len(read)}
    assert not drain.ended


@pytest.mark.parametrize("code", [1, -139, -140])
def test_a_position_that_is_lost_comes_after_what_was_read(source: Any, code: int) -> None:
    positions = Positions(None, {0: 0, 1: 9})
    lost = FakeMessage(None, part=1, failed=FakeError(code, TRUNCATION))
    drain = drained(source, [FakeMessage(0), lost, FakeMessage(1)], positions, {0: 9, 1: 9})
    batches = drain.batches()
    assert [message.offset() for message in next(batches)] == [0, 1]
    with pytest.raises(LostPositionError) as caught:
        next(batches)
    assert (caught.value.partition, caught.value.end) == (1, 4)
    assert positions.next == {0: 2, 1: 9}


def test_brokers_that_say_nothing_are_gone_and_what_was_not_handed_out_is_read_again(source: Any) -> None:
    positions = Positions(None, {0: 0})
    drain = drained(source, [FakeMessage(0), FakeMessage(0, failed=FakeError(-195))], positions, {0: 9})
    with pytest.raises(BrokersGoneError) as caught:
        offsets(drain)
    assert caught.value.error is None
    assert (positions.next, positions.marks) == ({0: 0}, {})


def test_brokers_that_refuse_are_gone_at_once(source: Any) -> None:
    with pytest.raises(BrokersGoneError) as caught:
        offsets(drained(source, [FakeMessage(0, failed=FakeError(29))], Positions(None, {0: 0}), {0: 9}))
    assert caught.value.error is not None
