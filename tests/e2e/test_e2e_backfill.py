"""`engine backfill`: windows that a kill interrupts and the next call goes on with, none of them twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from sources.market_replay import Fault, MarketReplay
from tests.e2e.engine_project import EngineProject

Make = Callable[..., EngineProject]
REPLAY = "    market: replay\n"
RANGE = ("--from", "2026-01-01", "--to", "2026-02-10")
DAYS = 40


def log_length(project: EngineProject, table: str) -> int:
    folder = project.folder / ".data" / "demo" / "lake" / "_log" / table
    return len(list(folder.glob("*.json"))) if folder.exists() else 0


def kill_after(project: EngineProject, command: tuple[str, ...], table: str, packages: int) -> None:
    """Run a command until the lake has so many packages of a table, then SIGKILL it."""
    process = project.start(*command)
    deadline = time.monotonic() + 60
    while log_length(project, table) < packages and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -9, "it ended before it could be killed"
    assert packages <= log_length(project, table)


def test_candles_in_windows(small_project: Make, market: MarketReplay) -> None:
    project = small_project(models=False)
    project.replace(REPLAY, f"{REPLAY}    market_url: {market.url}\n")
    project.replace("    backfill: 90d\n", "    backfill: 10d\n")
    project.replace("    extract: [binance, coingecko, yfinance.crypto, freecryptoapi]\n", "    extract: [binance]\n")
    market.inject(Fault("slow", path="klines", times=None, seconds=0.2))
    command = ("backfill", "prices-crypto-pipeline", *RANGE)
    kill_after(project, command, "raw_crypto_candles_binance", 1)
    landed = log_length(project, "raw_crypto_candles_binance")
    assert landed < DAYS / 10, "nothing is left to go on with"
    asked = len(market.requests)
    (run,) = project.engine(*command, "--json").document()["runs"]
    windows = [r for r in run["resources"] if r["table"] == "raw_crypto_candles_binance"]
    assert len(windows) == DAYS / 10 - landed, "a window was landed twice, or left out"
    assert {r["status"] for r in windows} == {"landed"}
    starts = {parse_qs(served.query)["startTime"][0] for served in market.requests[asked:] if "klines" in served.path}
    assert min(starts) == str(1_767_225_600_000 + landed * 10 * 86_400_000)
    series = project.rows(
        "select symbol, interval, count(*), count(distinct open_time), min(open_time), max(open_time) "
        "from landing.raw_crypto_candles_binance group by all order by all"
    )
    last = {"1d": "2026-02-09T00:00:00+00:00", "1h": "2026-02-09T23:00:00+00:00"}
    assert series == [
        [symbol, interval, count, count, "2026-01-01T00:00:00+00:00", last[interval]]
        for symbol in ("BTCUSDT", "ETHUSDT")
        for interval, count in (("1d", DAYS), ("1h", DAYS * 24))
    ]
    asked = len(market.requests)
    again = project.engine(*command, "--json").document()["runs"][0]
    assert len(market.requests) == asked
    assert [r["rows"] for r in again["resources"]] == [0] * len(again["resources"])
    notices = [notice for r in again["resources"] for notice in r["notices"]]
    assert "binance.candles: this range is landed already" in notices
    assert "binance.ticker: has no past to ask for" in notices
    assert "this range is landed already" in project.engine(*command).out
    assert run["backfill"] == "2026-01-01T00:00:00+00:00/2026-02-10T00:00:00+00:00"
    (stands,) = [p for p in project.engine("status", "--json").document()["pipelines"] if p["pipeline"] == command[1]]
    assert (stands["status"], stands["backfill"], stands["due_at"]) == ("ok", True, None), "no run was made of it"


def test_an_asset_that_was_missing_or_comes_later_is_asked_for(small_project: Make, market: MarketReplay) -> None:
    project = small_project(models=False)
    project.replace(REPLAY, f"{REPLAY}    market_url: {market.url}\n")
    project.replace("    backfill: 90d\n", "    backfill: 20d\n")
    project.replace("    extract: [binance, coingecko, yfinance.crypto, freecryptoapi]\n", "    extract: [binance]\n")
    (fault,) = market.inject(
        Fault("status", path="klines", query="ETHUSDT.*startTime=1767225600000", status=404, times=None)
    )
    command = ("backfill", "prices-crypto-pipeline", *RANGE)

    def days() -> list[list[object]]:
        return project.rows(
            "select symbol, count(distinct open_time) from landing.raw_crypto_candles_binance "
            "where interval = '1d' group by all order by all"
        )

    failed = project.engine(*command, expect=1)
    assert fault.fired, "the fault did not fire"
    assert "binance.candles: 1 of 2 assets missing in window 2026-01-01 to 2026-01-21: ETHUSDT" in failed.out
    assert "Run the same backfill again" in failed.out
    assert days() == [["BTCUSDT", DAYS], ["ETHUSDT", DAYS / 2]]
    market.clear_faults()
    (run,) = project.engine(*command, "--json").document()["runs"]
    assert len([r for r in run["resources"] if r["rows"] and r["resource"] == "candles"]) == 1, "one window lacked it"
    assert days() == [["BTCUSDT", DAYS], ["ETHUSDT", DAYS]]
    assert "this range is landed already" in project.engine(*command).out
    project.replace("asset_type: crypto}, top: 3}", "asset_type: crypto}, top: 5}")
    project.engine(*command)
    later = days()
    assert len(later) > 2
    assert {count for _, count in later} == {DAYS}
    assert "this range is landed already" in project.engine(*command).out


def test_stock_bars(small_project: Make) -> None:
    project = small_project(models=False)
    command = ("backfill", "prices-stock-pipeline", *RANGE)
    project.engine(*command)
    bars = project.rows(
        "select ticker, count(*), count(distinct observed_at), min(observed_at)::date::text, "
        "max(observed_at)::date::text from landing.raw_stockprices_yfinance group by all order by all"
    )
    assert len(bars) == 3
    assert Counter(row[1] for row in bars) == {26: 3}, "January without two holidays: 20 days; 6 in February"
    assert all(row[1] == row[2] and row[3:] == ["2026-01-02", "2026-02-09"] for row in bars)
    (again,) = project.engine(*command, "--json").document()["runs"]
    assert sum(r["rows"] for r in again["resources"]) == 0
    assert any("this range is landed already" in notice for r in again["resources"] for notice in r["notices"])


def test_files_have_no_past_of_their_own(small_project: Make, tmp_path: Path) -> None:
    """A file is read once, whatever it tells of: a backfill says so and leaves them to `engine run`."""
    project = small_project(models=False)
    (run,) = project.engine("backfill", "historical-backfill", *RANGE, "--json").document()["runs"]
    notices = [notice for r in run["resources"] for notice in r["notices"]]
    assert notices == ["history.raw_history_ohlcv: has no past to ask for"]
    assert run["status"] == "ok"
