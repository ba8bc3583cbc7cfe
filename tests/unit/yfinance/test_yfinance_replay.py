"""The market replay's Yahoo, asked as the live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sources.market_replay import MarketReplay
from sources.protocol import Asset, Window

NOW = datetime(2026, 3, 24, 15, tzinfo=UTC)  # a Tuesday; New York trades
STOCKS = [Asset(ticker, "stock") for ticker in ("AAPL", "MSFT", "NVDA")]
COINS = [Asset(coin, "crypto") for coin in ("BTC", "ETH", "SOL")]


@pytest.fixture
def replay() -> Iterator[MarketReplay]:
    with MarketReplay(now=NOW) as server:
        yield server


def test_stocks_with_facts(replay: MarketReplay, extract: Callable[..., Any]) -> None:
    outcome = extract("stocks", STOCKS, now=NOW, replay_url=replay.url)
    assert (outcome.notices, outcome.error) == ([], None)
    assert {row["ticker"] for row in outcome.rows} == {"AAPL", "MSFT", "NVDA"}
    for row in outcome.rows:
        assert row["low_price"] <= row["close_price"] <= row["high_price"]
        assert row["market_cap"] > 0
        assert row["sector"]
        assert row["currency"] == "USD"
    for ticker in ("AAPL", "MSFT", "NVDA"):
        live = [row["is_live"] for row in outcome.rows if row["ticker"] == ticker]
        assert live == [False] * (len(live) - 1) + [True]
    asked = [served.path for served in replay.requests]
    assert sum("/chart/" in path for path in asked) == len(STOCKS)
    assert len(asked) == 2 * len(STOCKS) + 2


def test_a_year_of_crypto_as_backfill(replay: MarketReplay, extract: Callable[..., Any]) -> None:
    window = Window(NOW - timedelta(days=365), NOW)
    outcome = extract("crypto", COINS, now=NOW, window=window, replay_url=replay.url)
    assert outcome.error is None
    # the replay, as Yahoo, has days without any price
    missing = {item: int(message.partition(" bars without any price left out")[0]) for item, message in outcome.notices}
    for coin in ("BTC", "ETH", "SOL"):
        days = [row["observed_at"] for row in outcome.rows if row["base_currency"] == coin and not row["is_live"]]
        assert len(days) == len(set(days)) >= 364 - missing.get(f"{coin}-USD", 0) >= 360
        assert all(window.start <= day < window.end for day in days)
    assert all(isinstance(row["price"], Decimal | int) for row in outcome.rows)


def test_the_next_day_continues(extract: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    with MarketReplay(now=NOW) as server:
        first = extract("crypto", COINS, now=NOW, state=state, replay_url=server.url).rows
    later = NOW + timedelta(days=2)
    with MarketReplay(now=later) as server:
        second = extract("crypto", COINS, now=later, state=state, replay_url=server.url).rows
    finished = {(row["symbol"], row["observed_at"]): row["price"] for row in first if not row["is_live"]}
    again = {key: price for row in second if (key := (row["symbol"], row["observed_at"])) in finished
             for price in [row["price"]]}  # fmt: skip
    assert again
    assert again.items() <= finished.items()
    days = sorted({row["observed_at"].date() for row in (*first, *second) if not row["is_live"]})
    assert days == [days[0] + timedelta(days=at) for at in range(len(days))]
    assert days[-1] == (later - timedelta(days=1)).date()


def test_an_unknown_ticker_costs_only_itself(replay: MarketReplay, extract: Callable[..., Any]) -> None:
    outcome = extract("stocks", [Asset("NOSUCH", "stock"), *STOCKS], now=NOW, replay_url=replay.url)
    ((item, message),) = outcome.notices
    assert item == "NOSUCH"
    assert "does not know the ticker" in message
    assert {row["ticker"] for row in outcome.rows} == {"AAPL", "MSFT", "NVDA"}
