"""How far a changed model may be built, so that neither an environment nor a promotion misses or repeats a delivery.

A model takes rows by arrival, out of tables that other models fill. Built further than those stand, it would note an
interval as done whose rows come later, and never read them. So it ends where the first row is that has arrived and
has not reached the models it reads. A model that nothing arrived for since its last build is not built at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

NEVER = 0
"""As an end: before everything, so that nothing is built."""


@dataclass(frozen=True, slots=True)
class Node:
    """One model of a plan. Instants are milliseconds since 1970.

    `reads` names landing tables, `parents` models; `built` is the end of what is built, None when nothing is. `moves`
    says that it takes rows by arrival (a view does not); `shared` that its table is production's own.
    """

    name: str
    parents: Sequence[str]
    reads: Sequence[str] = ()
    built: int | None = None
    moves: bool = True
    shared: bool = False


def ends(nodes: Sequence[Node], arrivals: Mapping[str, Sequence[int]], until: int) -> dict[str, int]:
    """Return until when each model is to be built by a plan; NEVER leaves it as it is.

    `arrivals` are the instants at which packages of each landing table arrived, in order.
    """
    by_name = {node.name: node for node in nodes}
    order = TopologicalSorter({node.name: [p for p in node.parents if p in by_name] for node in nodes})
    landed: dict[str, frozenset[str]] = {}
    reach: dict[str, int] = {}
    found: dict[str, int] = {}
    for name in order.static_order():
        node = by_name[name]
        above = [parent for parent in node.parents if parent in by_name]
        landed[name] = frozenset(node.reads).union(*(landed[parent] for parent in above))
        given = min([until, *(reach[parent] for parent in above)])
        if not node.moves:
            reach[name], found[name] = given, until
        elif node.shared:
            waiting = _first(landed[name], arrivals, node.built or NEVER, until)
            reach[name], found[name] = until if waiting is None else waiting, NEVER
        else:
            reach[name] = given
            new = node.built is None or _first(landed[name], arrivals, node.built, given) is not None
            found[name] = given if new else NEVER
    return found


def _first(tables: frozenset[str], arrivals: Mapping[str, Sequence[int]], start: int, end: int) -> int | None:
    """The first arrival for these tables in [start, end)."""
    firsts = []
    for table in tables:
        instants = arrivals.get(table, ())
        at = bisect_left(instants, start)
        if at < len(instants) and instants[at] < end:
            firsts.append(instants[at])
    return min(firsts, default=None)
