"""The spool: pages come back the same whether they waited in memory or in the file; a broken file leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from sources.files import spool as module
from sources.files.spool import Spool

PAGES = 5
ROWS = 1_000


def batches(pages: int = PAGES) -> Iterator[pa.RecordBatch]:
    for page in range(pages):
        yield pa.record_batch({"number": pa.array(range(page * ROWS, (page + 1) * ROWS), pa.int64())})


def numbers(spool: Spool) -> list[int]:
    return [number for page in spool.pages() for number in page["number"].to_pylist()]


@pytest.mark.parametrize("held_pages", [0, 2, PAGES])
def test_pages_come_back_in_order_wherever_they_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_pages: int
) -> None:
    monkeypatch.setattr(module, "ARROW_BYTES", held_pages * ROWS * 8)
    monkeypatch.setattr(module, "SPILL_BYTES", 2 * ROWS * 8)
    with closing(Spool(tmp_path)) as spool:
        spool.fill(batches())

        assert spool.spilled == (held_pages < PAGES)
        assert spool.rows == PAGES * ROWS
        assert numbers(spool) == list(range(PAGES * ROWS))


@pytest.mark.parametrize("held_pages", [1, PAGES])
def test_a_file_that_breaks_leaves_nothing_and_can_be_read_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_pages: int
) -> None:
    monkeypatch.setattr(module, "ARROW_BYTES", held_pages * ROWS * 8)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(3)
        raise pa.ArrowInvalid("a cell does not fit")

    with closing(Spool(tmp_path)) as spool:
        with pytest.raises(pa.ArrowInvalid):
            spool.fill(broken())
        assert spool.rows == 0
        assert list(spool.pages()) == []

        spool.fill(batches(1))
        assert numbers(spool) == list(range(ROWS))


def test_rows_of_json_come_back(tmp_path: Path) -> None:
    with closing(Spool(tmp_path)) as spool:
        spool.fill([[{"a": 1}], [{"a": 2}, {"a": "three"}]])

        assert list(spool.pages()) == [[{"a": 1}], [{"a": 2}, {"a": "three"}]]
        assert not spool.spilled
