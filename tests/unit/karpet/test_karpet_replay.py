"""The news of the market replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sources.market_replay import MarketReplay

NOW = datetime(2026, 3, 24, 12, tzinfo=UTC)
COINS = ("BTC", "ETH", "SOL")


@pytest.fixture
def replay() -> Iterator[MarketReplay]:
    with MarketReplay(now=NOW) as server:
        yield server


def test_articles_of_the_replay(replay: MarketReplay, read_news: Callable[..., Any]) -> None:
    news = read_news(*COINS, replay_url=replay.url)
    assert (news.notices, news.error) == ([], None)
    assert {row["ticker"] for row in news.rows} == set(COINS)
    for row in news.rows:
        assert row["url"].startswith("https://coincodex.com/article/")
        assert "simulated" in row["description"]
        assert row["title"]
        assert NOW - timedelta(days=10) < row["published_at"] <= NOW
    keys = [(row["ticker"], row["url"]) for row in news.rows]
    assert len(set(keys)) == len(keys) >= 3 * 5
    lists = [served for served in replay.requests if "get_news" in served.path]
    assert len(lists) == len(COINS)


def test_another_run_of_the_replay_brings_only_new_articles(read_news: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    with MarketReplay(now=NOW) as first:
        before = {row["url"] for row in read_news(*COINS, state=state, replay_url=first.url).rows}
    with MarketReplay(now=NOW + timedelta(hours=30)) as second:
        after = {row["url"] for row in read_news(*COINS, state=state, replay_url=second.url).rows}
    assert after
    assert not before & after
