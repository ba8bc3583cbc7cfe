"""karpet's fetch_news over our own HTTP: the list of a coin's articles, then one page an article.

karpet decides what is asked and what an article needs (a date). It would fetch the pages without any bound and from
any address that the list names, so list and pages go through the guarded session instead, and redirects too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any
from urllib.parse import quote, urljoin

import requests
from karpet import Karpet

from engine.errors import SourceError, TickhouseError
from sources.http.body import BodyError, exact_json, preview
from sources.http.client import GuardedSession
from sources.karpet.article import Article, is_address, read_article

OK = 200
HOPS = 5
"""Redirects followed from a list's address to the article."""


class NewsError(Exception):
    """A coin's news cannot be had. The text is one sentence."""


class NotAskedError(NewsError):
    """A coin was not asked about, because no other could be had."""


class _List:
    """Stands where karpet expects a session: asks the configured endpoint, whatever address karpet has built in."""

    def __init__(self, session: GuardedSession, url: str) -> None:
        self.session, self.url = session, url
        self.failure: NewsError | TickhouseError | None = None

    def get(self, _url: str) -> _List:
        try:
            self.articles = self._articles()
        except (NewsError, TickhouseError) as error:  # karpet would replace it by a sentence of its own
            self.failure = error
            raise
        return self

    def raise_for_status(self) -> None:
        """Nothing to do: `get` has refused every status but 200."""

    def json(self) -> list[dict[str, str]]:
        return self.articles

    def _articles(self) -> list[dict[str, str]]:
        try:
            response = self.session.get(self.url)
        except SourceError as error:
            raise NewsError(error.reason.removeprefix(f"{error.source}: ")) from error
        if response.status_code != OK:
            raise NewsError(f"the endpoint answers {response.status_code} ({preview(response.content)})")
        try:
            answer = exact_json(response.content)
        except BodyError as error:
            raise NewsError(f"the endpoint answers with {error}") from error
        if isinstance(answer, dict):  # {"data": [...]}: the list's name differs between versions of the site
            answer = next((value for value in answer.values() if isinstance(value, list)), None)
        if not isinstance(answer, list) or not all(isinstance(article, dict) for article in answer):
            raise NewsError(f"the endpoint answers with no list of articles ({preview(response.content)})")
        addresses = dict.fromkeys(self._real(article.get("url")) for article in answer)
        if answer and not any(is_address(url) for url in addresses):
            raise NewsError("the endpoint lists articles without a `url`; the site may have changed its format")
        return [{"url": url} for url in addresses if is_address(url)]

    def _real(self, url: object) -> object:
        """Undo the market replay's own address: an article is known by the one that it stands for."""
        replay = self.session.adapter.replay_url
        if replay and isinstance(url, str) and url.startswith(f"{replay}/"):
            return "https://" + url.removeprefix(f"{replay}/")
        return url


class CoinNews(Karpet):  # type: ignore[misc] # karpet carries no types
    """The news of one coin. `undated` and `unread` are the articles that karpet leaves out, by address."""

    def __init__(self, lists: GuardedSession, pages: GuardedSession, endpoint: str, seen: Collection[str] = ()) -> None:
        """`seen` are addresses that are not fetched again."""
        super().__init__()
        self.lists, self.pages, self.endpoint, self.seen = lists, pages, endpoint, seen
        self.undated: list[str] = []
        self.unread: list[str] = []
        self._list: _List | None = None
        self._url = ""

    def articles(self, symbol: str, limit: int) -> list[Article]:
        """Return the newest articles, at most `limit`, without those already seen.

        Raises NewsError, and TickhouseError when the run is told to stop.
        """
        self._url = self.endpoint.replace("{symbol}", quote(symbol, safe="")).replace("{limit}", str(limit))
        try:
            return [news["article"] for news in self.fetch_news(symbol, limit)]
        except TickhouseError:
            raise
        except Exception as error:
            failure = self._list.failure if self._list is not None else None
            if failure is not None:
                raise failure from failure.__cause__  # of what was asked, not of what karpet made of it
            raise NewsError(f"karpet cannot read the list ({type(error).__name__}: {error})") from error

    def get_session(self, use_cloudscraper: bool = False) -> _List:  # noqa: ARG002, FBT001, FBT002 - as karpet declares it
        """Give karpet the session that it downloads the list with."""
        self._list = _List(self.lists, self._url)
        return self._list

    async def _fetch_news_features(self, news: list[dict[str, Any]]) -> None:
        news[:] = [item for item in news if item["url"] not in self.seen]
        await asyncio.gather(*[asyncio.to_thread(self._read, item) for item in news])

    def _read(self, item: dict[str, Any]) -> None:
        try:
            response = self._page(item["url"])
        except (SourceError, requests.RequestException, ValueError):  # the last two: an address that is none
            response = None
        if response is None or response.status_code != OK:
            self.unread.append(item["url"])
            return
        article = read_article(item["url"], response.content, response.headers.get("Content-Type", ""))
        item.update(article=article, date=article.published_at)
        if article.published_at is None:
            self.undated.append(item["url"])

    def _page(self, url: str) -> requests.Response | None:
        """Follow redirects between hosts: each hop passes the guard, which refuses private addresses."""
        for _ in range(HOPS):
            request = self.pages.prepare_request(requests.Request("GET", url))
            response = self.pages.adapter.send(request)  # below the session, which keeps redirects on their host
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["Location"])
            if not is_address(url):
                return None
        return None
