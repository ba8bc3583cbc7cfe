"""The dlt resource: walks the coins with a few threads, yields one page a coin, remembers what was delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from engine.errors import SourceError
from sources.http.client import GuardedSession, session
from sources.http.policy import MIB, Limits, Policy
from sources.karpet.article import Article
from sources.karpet.news import CoinNews, NewsError, NotAskedError
from sources.karpet.settings import KarpetClient, karpet_symbol
from sources.protocol import Asset, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

REMEMBERED = 5
"""Times `limit`: how many delivered articles a coin remembers. The list never shows more than `limit` of them."""
DEAD = 5
"""Lists that fail before any works, after which the site counts as dead and the other coins are not asked."""
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
"""News sites refuse clients that do not look like a browser."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the resource asks for."""

    table: str
    coins: tuple[Asset, ...]
    limit: int
    endpoint: str
    client: KarpetClient


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one coin."""

    coin: Asset
    articles: tuple[Article, ...] = ()
    undated: tuple[str, ...] = ()
    unread: int = 0
    failure: NewsError | None = None


def news(plan: Plan, ctx: SourceContext) -> DltResource:
    """Build the resource. Its pages are lists of dicts with the table's column names."""
    import dlt

    def articles() -> Iterator[list[dict[str, Any]]]:
        yield from _pages(plan, ctx, dlt.current.resource_state().setdefault("seen", {}))

    return dlt.resource(articles, name=plan.table, write_disposition="append")


def _pages(plan: Plan, ctx: SourceContext, seen: dict[str, list[str]]) -> Iterator[list[dict[str, Any]]]:
    failures: list[NewsError] = []
    working = 0
    with _sessions(ctx, plan.client) as (lists, pages):
        pool = ThreadPoolExecutor(plan.client.parallel, thread_name_prefix=ctx.source)
        known = {symbol: frozenset(digests) for symbol, digests in seen.items()}

        def ask(coin: Asset) -> Answer:
            if not working and len(failures) >= DEAD:
                return Answer(coin, failure=NotAskedError("not asked: no coin's list could be had before it"))
            return _ask(plan, CoinNews(lists, pages, plan.endpoint, _Seen(known.get(coin.symbol, ()))), coin)

        try:
            for answer in pool.map(ask, plan.coins):
                if answer.failure is not None:
                    failures.append(answer.failure)
                    ctx.notice(str(answer.failure), item=answer.coin.symbol)
                    continue
                working += 1
                _tell(ctx, answer)
                _remember(seen, answer, plan.limit)
                if answer.articles:
                    yield [_row(answer.coin, article) for article in answer.articles]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if failures and not working:
        raise _dead(ctx.source, failures)


def _ask(plan: Plan, coin_news: CoinNews, coin: Asset) -> Answer:
    try:
        articles = coin_news.articles(karpet_symbol(coin), plan.limit)
    except NewsError as error:
        return Answer(coin, failure=error)
    return Answer(coin, tuple(articles), tuple(coin_news.undated), len(coin_news.unread))


@contextmanager
def _sessions(ctx: SourceContext, client: KarpetClient) -> Iterator[tuple[GuardedSession, GuardedSession]]:
    """Open a session that insists, for the lists, and one that does not, for the pages."""
    limits = Limits(per_minute=None if ctx.replay_url else client.limits.per_minute)
    policy = Policy(read_timeout=client.timeout, deadline=client.timeout, budget=3 * client.timeout, max_body=8 * MIB)
    lists = session(ctx, limits=limits, policy=replace(policy, tries=3))
    pages = session(ctx, limits=limits, policy=replace(policy, tries=2))
    for each in (lists, pages):
        each.headers["User-Agent"] = BROWSER
    try:
        yield lists, pages
    finally:
        for each in (lists, pages):
            each.adapter.stopped.set()
            each.close()


def _row(coin: Asset, article: Article) -> dict[str, Any]:
    published = article.published_at
    return {
        "ticker": coin.symbol,
        "asset_type": coin.asset_type,
        "url": article.url,
        "date": published.date() if published else None,
        "title": article.title,
        "description": article.description,
        "image": article.image,
        "publisher": article.publisher,
        "published_at": published,
    }


def _tell(ctx: SourceContext, answer: Answer) -> None:
    if answer.undated:
        ctx.notice(f"{len(answer.undated)} articles without a date left out", item=answer.coin.symbol)
    if answer.unread:
        ctx.notice(f"{answer.unread} articles could not be read; the next run tries again", item=answer.coin.symbol)


class _Seen(frozenset[str]):
    """Addresses, kept as digests: the state travels with every package."""

    def __contains__(self, url: object) -> bool:
        return super().__contains__(_digest(str(url)))


def _digest(url: str) -> str:
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _remember(seen: dict[str, list[str]], answer: Answer, limit: int) -> None:
    """Undated articles too: asked again they would be left out again."""
    fresh = [_digest(url) for url in (*(article.url for article in answer.articles), *answer.undated)]
    kept = [*fresh, *(digest for digest in seen.get(answer.coin.symbol, []) if digest not in fresh)]
    seen[answer.coin.symbol] = kept[: limit * REMEMBERED]


def _dead(source: str, failures: list[NewsError]) -> SourceError:
    asked = [failure for failure in failures if not isinstance(failure, NotAskedError)]
    cause = asked[0].__cause__
    if isinstance(cause, SourceError) and not cause.terminal:  # no network, or a server that has trouble: it passes
        return SourceError(source, str(asked[0]), cause.remedy)
    sentence, _ = Counter(str(failure) for failure in asked).most_common(1)[0]
    return SourceError(
        source,
        f"no coin's news could be read: {sentence}",
        "The endpoint is probably dead: set `endpoint:` of this source to an address that lists a coin's articles.",
    )
