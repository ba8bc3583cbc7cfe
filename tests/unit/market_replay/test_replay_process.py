from __future__ import annotations

import itertools
import math
import statistics
from datetime import UTC, date, datetime, timedelta
from functools import reduce

import pytest

from sources.market_replay.nyse import holidays, is_trading_day
from sources.market_replay.process import DAY, FIRST_DAY, Candle, PriceProcess, day_number
from sources.market_replay.universe import load_universe

UNIVERSE = load_universe()
START = day_number(date(2026, 3, 1))
ASSETS = [UNIVERSE.by_base["BTC"], UNIVERSE.by_base["USDC"], UNIVERSE.by_yahoo["AAPL"]]


def parts(process: PriceProcess, asset, number: int, seconds: int) -> list[Candle]:
    session = process.session(asset, number)
    assert session is not None
    opens, minutes = session
    edges = range(opens, opens + minutes * 60, seconds)
    pieces = [process.window(asset, at, min(at + seconds, opens + minutes * 60)) for at in edges]
    return [piece for piece in pieces if piece is not None]


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.symbol)
@pytest.mark.parametrize("seconds", [3600, 900, 60])
def test_a_day_is_exactly_its_hours_and_its_minutes(asset, seconds):
    process = PriceProcess(7)
    for number in range(START, START + 6):
        whole = process.day(asset, number)
        if whole is None:
            continue
        pieces = parts(process, asset, number, seconds)
        assert reduce(Candle.then, pieces) == whole
        assert all(piece.low <= min(piece.open, piece.close) for piece in pieces)
        assert all(piece.high >= max(piece.open, piece.close) for piece in pieces)
        assert all(one.close == two.open for one, two in itertools.pairwise(pieces))


def test_days_follow_each_other_without_a_gap_and_never_stand_still():
    process, bitcoin = PriceProcess(7), ASSETS[0]
    # over a new year and both sides of the anchor
    days = [process.day(bitcoin, day_number(date(2025, 12, 20)) + i) for i in range(30)]
    for one, two in itertools.pairwise(days):
        assert one is not None
        assert two is not None
        assert math.isclose(one.close, two.open, rel_tol=1e-12)
    minutes = parts(process, bitcoin, START, 60)
    assert len({minute.close for minute in minutes}) > 0.99 * len(minutes)


def test_a_price_depends_on_seed_symbol_and_instant_only():
    instants = [START * DAY + i * 9_973.25 for i in range(50)]
    forwards, backwards, other = PriceProcess(7), PriceProcess(7), PriceProcess(8)
    for asset in ASSETS:
        expected = [forwards.price(asset, at) for at in instants]
        assert [backwards.price(asset, at) for at in reversed(instants)] == expected[::-1]
        assert [other.price(asset, at) for at in instants] != expected


def test_the_price_lies_in_the_candle_of_its_minute():
    process = PriceProcess(7)
    for asset in ASSETS:
        for i in range(200):
            at = START * DAY + 15 * 3600 + i * 37.0
            minute = process.window(asset, at // 60 * 60, at // 60 * 60 + 60)
            if minute is not None:
                assert minute.low <= process.price(asset, at) <= minute.high


def test_steps_have_the_volatility_of_the_universe_and_stablecoins_stay_at_one():
    process, bitcoin, dollar = PriceProcess(7), ASSETS[0], ASSETS[1]
    closes = [process.day(bitcoin, START - i).close for i in range(1500)]
    steps = [math.log(a / b) for a, b in itertools.pairwise(closes)]
    assert statistics.stdev(steps) == pytest.approx(bitcoin.volatility, rel=0.08)
    assert all(abs(process.day(dollar, START - i).close - 1) < 0.004 for i in range(1500))


def test_an_unfinished_minute_is_part_of_the_finished_one():
    process, bitcoin = PriceProcess(7), ASSETS[0]
    at = START * DAY + 3600
    whole, part = process.window(bitcoin, at, at + 60), process.window(bitcoin, at, at + 20)
    assert (part.open, part.close) == (whole.open, process.price(bitcoin, at + 20))
    assert whole.low <= part.low <= part.high <= whole.high
    assert part.volume < whole.volume


def test_nothing_trades_before_history():
    assert PriceProcess(7).window(ASSETS[0], FIRST_DAY - DAY, FIRST_DAY) is None


def test_shares_rest_at_weekends_and_on_the_exchange_s_holidays():
    expected = ["0101", "0119", "0216", "0403", "0525", "0619", "0703", "0907", "1126", "1225"]
    assert sorted(f"{day:%m%d}" for day in holidays(2026)) == expected
    year = [date(2026, 1, 1) + timedelta(days=i) for i in range(365)]
    assert sum(map(is_trading_day, year)) == 251
    process, apple = PriceProcess(7), ASSETS[2]
    saturday = datetime(2026, 5, 16, 18, tzinfo=UTC).timestamp()
    assert process.window(apple, saturday, saturday + 3600) is None
    friday = process.day(apple, day_number(date(2026, 5, 15)))
    assert process.price(apple, saturday) == friday.close


def test_every_asset_of_the_seed_file_is_listed_with_its_symbols():
    import csv

    from sources.market_replay.universe import SEED_FILE

    for row in csv.DictReader(SEED_FILE.open(encoding="utf-8")):
        for table, column in (
            (UNIVERSE.by_binance, "binance"),
            (UNIVERSE.by_coingecko, "coingecko"),
            (UNIVERSE.by_yahoo, "yfinance"),
            (UNIVERSE.by_freecryptoapi, "freecryptoapi"),
        ):
            if row[column]:
                assert table[row[column]].symbol == row["asset_symbol"]
    assert len(UNIVERSE) >= sum(1 for _ in SEED_FILE.open(encoding="utf-8")) - 1 + 30


def test_an_asset_that_only_the_seed_file_knows_is_listed(tmp_path):
    seed = tmp_path / "assets.csv"
    header = "asset_symbol,asset_type,asset_name,asset_category,binance,coingecko,yfinance,freecryptoapi"
    seed.write_text(f"{header}\nNEWCOIN,crypto,New Coin,Meme,NEWCOINUSDT,new-coin,NEWCOIN-USD,NEWCOIN\n")
    listing = load_universe(seed).by_binance["NEWCOINUSDT"]
    assert listing.name == "New Coin"
    assert listing.start_price > 0
