"""Each check of the oracle finds what it is for: damage is done by hand, and the right check says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from tests.faults import oracle
from tests.faults.trial import Trial, warehouse

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills"), pytest.mark.timeout(300)]


def damaged(trial: Trial, *statements: str) -> list[str]:
    """Findings after some statements on the warehouse."""
    with warehouse(trial.folder) as opened:
        for statement in statements:
            opened._writer.execute(statement)
        opened.publish()
    return oracle.nothing_lost_or_doubled(trial)


DAMAGE = {
    "a row lost": ("DELETE FROM landing.raw_transaction_personal WHERE transaction_id LIKE '%0000000007'", "missing"),
    "a row doubled": ("INSERT INTO landing.raw_assets SELECT * FROM landing.raw_assets LIMIT 1", "too many"),
    "a row changed": ("UPDATE landing.raw_crypto_candles_binance SET volume = volume + 1", "served in"),
    "a cursor ahead": ("UPDATE landing._cursor SET seq = seq + 1 WHERE table_name = 'raw_assets'", "cursors"),
    "a package forgotten": ("DELETE FROM landing._packages WHERE table_name = 'raw_assets'", "not landed"),
    "a candle lost": (
        "DELETE FROM landing.raw_crypto_candles_binance WHERE open_time::DATE = current_date - 5",
        "candles are missing",
    ),
    "a file's row lost": ("DELETE FROM landing.raw_history_ohlcv WHERE volume % 5 = 1", "rows of files missing"),
    "a file's row doubled": (
        "INSERT INTO landing.raw_history_ohlcv SELECT * FROM landing.raw_history_ohlcv LIMIT 1",
        "rows of files twice",
    ),
}


@pytest.mark.parametrize(("statement", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damage_to_the_warehouse_is_found(project: Trial, statement: str, expected: str) -> None:
    findings = damaged(project, statement)
    assert any(expected in finding for finding in findings), findings


def stray_package(trial: Trial) -> None:
    shutil.copytree(trial.packages()[0].folder, trial.packages()[0].folder.with_name("20260101T000000000000-abc"))


def gap_in_the_log(trial: Trial) -> None:
    entry = trial.lake / "_log" / "raw_assets" / f"{1:020d}.json"
    text = json.loads(entry.read_text())
    entry.with_name(f"{3:020d}.json").write_text(json.dumps({**text, "seq": 3}))


def state_ahead(trial: Trial) -> None:
    package = next(one for one in trial.packages() if one.table == "raw_transaction_personal")
    manifest = {**package.manifest, "state": {**package.manifest["state"], "next": 7}}
    (package.folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "expected"),
    [(stray_package, "not in its log"), (gap_in_the_log, "numbers are"), (state_ahead, "says 7 rows")],
)
def test_damage_to_the_lake_is_found(project: Trial, harm: Callable[[Trial], None], expected: str) -> None:
    assert oracle.nothing_lost_or_doubled(project) == []
    harm(project)
    findings = oracle.nothing_lost_or_doubled(project)
    assert any(expected in finding for finding in findings), findings


def test_a_mart_that_differs_from_its_rebuild_is_found(project: Trial) -> None:
    before = oracle.marts(project)["fct_asset_candles"]
    assert oracle.different("candles", before, [before]) == []
    assert oracle.different("candles", before.slice(1), [before]) != []
    assert oracle.different("candles", before, [before.slice(1)]) != []
