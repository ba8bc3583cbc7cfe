"""News as rows: texts, instants, what is left out, what is remembered, and what a dead site looks like."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from engine.errors import TickhouseError
from sources.http.client import session
from sources.http.policy import Policy
from sources.karpet.news import CoinNews

WHEN = {"article__published_time": "2025-03-23T21:30:00-05:00"}


def test_an_article_becomes_a_row(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("BTC", "https://wire.example/a")
    site.page(
        "https://wire.example/a",
        og__title="Bitcoin &lt;b&gt;up&lt;/b&gt; &amp; away",
        og__description="Körper",
        og__image="https://img.example/1.png",
        og__site_name="The Wire",
        **WHEN,
    )
    news = read_news("BTC")
    assert news.rows == [
        {
            "ticker": "BTC",
            "asset_type": "crypto",
            "url": "https://wire.example/a",
            "date": date(2025, 3, 24),
            "title": "Bitcoin <b>up</b> & away",
            "description": "Körper",
            "image": "https://img.example/1.png",
            "publisher": "The Wire",
            "published_at": datetime(2025, 3, 24, 2, 30, tzinfo=UTC),
        }
    ]
    assert news.notices == []


def test_texts_are_bounded_and_a_picture_has_a_web_address(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("BTC", "https://wire.example/a")
    site.page("https://wire.example/a", og__title="t" * 5000, og__description="d" * 50000,
              og__image="javascript:alert(1)", **WHEN)  # fmt: skip
    (row,) = read_news("BTC").rows
    assert (len(row["title"]), len(row["description"]), row["image"], row["publisher"]) == (
        1000, 10000, None, "wire.example",
    )  # fmt: skip


def test_one_article_is_a_row_for_each_of_its_coins(site: Any, read_news: Callable[..., Any]) -> None:
    site.page("https://wire.example/a", **WHEN)
    for coin in ("BTC", "ETH"):
        site.lists(coin, "https://wire.example/a")
    assert [(row["ticker"], row["url"]) for row in read_news("BTC", "ETH").rows] == [
        ("BTC", "https://wire.example/a"),
        ("ETH", "https://wire.example/a"),
    ]


def test_what_was_delivered_is_not_delivered_or_fetched_again(site: Any, read_news: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    site.lists("BTC", "https://wire.example/a")
    site.page("https://wire.example/a", **WHEN)
    assert len(read_news("BTC", state=state).rows) == 1
    site.lists("BTC", "https://wire.example/b", "https://wire.example/a")
    site.page("https://wire.example/b", **WHEN)
    assert [row["url"] for row in read_news("BTC", state=state).rows] == ["https://wire.example/b"]
    assert site.asked.count("/wire.example/a") == 1


def test_the_memory_is_bounded(site: Any, read_news: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    for batch in range(8):
        urls = [f"https://wire.example/{batch}-{at}" for at in range(2)]
        site.lists("BTC", *urls, limit=2)
        for url in urls:
            site.page(url, **WHEN)
        assert len(read_news("BTC", state=state, limit=2).rows) == 2
    assert "'seen'" in str(state)
    assert str(state).count("', '") == 9, state


@pytest.mark.parametrize("stamp", ["23 March 2025", "2025-03-23T21:30:00", ""])
def test_articles_without_an_instant_are_counted_once(stamp: str, site: Any, read_news: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    site.lists("BTC", "https://wire.example/a", "https://wire.example/b")
    site.page("https://wire.example/a", article__published_time=stamp)
    site.page("https://wire.example/b", **WHEN)
    news = read_news("BTC", state=state)
    assert [row["url"] for row in news.rows] == ["https://wire.example/b"]
    assert news.notices == [("BTC", "1 articles without a date left out")]
    assert read_news("BTC", state=state).notices == []


def test_fractions_of_a_second_are_a_date_too(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("BTC", "https://wire.example/a")
    site.page("https://wire.example/a", article__published_time="2025-03-23T21:30:00.125Z")
    assert read_news("BTC").rows[0]["published_at"] == datetime(2025, 3, 23, 21, 30, 0, 125000, tzinfo=UTC)


def test_a_page_that_cannot_be_read_is_asked_again_next_time(site: Any, read_news: Callable[..., Any]) -> None:
    state: dict[str, Any] = {}
    site.lists("BTC", "https://wire.example/a", "https://wire.example/b")
    site.page("https://wire.example/a", status=403)
    site.page("https://wire.example/b", **WHEN)
    news = read_news("BTC", state=state)
    assert news.notices == [("BTC", "1 articles could not be read; the next run tries again")]
    site.page("https://wire.example/a", **WHEN)
    assert [row["url"] for row in read_news("BTC", state=state).rows] == ["https://wire.example/a"]


def test_a_moved_article_is_followed(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("BTC", "https://wire.example/a")
    site.page("https://wire.example/a", status=301, headers={"Location": "https://www.wire.example/a2"})
    site.page("https://www.wire.example/a2", og__title="moved", **WHEN)
    (row,) = read_news("BTC").rows
    assert (row["url"], row["title"]) == ("https://wire.example/a", "moved")


def test_one_coin_failing_costs_only_itself(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("ETH", "https://wire.example/a")
    site.page("https://wire.example/a", **WHEN)
    news = read_news("BTC", "ETH")
    assert [row["ticker"] for row in news.rows] == ["ETH"]
    assert news.notices == [("BTC", "the endpoint answers 404 (gone)")]
    assert news.error is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html>moved</html>", "an HTML page where JSON was expected"),
        (b'[{"url": "https://wire', "JSON that is broken off"),
        (b'{"error": "no"}', "no list of articles"),
        (b'[{"link": "https://wire.example/a"}]', "articles without a `url`"),
        (b'["https://wire.example/a"]', "no list of articles"),
        (b"", "an empty body"),
    ],
)
def test_a_list_that_is_none_is_one_clear_sentence(
    body: bytes, sentence: str, site: Any, read_news: Callable[..., Any]
) -> None:
    site.otherwise = (200, body)
    news = read_news("BTC")
    assert news.rows == []
    assert sentence in news.error.reason
    assert "set `endpoint:`" in news.error.remedy


def test_a_dead_site_is_not_asked_for_every_coin(site: Any, read_news: Callable[..., Any]) -> None:
    news = read_news(*[f"C{at}" for at in range(40)], client={"parallel": 1})
    assert "no coin's news could be read: " in news.error.reason
    assert len(news.notices) == 40
    assert len(site.asked) < 15


def test_an_endpoint_of_ones_own(site: Any, read_news: Callable[..., Any]) -> None:
    site.answers["/news.example/v1?coin=BTC%2FX&n=3"] = (200, b'{"data": [{"url": "https://wire.example/a"}]}', {})
    site.page("https://wire.example/a", **WHEN)
    news = read_news("BTC/X", limit=3, endpoint="https://news.example/v1?coin={symbol}&n={limit}")
    assert [row["url"] for row in news.rows] == ["https://wire.example/a"]


def test_an_endpoint_in_the_private_network_is_refused(site: Any, read_news: Callable[..., Any]) -> None:
    news = read_news("BTC", replay_url=None, endpoint=f"{site.url}/list/{{symbol}}")
    assert "is not an address of the internet" in news.error.reason
    assert site.asked == []


@pytest.mark.parametrize("trap", ["{inside}", "file:///etc/passwd", "{site}/moved"])
def test_a_list_cannot_send_us_into_the_private_network(trap: str, site: Any, context: Any) -> None:
    site.answers["/moved"] = (302, b"", {"Location": f"{site.url}/inside"})
    site.answers["/list"] = (200, json.dumps([{"url": trap.format(inside=f"{site.url}/inside", site=site.url)},
                                              {"url": "https://wire.example:99999/"}]).encode(), {})  # fmt: skip
    with session(context, policy=Policy(allow_private=True)) as unguarded, session(context) as pages:
        news = CoinNews(unguarded, pages, f"{site.url}/list?{{symbol}}")
        site.answers["/list?BTC"] = site.answers["/list"]
        assert news.articles("BTC", 10) == []
    assert "/inside" not in site.asked
    assert site.asked == ["/list?BTC"]


def test_it_runs_beside_an_event_loop(site: Any, read_news: Callable[..., Any]) -> None:
    site.lists("BTC", "https://wire.example/a")
    site.page("https://wire.example/a", **WHEN)

    async def within() -> Any:
        return read_news("BTC")

    assert len(asyncio.run(within()).rows) == 1


def test_a_run_that_is_told_to_stop_stops_while_it_waits(site: Any, read_news: Callable[..., Any]) -> None:
    def stop(_seconds: float, _why: str) -> None:
        raise TickhouseError("the run was stopped")

    site.otherwise = (503, b"")
    news = read_news("BTC", "ETH", wait=stop)
    assert news.error.reason == "the run was stopped"
    assert news.notices == []


def test_without_a_network_it_says_so_and_not_that_the_site_is_dead(
    read_news: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    coins = [f"C{at}" for at in range(20)]
    news = read_news(*coins, replay_url=None, wait=lambda _seconds, _why: None)
    assert "has a name that cannot be resolved: no network, or a misspelt host" in news.error.reason
    assert "coincodex.com" in news.error.reason
    assert news.error.remedy == "Run again later; what was landed before stays."
    assert not any("dead" in message for _, message in news.notices)


def test_a_site_that_is_gone_names_what_it_answered(site: Any, read_news: Callable[..., Any]) -> None:
    news = read_news(*[f"C{at}" for at in range(40)], client={"parallel": 1})
    assert news.error.reason == "karpet: no coin's news could be read: the endpoint answers 404 (gone)"
    assert "set `endpoint:`" in news.error.remedy
