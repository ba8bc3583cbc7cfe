"""How the columns of a package join those of its table.

Packages of one table may come from several sources at once, so a package is typed against the columns of an older
head than the one it commits on. Joining is safe when no column changes its type other than by widening.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.errors import LakeConflictError
from engine.table import Column

WIDENINGS = {("bigint", "decimal"), ("bigint", "double")}
"""(from, to): every value of the first is a value of the second that readers compare equal (to 2**53 for double)."""


def merge_columns(table: str, head: Sequence[Column], ours: Sequence[Column]) -> tuple[Column, ...]:
    """Return the table's columns after a package: the head's in their order, then what the package adds.

    A column of both takes the package's type if it is the head's or widens it, and is nullable if either says so.
    Raises LakeConflictError where the package was typed more narrowly than, or differently from, the head.
    """
    theirs = {column.name: column for column in head}
    merged = dict(theirs)
    for column in ours:
        other = theirs.get(column.name)
        if other is None:
            # rows landed before this package have no value here
            merged[column.name] = replace(column, nullable=True) if head else column
            continue
        if column.data_type != other.data_type and (other.data_type, column.data_type) not in WIDENINGS:
            raise LakeConflictError(
                f"lake: column {column.name} of {table} is {other.data_type} since another run landed it,"
                f" and this run typed it as {column.data_type}",
                "Run again: the rows are extracted anew and typed with the table's present columns.",
            )
        merged[column.name] = replace(
            column,
            nullable=column.nullable or other.nullable,
            description=column.description or other.description,
        )
    return tuple(merged.values())
