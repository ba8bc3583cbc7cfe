"""What somebody dropped by hand, and would come back empty as if all were right: columns, the table of the packages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.errors import DestinationError, LakeError

if TYPE_CHECKING:
    from engine.load import LakeReader


def loaded_columns(lake: LakeReader, table: str, seq: int) -> Collection[str]:
    """Return the columns (lower case) that a table has got by its packages up to this number; none if nobody can tell.

    A manifest has its table's whole schema. One that cannot be read is told by `engine doctor`.
    """
    with suppress(LakeError):
        for entry in lake.entries(table, after=seq - 1, limit=1) if seq else ():
            return {column.name.lower() for column in lake.manifest(entry).columns}
    return ()


def lost_columns(
    lake: LakeReader, cursors: Mapping[str, int], there: Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    """Return what each loaded table that is `there` (its columns in lower case) lacks of its packages' columns."""
    lost = {
        table: sorted({*loaded_columns(lake, table, seq)} - {*there[table]})
        for table, seq in cursors.items()
        if table in there
    }
    return {table: columns for table, columns in lost.items() if columns}


def forgotten(destination: str, table: str) -> DestinationError:
    """Return the error of a loaded table whose packages somebody took from landing._packages: models miss its rows."""
    return DestinationError(
        destination,
        f"landing._packages has lost the packages of landing.{table}, by which its rows are read",
        f"`engine replay --destination {destination}` fills all of it from the lake again.",
    )
