"""Load ids, and names that may become part of a path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import LakeError
from engine.lake.names import new_load_id, safe_package_path, safe_part, source_part
from engine.lake.probing import last_consecutive


def test_load_ids_sort_by_time_and_differ_at_one_instant() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    later = [new_load_id(now + timedelta(microseconds=step)) for step in range(5)]
    assert sorted(later) == later
    assert len({new_load_id(now) for _ in range(1000)}) == 1000
    assert new_load_id(now).startswith("20260501T000000000000-")
    safe_part(new_load_id(now), "load id")


@pytest.mark.parametrize("name", ["raw_prices", "giá-vàng", "v1.2", "金", "a b"])
def test_good_names(name: str) -> None:
    assert safe_part(name, "table") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", " a", "a:b", "e\u0301", "\u202ea", "x" * 121, "a*"],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(LakeError, match="cannot name a table"):
        safe_part(name, "table")


@pytest.mark.parametrize("name", ["_log", "_staging"])
def test_a_source_is_not_a_folder_of_the_lake(name: str) -> None:
    with pytest.raises(LakeError, match="cannot name a source"):
        source_part(name)


@pytest.mark.parametrize("path", ["a/b/c", "a/b/c/d/e", "/a/b/c", "../b/c/d", "a/../c/d", "a/b/c/..", "_log/b/c/d"])
def test_a_package_path_stays_in_the_lake(path: str) -> None:
    with pytest.raises(LakeError):
        safe_package_path(path)


@given(st.integers(0, 5000), st.data())
def test_probing_finds_the_last_number_from_anywhere_in_few_looks(last: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, last))
    looks = 0

    def exists(number: int) -> bool:
        nonlocal looks
        looks += 1
        return number <= last

    assert last_consecutive(exists, start) == last
    assert looks <= 2 * (last - start + 2).bit_length()
