"""The dlt resource of one endpoint: walks side by side, pages in order, positions kept in dlt's state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from engine.errors import SourceError, UsageError
from engine.table import Table
from sources.http.client import HttpClient
from sources.protocol import SourceContext
from sources.rest.position import Position
from sources.rest.rows import Row, Shaper
from sources.rest.settings import ClientSettings, RestResource
from sources.rest.walk import Endpoint, HostError, Walk

if TYPE_CHECKING:
    from dlt.extract import DltResource

IN_A_ROW = 4
"""So many assets given up one after the other, and the host is given up."""
MOST_HELD = 200_000
"""Rows of one paged walk that wait for its end; a longer one is delivered as it comes, and where it fails the whole
table does."""
CURSORS = "cursors"
"""Key in the resource's state: {"<symbol> <variant>": {"cursor": ..., "seen": [...]}}."""


def build_resource(
    ctx: SourceContext, table: Table, client_settings: ClientSettings, settings: RestResource
) -> DltResource:
    """Build the resource; nothing is asked before it is iterated."""
    import dlt

    _check_paths(ctx.source, settings)

    def pages() -> Iterator[list[Row]]:
        saved: dict[str, Any] = dlt.current.resource_state().setdefault(CURSORS, {}) if settings.incremental else {}
        with HttpClient(
            ctx,
            limits=client_settings.rates(),
            policy=client_settings.policy(),
            credentials=client_settings.credentials(),
        ) as client:
            shaper = Shaper(settings, ctx.notice)
            endpoint = Endpoint(ctx, client, settings, client_settings, shaper)
            yield from _in_order(endpoint, _walks(endpoint, table, saved), saved)

    return dlt.resource(pages, name=table.name)


def _check_paths(source: str, settings: RestResource) -> None:
    """Refuse a JSONPath that cannot be read (its parser is too heavy for the file's own check)."""
    from dlt.common.jsonpath import compile_path

    paginate = settings.paginate
    for path in (settings.select, getattr(paginate, "next", None), getattr(paginate, "total", None)):
        if path:
            try:
                compile_path(path)
            except Exception as error:
                reason = f"sources.{source}: {path!r} is no JSONPath"
                raise UsageError(reason, "Write it as data.rows or $.data[*].") from error


def _walks(endpoint: Endpoint, table: Table, saved: dict[str, Any]) -> Iterator[Walk]:
    settings, ctx = endpoint.settings, endpoint.ctx
    incremental = settings.incremental
    for group in settings.groups(settings.carried(ctx.assets)):
        for variants in settings.variants():
            walk = Walk(endpoint, group, variants, None)
            if incremental is not None:
                column = next(column for column in table.columns if column.name == incremental.column)
                walk.position = Position(incremental, column, ctx, _variant(walk), saved.get(_key(walk)))
            yield walk


def _variant(walk: Walk) -> str:
    return " ".join(walk.variants.values())


def _key(walk: Walk) -> str:
    return " ".join(part for part in (walk.item, _variant(walk)) if part)


def _in_order(endpoint: Endpoint, walks: Iterator[Walk], saved: dict[str, Any]) -> Iterator[list[Row]]:
    """Yield the pages of one walk after the other while the next few are already under way, a page each."""
    width = endpoint.client_settings.parallel if endpoint.settings.each else 1
    outcome, held = _Outcome(endpoint), _Held(endpoint)
    under_way: deque[tuple[Walk, Future[list[Row] | None]]] = deque()
    pool = ThreadPoolExecutor(width, thread_name_prefix=endpoint.ctx.source)
    try:
        while True:
            while len(under_way) < width and (walk := next(walks, None)) is not None:
                under_way.append((walk, pool.submit(walk.next_page)))
            if not under_way:
                break
            walk, future = under_way.popleft()
            try:
                page = future.result()
            except SourceError as error:
                if held.let_go:
                    raise  # some of its pages are delivered and it cannot be said which: none of this run may land
                outcome.failed(walk, error)
                if not held.drop() and walk.position is not None:
                    _save(walk, walk.position, saved)
                continue
            if page is not None:
                under_way.appendleft((walk, pool.submit(walk.next_page)))
                yield from held.until_done(page)
                continue
            yield from held.done()
            outcome.succeeded()
            if walk.position is not None:
                _save(walk, walk.position, saved)
        outcome.end()
    finally:
        endpoint.client.session.adapter.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _save(walk: Walk, position: Position, saved: dict[str, Any]) -> None:
    if (state := position.state()) is not None:
        saved[_key(walk)] = state


class _Held:
    """Pages of a walk whose order says nothing of the cursor: its newest row may be on the first page.

    Were some of them delivered and the rest failed, neither the old nor the new cursor would be right: the old one
    brings them twice, the new one hides the rest. They are delivered together. A walk that pages along its cursor
    (`full_page`), or has one page, needs none of that: its position is right after every page.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        settings = endpoint.settings
        self._holds = bool(settings.each and settings.incremental and settings.paginate)
        self._pages: list[list[Row]] = []
        self._rows = 0
        self.let_go = False
        """The walk was too long to be held: pages of it are delivered already."""

    def until_done(self, page: list[Row]) -> Iterator[list[Row]]:
        """Take the next page; yield what need not wait."""
        if not self._holds:
            yield page
            return
        self._pages.append(page)
        self._rows += len(page)
        if self._rows > MOST_HELD:
            self.let_go = True
            yield from self._all()

    def done(self) -> Iterator[list[Row]]:
        """Yield what waited for the walk's end."""
        yield from self._all()
        self._rows, self.let_go = 0, False

    def drop(self) -> bool:
        """Forget the pages of a walk that failed. False: nothing is held back here, its pages are delivered."""
        self._pages, self._rows = [], 0
        return self._holds

    def _all(self) -> Iterator[list[Row]]:
        pages, self._pages = self._pages, []
        yield from pages


class _Outcome:
    """Which walks failed: one asset costs only itself, but not when the host is the trouble."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._good = 0
        self._bad = 0
        self._in_a_row = 0
        self._last: SourceError | None = None

    def succeeded(self) -> None:
        self._good += 1
        self._in_a_row = 0

    def failed(self, walk: Walk, error: SourceError) -> None:
        """Report a failed asset and go on, or raise."""
        self._bad += 1
        self._last = error
        self._in_a_row = 0 if error.terminal else self._in_a_row + 1
        if walk.item is None or isinstance(error, HostError) or self._in_a_row >= IN_A_ROW:
            raise error
        reason = error.reason.removeprefix(f"{error.source}: ")
        self.endpoint.ctx.notice(f"{reason} — {error.remedy}" if error.remedy else reason, item=walk.item)
        self.endpoint.ctx.missed(walk.item)

    def end(self) -> None:
        """Every asset failed: that is no matter of single assets."""
        if self._last is not None and not self._good:
            raise self._last
