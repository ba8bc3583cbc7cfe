"""How the columns of two packages of one table join."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import LakeConflictError
from engine.lake.merge import WIDENINGS, merge_columns
from engine.table import Column

TYPES = ("text", "bigint", "double", "decimal", "bool", "date", "timestamp", "json")
columns = st.lists(
    st.builds(Column, st.sampled_from("abcdef"), st.sampled_from(TYPES), st.booleans(), st.sampled_from(["", "said"])),
    unique_by=lambda column: column.name,
    max_size=6,
).map(tuple)


def joinable(head: tuple[Column, ...], ours: tuple[Column, ...]) -> bool:
    types = {column.name: column.data_type for column in head}
    return all(
        column.name not in types
        or types[column.name] == column.data_type
        or (types[column.name], column.data_type) in WIDENINGS
        for column in ours
    )


@given(columns, columns)
def test_a_merge_keeps_every_column_and_never_narrows(head: tuple[Column, ...], ours: tuple[Column, ...]) -> None:
    if not joinable(head, ours):
        with pytest.raises(LakeConflictError):
            merge_columns("t", head, ours)
        return
    merged = merge_columns("t", head, ours)
    names = [column.name for column in merged]
    assert names[: len(head)] == [column.name for column in head]
    assert set(names) == {column.name for column in (*head, *ours)}
    assert len(names) == len(set(names))
    after = {column.name: column for column in merged}
    for column in (*head, *ours):
        assert after[column.name].nullable or not column.nullable
    for column in ours:
        assert after[column.name].data_type == column.data_type
    for column in head:
        kept = after[column.name].data_type
        assert kept == column.data_type or (column.data_type, kept) in WIDENINGS


@given(columns, columns)
def test_a_merge_is_done_once(head: tuple[Column, ...], ours: tuple[Column, ...]) -> None:
    if joinable(head, ours):
        merged = merge_columns("t", head, ours)
        assert merge_columns("t", merged, ours) == merged
        assert merge_columns("t", (), merged) == merged


@given(columns)
def test_nothing_to_merge_changes_nothing(head: tuple[Column, ...]) -> None:
    assert merge_columns("t", head, ()) == head
    assert merge_columns("t", head, head) == head


def test_a_new_column_of_an_old_table_is_nullable() -> None:
    merged = merge_columns("t", (Column("a", "text"),), (Column("b", "bigint", nullable=False),))
    assert merged[1].nullable


def test_the_conflict_names_the_column_and_both_types() -> None:
    with pytest.raises(LakeConflictError, match=r"column p of raw_x is decimal .* typed it as bigint") as caught:
        merge_columns("raw_x", (Column("p", "decimal"),), (Column("p", "bigint"),))
    assert "Run again" in caught.value.remedy
