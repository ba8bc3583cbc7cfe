"""How far a backfill has come: windows without some assets and lists that changed are asked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.backfill import mark_window, tell_missed, windows
from engine.report import ResourceReport
from engine.table import Column, Table
from sources.protocol import Asset, Resource, SourceContext, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=35)
NAME = "2026-01-01/2026-02-05"


def never(_ctx: SourceContext) -> Any:
    raise AssertionError


TABLE = Table(name="raw_x", columns=(Column("symbol", "text"),))
CANDLES = Resource("x", TABLE, never, assets="crypto", carries=lambda a: bool(a.symbols["here"]),
                   backfill=timedelta(days=10))  # fmt: skip


def coins(*names: str) -> dict[str, list[Asset]]:
    return {"crypto": [Asset(name, "crypto", symbols={"here": name.removesuffix("!")}) for name in names if name]}


def left(state: dict[str, Any], assets: dict[str, list[Asset]]) -> list[Window]:
    return list(windows(state, CANDLES, assets, NAME, START, END))


def context(window: Window, assets: dict[str, list[Asset]]) -> SourceContext:
    return SourceContext("s", assets, END, Path(), Path(), lambda *_, **__: None, window=window, backfill=NAME)


def read(state: dict[str, Any], assets: dict[str, list[Asset]], missing: dict[int, list[str]]) -> None:
    """Read what is left; in the n-th window the named assets are missing."""
    for number, window in enumerate(left(state, assets)):
        mark_window(state, CANDLES, context(window, assets), missing.get(number, []))


def test_windows_that_lack_an_asset_are_asked_for_again_and_no_others() -> None:
    state: dict[str, Any] = {}
    two = coins("A", "B")
    assert len(left(state, two)) == 4
    third = left(state, two)[2]
    read(state, two, {2: ["B"]})
    assert left(state, two) == [third]
    read(state, two, {0: ["B"]})
    assert left(state, two) == [third]
    read(state, two, {})
    assert left(state, two) == []


def test_a_range_is_asked_for_again_when_the_list_has_changed_and_one_entry_is_kept() -> None:
    state: dict[str, Any] = {}
    read(state, coins("A", "B"), {})
    assert left(state, coins("B", "A")) == [], "the order is no matter"
    nowhere = Asset("N", "crypto", symbols={"here": ""})
    assert left(state, {"crypto": [*coins("A", "B")["crypto"], nowhere]}) == [], "it is not carried here"
    three = coins("A", "B", "C")
    assert len(left(state, three)) == 4
    read(state, three, {})
    assert left(state, three) == []
    assert list(state["_backfill"]) == [NAME]
    assert len(left(state, coins("A", "B"))) == 4


def test_an_interrupted_backfill_goes_on_behind_its_last_window() -> None:
    state: dict[str, Any] = {}
    two = coins("A", "B")
    whole = left(state, two)
    for window in whole[:2]:
        mark_window(state, CANDLES, context(window, two), [])
    assert left(state, two) == whole[2:]


def test_a_window_without_some_assets_is_a_failure_of_the_report() -> None:
    report = ResourceReport("s", "x", "raw_x", "landed", rows=7)
    asked = context(Window(START, START + timedelta(days=10)), coins("A", "B", "C"))
    tell_missed(report, CANDLES, asked, [])
    assert report.error is None
    tell_missed(report, CANDLES, asked, ["B", "B"])
    assert report.error == "s.x: 1 of 3 assets missing in window 2026-01-01 to 2026-01-11: B"
    assert "same backfill again" in (report.remedy or "")
    assert (report.status, report.rows) == ("landed", 7)
