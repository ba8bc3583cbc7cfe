"""The dlt resource: walks the tickers with a few threads, yields one page a ticker, keeps where each one ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

from engine.errors import SourceError
from sources.protocol import Asset, SourceContext
from sources.yfinance.chart import Bar, Chart
from sources.yfinance.facts import NO_FACTS, Facts
from sources.yfinance.http import open_session
from sources.yfinance.settings import Kind, YfinanceClient, yahoo_symbol
from sources.yfinance.yahoo import NOT_FOUND, TOO_MANY, Yahoo, YahooError

if TYPE_CHECKING:
    from dlt.extract import DltResource

REREAD = 5
"""Bars before the newest seen that are asked again: Yahoo corrects recent bars."""
STEP = {"1m": 60, "2m": 120, "5m": 300, "15m": 900, "60m": 3600, "1h": 3600, "1d": 86_400, "1wk": 604_800,
        "1mo": 2_678_400}  # fmt: skip
GIVE_UP = 3
"""Consecutive refusals after which the rest is not asked any more (429), or facts are left out."""
REFUSED = frozenset({400, NOT_FOUND, 422})
"""Yahoo's answer that it has no such ticker, or nothing of that time: asked again, it says so again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one resource asks for."""

    resource: str
    kind: Kind
    table: str
    interval: str
    period: str
    facts: bool
    assets: tuple[Asset, ...]
    client: YfinanceClient


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one asset: a chart with facts, or the reason why not."""

    asset: Asset
    chart: Chart | None = None
    facts: Facts | None = None
    failure: YahooError | None = None
    facts_failure: YahooError | None = None


def prices(plan: Plan, ctx: SourceContext) -> DltResource:
    """Build the resource. Its pages are lists of dicts with the table's column names."""
    import dlt

    def bars() -> Iterator[list[dict[str, Any]]]:
        state = dlt.current.resource_state().setdefault("last_bar", {})
        yield from _pages(plan, ctx, state)

    return dlt.resource(bars, name=plan.table, write_disposition="append")


def _pages(plan: Plan, ctx: SourceContext, state: dict[str, int]) -> Iterator[list[dict[str, Any]]]:
    asked = Asking(plan, ctx, dict(state))
    failures: list[YahooError] = []
    with open_session(ctx, plan.client) as session:
        yahoo = Yahoo(session, ctx.data_dir / "yfinance")
        pool = ThreadPoolExecutor(plan.client.parallel, thread_name_prefix=f"{ctx.source}-{plan.resource}")
        try:
            for answer in pool.map(lambda asset: asked.ask(yahoo, asset), plan.assets):
                if answer.failure is not None:
                    failures.append(answer.failure)
                    ctx.notice(str(answer.failure), item=yahoo_symbol(answer.asset))
                    if answer.failure.status not in REFUSED:
                        ctx.missed(yahoo_symbol(answer.asset))
                elif answer.chart is not None:
                    rows = _rows(plan, ctx, answer, state)
                    if rows:
                        yield rows
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    asked.report()
    if failures and len(failures) == len(plan.assets):
        raise _nothing(ctx.source, failures)


class Asking:
    """Asks for one asset after the other, and stops asking where Yahoo has made clear that it will not answer."""

    def __init__(self, plan: Plan, ctx: SourceContext, last: dict[str, int]) -> None:
        self.plan, self.ctx, self.last = plan, ctx, last
        self._lock = Lock()
        self._limited = 0
        self._without_facts: list[tuple[str, YahooError]] = []
        self._facts_refused = 0

    def ask(self, yahoo: Yahoo, asset: Asset) -> Answer:
        """Return the chart and the facts of one asset; failures are part of the answer."""
        symbol = yahoo_symbol(asset)
        if self._limited >= GIVE_UP:
            return Answer(asset, failure=YahooError("not asked: Yahoo answers 429, too many requests", TOO_MANY))
        try:
            chart = yahoo.chart(symbol, self.plan.interval, self.plan.period, self._window(symbol))
        except YahooError as error:
            with self._lock:
                self._limited = self._limited + 1 if error.status == TOO_MANY else 0
            return Answer(asset, failure=error)
        self._limited = 0
        return Answer(asset, chart=chart, facts=self._facts(yahoo, symbol))

    def _facts(self, yahoo: Yahoo, symbol: str) -> Facts:
        if not self.plan.facts:
            return NO_FACTS
        if self._facts_refused >= GIVE_UP:
            with self._lock:
                self._without_facts.append((symbol, self._without_facts[-1][1]))
            return NO_FACTS
        try:
            facts = yahoo.facts(symbol)
        except YahooError as error:
            with self._lock:
                self._without_facts.append((symbol, error))
                self._facts_refused += 1
            return NO_FACTS
        self._facts_refused = 0
        return facts

    def report(self) -> None:
        """Say once how many tickers came without facts, and why."""
        if self._without_facts:
            symbol, error = self._without_facts[0]
            self.ctx.notice(f"{len(self._without_facts)} without company facts: {error}", item=symbol)

    def _window(self, symbol: str) -> tuple[datetime, datetime] | None:
        if self.ctx.window is not None:
            return self.ctx.window.start, self.ctx.window.end
        last = self.last.get(symbol)
        if last is None:
            return None
        step = STEP[self.plan.interval]
        # twice the bars and four days more, so that weekends and holidays leave enough of them
        start = datetime.fromtimestamp(last, tz=UTC) - timedelta(seconds=2 * REREAD * step, days=4)
        return start, self.ctx.now + timedelta(days=1)


def _rows(plan: Plan, ctx: SourceContext, answer: Answer, state: dict[str, int]) -> list[dict[str, Any]]:
    chart, asset = answer.chart, answer.asset
    if chart is None:
        return []
    symbol = yahoo_symbol(asset)
    if chart.empty:
        ctx.notice(f"{chart.empty} bars without any price left out", item=symbol)
    if chart.unplaced:
        ctx.notice(f"{chart.unplaced} dividends or splits fall on no bar and are left out", item=symbol)
    bars = _wanted(chart.bars, ctx, state.get(symbol))
    finished = [int(bar.begins.timestamp()) for bar in bars if not bar.live]
    if finished:
        state[symbol] = max(finished[-1], state.get(symbol, 0))
    row = _crypto_row if plan.kind == "crypto" else _stock_row
    return [{**bar.extra, **row(asset, chart, bar, answer.facts or NO_FACTS), "observed_at": bar.begins,
             "interval": plan.interval, "is_live": bar.live} for bar in bars]  # fmt: skip


def _wanted(bars: tuple[Bar, ...], ctx: SourceContext, last: int | None) -> list[Bar]:
    """Leave out what nobody asked for: bars outside the window (Yahoo appends the newest), and long-known ones."""
    if ctx.window is not None:
        return [bar for bar in bars if ctx.window.start <= bar.begins < ctx.window.end]
    known = [bar for bar in bars if last is not None and bar.begins.timestamp() <= last]
    return list(bars[max(0, len(known) - REREAD) :])


def _crypto_row(asset: Asset, chart: Chart, bar: Bar, _facts: Facts) -> dict[str, Any]:
    symbol = yahoo_symbol(asset)
    return {
        "symbol": symbol,
        "base_currency": asset.symbol,
        "quote_currency": chart.currency or symbol.rpartition("-")[2],
        "price": bar.close,
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "volume": bar.volume,
        "volume_unit": "quote",
    }


def _stock_row(asset: Asset, chart: Chart, bar: Bar, facts: Facts) -> dict[str, Any]:
    return {
        "ticker": asset.symbol,
        "symbol": yahoo_symbol(asset),
        "date": bar.day,
        "open_price": bar.open,
        "high_price": bar.high,
        "low_price": bar.low,
        "close_price": bar.close,
        "adj_close_price": bar.adj_close,
        "volume": bar.volume,
        "volume_unit": "shares",
        "dividends": bar.dividends,
        "stock_splits": bar.splits,
        "capital_gains": bar.capital_gains,
        **facts,
        "company_name": facts["company_name"] or chart.company,
        "currency": chart.currency,
    }


def _nothing(source: str, failures: list[YahooError]) -> SourceError:
    sentence, count = Counter(str(failure) for failure in failures).most_common(1)[0]
    often = f"{count} times" if count > 1 or len(failures) == 1 else "one of them"
    statuses = {failure.status for failure in failures}
    if TOO_MANY in statuses:
        remedy = "Wait an hour, then run again, or lower `client.limits.per_minute`."
    elif statuses == {NOT_FOUND}:
        remedy = "Check the asset list's `yfinance` symbols."
    else:
        remedy = "Run again later; if it lasts, see whether finance.yahoo.com is up and yfinance has a newer release."
    return SourceError(
        source,
        f"none of {len(failures)} tickers could be read; {often}: {sentence}",
        remedy,
        terminal=statuses == {NOT_FOUND},
    )
