"""Coin news as karpet asks for it: a list of articles per coin, and one page per article.

karpet 0.5 reads only `url` of a list's items and four meta tags of a page (og:title, og:description, og:image,
article:published_time); the other keys are ours. The articles are made up, and say so in title and text. A coin has an
article every 11 hours on average, so that new ones appear as time passes; a list holds the newest five to ten.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sources.market_replay.exchange import Answer, Request
from sources.market_replay.market import Market
from sources.market_replay.process import DAY, FIRST_DAY, HOUR
from sources.market_replay.universe import Listing

SLOT = 11 * HOUR
LIST = re.compile(r"/api/coincodexicos/get_news/([^/]+)/(\d+)/\d+/?")
ARTICLE = re.compile(r"/article/([A-Za-z0-9]+)-(\d+)/[^/]*/?")
TITLES = (
    "{name} {moved} {change} in a day as simulated traders {acted}",
    "Simulated desk note: what {name} holders watched this week",
    "{name} network upgrade enters its simulated test phase",
    "Simulated fund adds {symbol} to its basket at {price} dollars",
    "Exchange replay lists new {symbol} pairs, volume {moved}",
    "{name} developers publish a simulated roadmap",
    "Analysts of the replay disagree on {name} near {price} dollars",
    "Simulated regulator opens a consultation that names {name}",
)


@dataclass(frozen=True, slots=True)
class Article:
    """One simulated article; `number` counts a coin's slots since history began."""

    asset: Listing
    number: int
    published: float
    title: str
    text: str

    @property
    def path(self) -> str:
        """Where its page is, on the same host."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        return f"/article/{self.asset.symbol}-{self.number}/{slug}/"

    @property
    def date(self) -> str:
        """Exactly the format that karpet parses: seconds and an offset, no fraction."""
        return datetime.fromtimestamp(self.published, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


class CoinCodex:
    """The news lists of karpet 0.5 (path) and 0.6 (query), and the article pages."""

    hosts = ("coincodex.com", "www.coincodex.com")

    def answer(self, request: Request, market: Market) -> Answer:
        """The answer to one request."""
        match = LIST.fullmatch(request.path)
        if match:
            return self._list(request, market, match.group(1), int(match.group(2)))
        if request.path.rstrip("/") == "/api/v1/assets/get_news":
            return self._list(request, market, request.get("symbol"), request.integer("limit", 10))
        match = ARTICLE.fullmatch(request.path)
        if match:
            return self._page(market, match.group(1), int(match.group(2)))
        return Answer({"error": "Not Found"}, 404)

    def failure(self, status: int, market: Market) -> Answer:  # noqa: ARG002 - the protocol's signature
        """A plain page, as in front of most sites."""
        return Answer(f"<html><body><h1>{status}</h1></body></html>", status, content_type="text/html; charset=utf-8")

    def _list(self, request: Request, market: Market, symbol: str, limit: int) -> Answer:
        asset = market.universe.by_base.get(symbol.upper())
        if asset is None:
            return Answer([], resource="coincodex.news")
        count = min(limit, 5 + sum(asset.symbol.encode()) % 6)
        newest = int((market.now() - FIRST_DAY) // SLOT)
        articles: list[Article] = []
        for number in range(newest, max(-1, newest - 40), -1):
            article = write_article(market, asset, number)
            if article.published <= market.now() and len(articles) < count:
                articles.append(article)
        rows = [_item(article, request.base_url) for article in articles]
        return Answer(rows, resource="coincodex.news")

    def _page(self, market: Market, symbol: str, number: int) -> Answer:
        asset = market.universe.by_base.get(symbol.upper())
        written = number <= (market.now() - FIRST_DAY) // SLOT
        article = write_article(market, asset, number) if asset is not None and written else None
        if article is None or article.published > market.now():
            return self.failure(404, market)
        return Answer(_html(article), content_type="text/html; charset=utf-8")


def write_article(market: Market, asset: Listing, number: int) -> Article:
    """The coin's article of a slot: the same for a seed at whatever time it is asked."""
    draw = market.process.random("news", asset.symbol, number)
    published = float(int(FIRST_DAY + (number + draw.random()) * SLOT))
    price, before = market.process.price(asset, published), market.process.price(asset, published - DAY)
    change = price / before - 1
    words = {
        "name": asset.name,
        "symbol": asset.symbol,
        "price": f"{price:,.2f}" if price >= 1 else f"{price:.6g}",
        "moved": "rises" if change >= 0 else "falls",
        "change": f"{abs(change):.1%}",
        "acted": "add to their positions" if change >= 0 else "take profits",
    }
    title = TITLES[int(draw.random() * len(TITLES))].format(**words)
    text = (
        f"This article is simulated by the market replay. {asset.name} ({asset.symbol}) traded at {words['price']} "
        f"dollars, {words['change']} {'up' if change >= 0 else 'down'} on the day before."
    )
    return Article(asset, number, published, title, text)


def _item(article: Article, base_url: str) -> dict[str, Any]:
    return {
        "title": article.title,
        "url": f"{base_url}/coincodex.com{article.path}",
        "source": "Market replay (simulated)",
        "date": article.date,
    }


def _html(article: Article) -> str:
    tags = {
        "og:title": article.title,
        "og:description": article.text,
        "og:image": f"https://coincodex.com/images/simulated/{article.asset.symbol.lower()}.png",
        "article:published_time": article.date,
    }
    metas = "\n".join(f'<meta property="{key}" content="{html.escape(value)}">' for key, value in tags.items())
    title = html.escape(article.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n{metas}\n</head>\n'
        f"<body><h1>{title}</h1><p>{html.escape(article.text)}</p></body></html>\n"
    )
