"""Against the lake: was a destination loaded from this one, which packages does it lack, and should it have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.compose import pipelines_by_table
from engine.errors import LakeError, TickhouseError
from engine.ledger import Ledger
from engine.load import another_lake, tables_against
from engine.table import QUARANTINE
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.load import LakeReader

CURSORS = (
    "SELECT c.table_name, c.seq, p._load_id FROM landing._cursor c LEFT JOIN landing._packages p"
    " ON p.table_name = c.table_name AND p.seq = c.seq WHERE c.seq > 0"
)
NEWEST = (
    "SELECT p.table_name, p.seq, p._load_id FROM landing._packages p JOIN (SELECT table_name, MAX(seq) AS seq"
    " FROM landing._packages GROUP BY table_name) n ON p.table_name = n.table_name AND p.seq = n.seq"
)
"""Where a cursor is what `_packages` says, and cannot be set back."""
HOLES = (
    "SELECT c.table_name, MAX(c.seq) - COUNT(*), MAX(c.seq) FROM landing._cursor c JOIN landing._packages p"
    " ON p.table_name = c.table_name AND p.seq <= c.seq GROUP BY c.table_name HAVING COUNT(*) < MAX(c.seq)"
)
HOLES_ALONE = (
    "SELECT table_name, MAX(seq) - COUNT(*), MAX(seq) FROM landing._packages GROUP BY table_name"
    " HAVING COUNT(*) < MAX(seq)"
)
"""How many rows each table lacks of those up to its cursor: packages are numbered from 1, and none is left out."""
UNFILLED = (
    "SELECT p.table_name, SUM(CASE WHEN p.seq <= c.seq THEN p.rows ELSE 0 END) FROM landing._packages p"
    " JOIN landing._cursor c ON p.table_name = c.table_name GROUP BY p.table_name HAVING MAX(p.seq) > MAX(c.seq)"
)
"""The rows up to the cursor of each table that was set back and is not filled again up to where it had been."""


class Compared(NamedTuple):
    """Whether a destination is where it should be, what was found, and what to do."""

    ok: bool
    detail: str
    remedy: str = ""


def compare(project: Project, name: str, opened: Any, lake: LakeReader) -> Compared | None:
    """Compare a destination's cursors with the lake's heads; None: the lake has nothing that is loaded there.

    It may lack what the next run loads. What was landed before a run ended that should have loaded it is missing.
    Raises LakeError or DestinationError.
    """
    cursors, newest = standing(opened)
    error = another_lake(name, cursors, newest, lake)
    if error is not None:
        return Compared(ok=False, detail=error.reason, remedy=error.remedy)
    pipelines = pipelines_by_table(project, name)
    apart = [error for table, error in tables_against(name, cursors, newest, lake) if error and table in pipelines]
    if apart:  # as after a restore of an older lake: the next run would refuse these
        detail = "; ".join(error.reason.removeprefix(f"{name}: ") for error in apart)
        return Compared(ok=False, detail=detail, remedy=apart[0].remedy)
    heads = {table: head.seq for table in pipelines if (head := lake.head(table))}
    behind = {table: seq - cursors.get(table, 0) for table, seq in heads.items() if seq > cursors.get(table, 0)}
    if not behind:
        return Compared(ok=True, detail=f"every package of {counted(len(heads), 'table')} is loaded") if heads else None
    ended = {pipeline: _ended(project, pipeline) for table in behind for pipeline in pipelines[table]}
    late: dict[str, None] = {}
    for table in behind:
        for first in lake.entries(table, after=cursors.get(table, 0), limit=1):
            late |= dict.fromkeys(p for p in pipelines[table] if (at := ended[p]) and at > first.committed_at)
    told = ", ".join(
        f"landing.{table} is {counted(count, 'package')} behind the lake" for table, count in behind.items()
    )
    if not late:
        return Compared(ok=True, detail=f"{told}: the next run of {', '.join(ended)} loads that")
    if not cursors:
        return Compared(
            ok=False,
            detail=f"nothing is loaded here, though the lake has packages of {counted(len(heads), 'table')} and "
            f"{', '.join(late)} ran since: it is new, or what it had is lost",
            remedy=f"`engine replay --destination {name}` fills it from the lake, and asks no API.",
        )
    return Compared(
        ok=False,
        detail=f"{told}, though {', '.join(late)} ran since",
        remedy="Look at `engine status` for what failed there, mend it, then "
        + ", ".join(f"`engine run {pipeline}`" for pipeline in late)
        + ".",
    )


def lost_books(
    name: str, opened: Any, there: Collection[str], lake: LakeReader | None, declared: Collection[str]
) -> Compared | None:
    """Return what somebody dropped, or emptied, of a destination's bookkeeping; None: nothing, as far as can be told.

    `there` are the tables of schema landing. One that was opened since has its bookkeeping again, empty.
    """
    missing = [f"landing.{book}" for book in ("_cursor", "_packages", QUARANTINE) if book not in there] if there else []
    replay = f"`engine replay --destination {name}` fills all of it from the lake again."
    if missing:
        return Compared(ok=False, detail=f"gone: {', '.join(missing)}", remedy=replay)
    cursors, newest = standing(opened)
    forgotten = sorted(set(cursors) - set(newest))
    lost = f"the packages of {', '.join(forgotten)}" if forgotten else _holes(opened)
    if lost:
        return Compared(ok=False, detail=f"landing._packages has lost {lost}", remedy=replay)
    loaded = {str(table) for (table,) in ask(opened, "SELECT DISTINCT table_name FROM landing._packages")}
    uncounted = loaded.intersection(there) - set(cursors)
    if unknown := sorted(table for table, (_, rows) in opened.row_counts(uncounted).items() if rows):
        detail = f"landing._cursor has lost {', '.join(unknown)}, which have rows"
        return Compared(ok=False, detail=detail, remedy=replay)
    if lake is None or ask(opened, f"SELECT 1 FROM landing.{QUARANTINE} LIMIT 1"):
        return None
    for table, seq in cursors.items():
        with suppress(LakeError):  # told of the lake
            if table in declared and any(entry.quarantined for entry in lake.entries(table, limit=seq)):
                detail = f"landing.{QUARANTINE} is empty, though rows of {table} were set aside"
                return Compared(ok=False, detail=detail, remedy=replay)
    return None


def _holes(opened: Any) -> str:
    """Say how many packages below its cursor each table has lost from `_packages`, by which models read them."""
    holes = sorted(map(tuple, ask(opened, HOLES if hasattr(opened, "set_back") else HOLES_ALONE)))
    return ", ".join(f"{int(lost):,} of the {counted(int(seq), 'package')} of {table}" for table, lost, seq in holes)


def unfilled(opened: Any) -> dict[str, int]:
    """Return how many rows each table should have by now that is filled again after it was dropped."""
    if not hasattr(opened, "set_back"):
        return {}
    return {str(table): int(rows) for table, rows in ask(opened, UNFILLED)}


def standing(opened: Any) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Return a destination's cursors, and the load ids of the packages where they stand."""
    if not hasattr(opened, "examine"):  # an embedded one, which is open
        return opened.cursors(), opened.newest()
    rows = ask(opened, CURSORS if hasattr(opened, "set_back") else NEWEST)
    return (
        {str(table): int(seq) for table, seq, _ in rows},
        {str(table): str(load_id) for table, _, load_id in rows if load_id is not None},
    )


def ask(opened: Any, statement: str) -> Sequence[Sequence[Any]]:
    """Ask a destination's bookkeeping; an embedded one is open."""
    if hasattr(opened, "ask"):
        return list(opened.ask(statement))
    if hasattr(opened, "books"):
        return list(opened.books(statement))
    with opened.reader() as connection:
        return list(connection.execute(statement).fetchall())


def _ended(project: Project, pipeline: str) -> datetime | None:
    """Return when a pipeline's newest run that was not stopped ended; None: not here, as far as is known."""
    try:
        runs = Ledger(project.data_dir).last(pipeline)
    except TickhouseError:
        return None
    ended = [run.ended_at for run in runs if run.ended_at and run.status != "stopped"]
    return datetime.fromisoformat(max(ended)) if ended else None
