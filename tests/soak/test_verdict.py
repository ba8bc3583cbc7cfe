"""The verdict finds what it is for: an alert too few or too many, a message twice, never, or not taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.ledger import Ledger
from engine.notify.memory import Memory
from engine.report import ResourceReport
from tests.soak import verdict
from tests.soak.alerts import Fired
from tests.soak.incidents import (
    DESTINATION_BEHIND,
    DESTINATION_DOWN,
    PIPELINE_FAILING,
    PIPELINE_LATE,
    WORKER_DOWN,
    Incident,
)
from tests.soak.messages import Told
from tests.soak.worker import Down

pytestmark = pytest.mark.xdist_group("soak")
NOON = datetime(2026, 5, 18, 12, tzinfo=UTC)
BEGAN = NOON.timestamp()
AWAY = Incident("destination away", "postgres", BEGAN + 60, BEGAN + 120, BEGAN + 150, ((DESTINATION_DOWN, "postgres"),))
DUE = Fired(DESTINATION_DOWN, "postgres", BEGAN + 80, BEGAN + 160)
BROKE, WORKS = (
    Told(BEGAN + 70, broke=True, thing="destination postgres"),
    Told(BEGAN + 150, False, "destination postgres"),
)


def soaked(
    folder: Path, alerts: Sequence[Fired] = (DUE,), told: Sequence[Told] = (BROKE, WORKS), gap: timedelta = timedelta(0)
) -> Any:
    """Five minutes with one outage of PostgreSQL and one of the worker; a run a minute, but for a gap."""
    ledger = Ledger(folder)
    for minute in range(5):
        began = NOON + timedelta(minutes=minute, seconds=5) + (gap if minute > 2 else timedelta(0))
        for pipeline in ("files", "prices", *(["models"] if minute in {0, 3} else [])):
            ledger.start(f"{pipeline} {minute}", pipeline, began)
            ledger.finish(f"{pipeline} {minute}", began + timedelta(seconds=5), "ok", {})
    return SimpleNamespace(
        trial=SimpleNamespace(data=folder),
        incidents=[AWAY, Incident("worker away", "", BEGAN + 200, BEGAN + 230)],
        alerts=list(alerts),
        webhook=SimpleNamespace(told=list(told)),
        worker=SimpleNamespace(downs=[Down(BEGAN - 10, BEGAN), Down(BEGAN + 200, BEGAN + 230)]),
        ended=BEGAN + 300 + gap.total_seconds(),
    )


@pytest.mark.parametrize(
    ("alerts", "finding"),
    [
        ([DUE], ""),
        ([DUE, Fired(WORKER_DOWN, "", BEGAN + 215, BEGAN + 232)], ""),
        ([DUE, Fired(PIPELINE_FAILING, "files", BEGAN + 100, BEGAN + 149)], ""),
        ([DUE, Fired(DESTINATION_BEHIND, "postgres", BEGAN + 100, BEGAN + 249)], ""),
        ([DUE, Fired(PIPELINE_FAILING, "everything", BEGAN + 100, BEGAN + 149)], "without a reason"),
        ([DUE, Fired(DESTINATION_BEHIND, "postgres", BEGAN + 100, BEGAN + 280)], "without a reason"),
        ([], "TickhouseDestinationDown postgres did not fire"),
        ([DUE, Fired(DESTINATION_DOWN, "warehouse", BEGAN + 80, BEGAN + 160)], "without a reason"),
        ([DUE, Fired(DESTINATION_DOWN, "postgres", BEGAN + 10, BEGAN + 20)], "without a reason"),
        ([DUE, Fired(DESTINATION_DOWN, "postgres", BEGAN + 90, BEGAN + 290)], "without a reason"),
        ([DUE, Fired(WORKER_DOWN, "", BEGAN + 100, BEGAN + 120)], "without a reason"),
        ([DUE, Fired(PIPELINE_LATE, "files", BEGAN + 100, BEGAN + 120)], "without a reason"),
        ([DUE, Fired("TickhouseLakeDown", "", BEGAN + 80, BEGAN + 120)], "without a reason"),
    ],
)
def test_alerts(tmp_path: Path, alerts: list[Fired], finding: str) -> None:
    found = list(verdict.alerts(soaked(tmp_path, alerts)))
    assert (len(found) == 1 and finding in found[0]) if finding else found == []


def test_a_run_is_late_by_its_time_not_by_the_run_before(tmp_path: Path) -> None:
    """After the run of 12:02:05 one is due at 12:03, and late from 12:04 on."""
    late = soaked(tmp_path, gap=timedelta(seconds=110))
    assert verdict.gaps(late, "files") == [(BEGAN + 240, BEGAN + 295)]


def test_an_alert_of_a_late_run_has_a_reason_where_none_began(tmp_path: Path) -> None:
    late = Fired(PIPELINE_LATE, "files", BEGAN + 250, BEGAN + 260)
    assert list(verdict.alerts(soaked(tmp_path, [DUE, late], gap=timedelta(minutes=3)))) == []


@pytest.mark.parametrize(
    ("told", "finding"),
    [
        ([BROKE, WORKS], ""),
        ([BROKE, Told(BEGAN + 205, True, "run of files"), Told(BEGAN + 240, False, "run of files"), WORKS], ""),
        ([], "was told 0 times"),
        ([BROKE], "broke 1 times and worked again 0 times"),
        ([BROKE, WORKS, BROKE, WORKS], "was told 2 times"),
        ([WORKS, BROKE], "not told in turn"),
        ([BROKE, WORKS, Told(BEGAN, True, "source binance of prices"), Told(BEGAN, False, "source binance of prices")],
         "source binance of prices was told 1 times; there were 0 reasons"),
    ],
)  # fmt: skip
def test_messages(tmp_path: Path, told: list[Told], finding: str) -> None:
    found = list(verdict.messages(soaked(tmp_path, told=told)))
    assert (len(found) == 1 and finding in found[0]) if finding else found == []


def test_a_source_is_told_as_often_as_runs_failed_it(tmp_path: Path) -> None:
    told = [Told(BEGAN + 260, broke, "source binance of prices") for broke in (True, False)]
    late = soaked(tmp_path, told=[BROKE, WORKS, *told])
    failed = ResourceReport("binance", "ticker", "raw_cryptoprices_binance", status="failed", error="answered 429")
    report = {"resources": [asdict(failed), asdict(ResourceReport("assets", "raw_assets", "raw_assets"))]}
    Ledger(tmp_path).start("prices 5", "prices", NOON + timedelta(minutes=4, seconds=20))
    Ledger(tmp_path).finish("prices 5", NOON + timedelta(minutes=4, seconds=25), "partial", report)
    assert list(verdict.messages(late)) == []


def test_what_is_still_noted_as_broken_is_found(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with Memory(tmp_path, timedelta(days=1)).change({"destination postgres": "is away"}, set[str]().__contains__, NOON):
        pass
    assert "still noted as broken" in " ".join(verdict.messages(soaked(tmp_path)))
