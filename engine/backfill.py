"""How far each backfill of a resource has come, kept in the resource's state.

    {"_backfill": {"<from>/<to>": {"assets": "<identity>", "done": "<up to>", "again": [["<from>", "<to>"], ...]}}}

One entry a range: it belongs to the assets that were carried then. With another list the range is asked from its
start, and the entry is replaced. `again` holds windows that landed without some of their assets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.report import ResourceReport
from sources.protocol import Asset, AssetLists, Resource, SourceContext, Window

WINDOWS = "_backfill"
NAMED = 5
"""So many missing assets are named."""


def windows(
    state: dict[str, Any], resource: Resource, assets: AssetLists, name: str, start: datetime, end: datetime
) -> Sequence[Window]:
    """Return the windows of [start, end) still to ask for: those that lack assets, then on from where it stopped."""
    entry = _entry(state, resource, assets, name)
    at = datetime.fromisoformat(entry["done"]) if entry["done"] else start
    step = resource.backfill or timedelta(days=30)
    found = [Window(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in entry["again"]]
    while at < end:
        found.append(Window(at, min(at + step, end)))
        at = found[-1].end
    return found


def mark_window(state: dict[str, Any], resource: Resource, context: SourceContext, missed: Sequence[str]) -> None:
    """Note in the state that the context's window has been read; `missed` are the assets that failed in it."""
    window, name = context.window, context.backfill
    if window is None or name is None:
        return
    entry = _entry(state, resource, context.assets, name)
    this = [window.start.isoformat(), window.end.isoformat()]
    again = [each for each in entry["again"] if each != this]
    done = entry["done"]
    if not done or datetime.fromisoformat(done) < window.end:
        done = this[1]
    marked = {**entry, "done": done, "again": [*again, this] if missed else again}
    state[WINDOWS] = {**state.get(WINDOWS, {}), name: marked}


def tell_missed(report: ResourceReport, resource: Resource, context: SourceContext, missed: Sequence[str]) -> None:
    """Make a failure of a window that landed without some of its assets."""
    if context.window is None or context.backfill is None or not missed:
        return
    names = list(dict.fromkeys(missed))
    shown = ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")
    total = len(_carried(resource, context.assets)) or len(names)
    since, until = f"{context.window.start:%Y-%m-%d %H:%M}", f"{context.window.end:%Y-%m-%d %H:%M}"
    report.error = (
        f"{report.source}.{report.resource}: {len(names)} of {total} assets missing in window "
        f"{since.removesuffix(' 00:00')} to {until.removesuffix(' 00:00')}: {shown}"
    )
    report.remedy = "Run the same backfill again: it asks for this window again."


def _entry(state: dict[str, Any], resource: Resource, assets: AssetLists, name: str) -> dict[str, Any]:
    identity = _identity(resource, assets)
    entry = state.get(WINDOWS, {}).get(name)
    if isinstance(entry, dict) and entry.get("assets") == identity:
        return entry
    return {"assets": identity, "done": None, "again": []}


def _identity(resource: Resource, assets: AssetLists) -> str:
    """Twelve hex digits of what the resource asks about, whatever its order; "" if it follows no list."""
    carried = sorted(
        [asset.symbol, *map("=".join, sorted(asset.symbols.items()))] for asset in _carried(resource, assets)
    )
    return hashlib.blake2b(repr(carried).encode(), digest_size=6).hexdigest() if resource.assets else ""


def _carried(resource: Resource, assets: AssetLists) -> list[Asset]:
    listed = assets.get(resource.assets, ()) if resource.assets else ()
    return [asset for asset in listed if resource.carries is None or resource.carries(asset)]
