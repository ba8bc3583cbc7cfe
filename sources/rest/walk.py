"""One walk through an endpoint: the pages of one call, or of one asset, or of one batch that may have to be split."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import requests

from engine.conform.times import micros
from engine.errors import SourceError
from sources.http.body import BodyError, exact_json, preview
from sources.http.client import CLIENT_ERROR, HttpClient, refusal
from sources.protocol import Asset, SourceContext
from sources.rest.paging import paginator_of
from sources.rest.position import Position, fingerprint
from sources.rest.rows import Row, Shaper, matches, select
from sources.rest.settings import ClientSettings, RestResource
from sources.rest.templates import Encoded, Values, fill
from sources.rest.words import ErrorRule

if TYPE_CHECKING:
    from dlt.sources.helpers.rest_client.paginators import BasePaginator

MOST_PAGES = 1000
MOST_REPEATS = 3
"""So many pages may repeat the page before: a listing that shifts while it is read can bring one again."""
HOST_REFUSES = frozenset({401, 403, 418, 451})
"""Statuses that every further call would get as well."""
NAMED = 5
"""So many absent symbols are named one by one, more in one line."""


class HostError(SourceError):
    """The host itself is the trouble: no other asset need be tried."""


@dataclass(slots=True)
class _Ask:
    """A request about some assets, and where its paging stands."""

    assets: tuple[Asset, ...]
    at_fault: bool = False
    """Known to hold an asset that the API refuses: there is no need to ask for all of it."""
    twin: _Ask | None = None
    request: requests.Request | None = None
    paginator: BasePaginator | None = None
    asked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    before: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every walk of a resource shares."""

    ctx: SourceContext
    client: HttpClient
    settings: RestResource
    client_settings: ClientSettings
    shaper: Shaper


class Walk:
    """Pages of one group of assets in one variant. Call `next_page` until it returns None; one thread at a time."""

    def __init__(
        self, endpoint: Endpoint, assets: tuple[Asset, ...], variants: Mapping[str, str], position: Position | None
    ) -> None:
        self.endpoint = endpoint
        self.variants = variants
        self.position = position
        self.assets = assets
        self.delivered = False
        self._asks: deque[_Ask] = deque([_Ask(assets)])
        reference = endpoint.settings.reference
        self._column = reference[1] if reference else ""

    @property
    def item(self) -> str | None:
        """The symbol of a walk about one asset."""
        return self.symbol(self.assets[0]) if self.endpoint.settings.each and self.assets else None

    def symbol(self, asset: Asset) -> str:
        """The asset's symbol at this source."""
        return asset.at(self._column)

    def next_page(self) -> list[Row] | None:
        """Ask for the next page that has rows; None at the end. Raises SourceError."""
        while self._asks:
            ask = self._asks[0]
            rows = None if ask.at_fault and self._split(ask) else self._page(ask)
            if rows:
                self.delivered = True
                return rows
        return None

    def _page(self, ask: _Ask) -> list[Row] | None:
        values = self._values(ask)
        if ask.request is None:
            ask.request = self._request(values)
            ask.paginator = paginator_of(self.endpoint.settings.paginate)
            ask.paginator.init_request(ask.request)
        response = self._send(ask, ask.request)
        raw = self._rows(ask, response)
        if raw is None:
            return None
        if ask.twin is not None:
            ask.twin.at_fault, ask.twin = True, None
        return self._delivered(ask, values, response, raw)

    def _delivered(self, ask: _Ask, values: Values, response: requests.Response, raw: list[Any]) -> list[Row]:
        by_symbol = {self.symbol(asset): asset for asset in ask.assets} if self._column else {}
        match = self.endpoint.settings.match

        def asset_of(row: Any) -> Asset | None:
            if self.item is not None:
                return ask.assets[0]
            named = str(row.get(match)) if match else ""
            ask.answered.add(named)
            return by_symbol.get(named)

        rows = self.endpoint.shaper.shape(raw, values, asset_of)
        more = self._turn(ask, response, rows)
        if self.endpoint.settings.paginate:
            shaped, prints = rows, {fingerprint(row) for row in rows}
            rows = [row for row in rows if fingerprint(row) not in ask.before]
            ask.before = prints
            self._check_repeats(ask, response, shaped)
        if self.position is not None:
            rows, follows = self.position.fresh(rows)
            if follows:
                ask.request, more = None, True
            elif self.position.stuck:
                words = f"more than {len(raw)} rows share one value of {self.position.column.name}"
                self.endpoint.ctx.notice(f"{words}: the rest of them cannot be asked for", item=self.item)
        if not more:
            self._asks.popleft()
            self._tell_absent(ask)
        return rows

    def _check_repeats(self, ask: _Ask, response: requests.Response, rows: list[Row]) -> None:
        """Refuse page after page with the same keys: the API ignores which page it is asked for."""
        key = self.endpoint.settings.primary_key
        keys = {fingerprint([row.get(name) for name in key] if key else row) for row in rows}
        ask.repeats = ask.repeats + 1 if keys and keys == ask.keys else 0
        ask.keys = keys
        if ask.repeats >= MOST_REPEATS:
            reason = f"sent the same rows {MOST_REPEATS + 1} pages in a row: its paging goes in a circle"
            raise self._error(response, reason, "Check `paginate:` of this resource.", terminal=True)

    def _turn(self, ask: _Ask, response: requests.Response, rows: list[Row]) -> bool:
        """Prepare the next page's request, if there is one."""
        assert ask.paginator is not None and ask.request is not None  # noqa: S101, PT018 - set by _page
        try:
            ask.paginator.update_state(response, rows)
            if ask.paginator.has_next_page:
                ask.paginator.update_request(ask.request)
        except (ValueError, TypeError, AttributeError) as error:
            reason = f"cannot be paged: {str(error).partition(' Expected')[0][:120]}"
            raise self._error(response, reason, "Check `paginate:` of this resource.") from error
        return bool(ask.paginator.has_next_page)

    def _send(self, ask: _Ask, request: requests.Request) -> requests.Response:
        settings = self.endpoint.settings
        wire = requests.Request("GET", _address(request))
        self._check_next(ask, wire)
        return self.endpoint.client.send(wire, weight=settings.cost(len(ask.assets)))

    def _check_next(self, ask: _Ask, wire: requests.Request) -> None:
        """Refuse a page that was asked for already, too many pages, and a next page on another host."""
        address = str(wire.url)
        own, parts = urlsplit(self.endpoint.client_settings.base_url), urlsplit(address)
        source = self.endpoint.ctx.source
        place = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
        if address in ask.asked:
            reason = f"{place} names a next page that it named before: its paging goes in a circle"
            raise SourceError(
                source, reason, "Check `paginate:` of this resource, or tell the API's keepers.", terminal=True
            )
        if len(ask.asked) >= MOST_PAGES:
            reason = f"{place} has more than {MOST_PAGES:,} pages"
            raise SourceError(source, reason, "Ask for larger pages, or for less.", terminal=True)
        known = {own.netloc.lower(), *self.endpoint.client_settings.redirect_hosts}
        if parts.netloc.lower() not in known or (own.scheme == "https" and parts.scheme != "https"):
            reason = f"names a next page at {parts.scheme}://{place}, which is another host"
            raise SourceError(source, reason, "Name the host in client.redirect_hosts if this is meant.", terminal=True)
        ask.asked.add(address)

    def _rows(self, ask: _Ask, response: requests.Response) -> list[Any] | None:
        """Return the rows of an answer; None if it was an error that has been dealt with."""
        session, settings = self.endpoint.client.session, self.endpoint.settings
        status = response.status_code
        body = _maybe_json(response.content) if settings.errors or status >= CLIENT_ERROR else None
        rule = next((rule for rule in settings.errors if _applies(rule, status, body)), None)
        if rule is not None:
            self._apply(rule, ask, response)
            return None
        if status in HOST_REFUSES:
            error = refusal(session, response)
            raise HostError(self.endpoint.ctx.source, error.reason.partition(": ")[2], error.remedy, terminal=True)
        if status >= CLIENT_ERROR:
            raise refusal(session, response)
        parsed = self.endpoint.client.json(response)
        said = preview(response.content, self.endpoint.client.session.adapter.redact)

        def complain(reason: str) -> SourceError:
            remedy = "The API may be in trouble or may have changed: look at its status page, run again later."
            return self._error(response, f"answered {status}, but its body {reason}: {said}", remedy)

        return select(settings, parsed, complain)

    def _apply(self, rule: ErrorRule, ask: _Ask, response: requests.Response) -> None:
        said = preview(response.content, self.endpoint.client.session.adapter.redact)
        if rule.action == "skip" or (rule.action == "split" and len(ask.assets) <= 1):
            item = self.symbol(ask.assets[0]) if len(ask.assets) == 1 else None
            self.endpoint.ctx.notice(rule.message, item=item)
            self._asks.popleft()
            return
        if rule.action == "split":
            self._split(ask)
            return
        reason = f"answered {response.status_code}: {rule.message} ({said})"
        raise self._error(response, reason, rule.remedy, terminal=rule.action == "terminal")

    def _split(self, ask: _Ask) -> bool:
        """Put the two halves in the place of a group that the API refuses. False: one asset cannot be split."""
        if len(ask.assets) <= 1:
            return False
        half = len(ask.assets) // 2
        second = _Ask(ask.assets[half:])
        first = _Ask(ask.assets[:half], twin=second)
        self._asks.popleft()
        self._asks.extendleft((second, first))
        return True

    def _tell_absent(self, ask: _Ask) -> None:
        if not self.endpoint.settings.match:
            return
        absent = [self.symbol(asset) for asset in ask.assets if self.symbol(asset) not in ask.answered]
        if len(absent) <= NAMED:
            for symbol in absent:
                self.endpoint.ctx.notice("the answer has no row for this symbol", item=symbol)
        else:
            names = ", ".join(absent[:NAMED])
            self.endpoint.ctx.notice(f"the answer has no row for {len(absent)} symbols: {names} ...")

    def _values(self, ask: _Ask) -> Values:
        ctx, position = self.endpoint.ctx, self.position
        return Values(
            symbols=[self.symbol(asset) for asset in ask.assets],
            each=self.item or "",
            variants=self.variants,
            cursor=position.asks_from if position else None,
            cursor_is_time=position.is_time if position else True,
            window_start=micros(ctx.window.start) if ctx.window else None,
            window_end=micros(ctx.window.end) if ctx.window else None,
            now=micros(ctx.now),
        )

    def _request(self, values: Values) -> requests.Request:
        settings = self.endpoint.settings
        path = _filled_path(settings.path, values)
        params: dict[str, Any] = {}
        for name, value in settings.params.items():
            filled = fill(value, values) if isinstance(value, str) else value
            if filled is not None:
                params[name] = str(filled).lower() if isinstance(filled, bool) else filled
        return requests.Request("GET", f"{self.endpoint.client_settings.base_url}/{path}", params=params)

    def _error(self, response: requests.Response, reason: str, remedy: str, *, terminal: bool = False) -> SourceError:
        return self.endpoint.client.session.adapter.error(response.request, reason, remedy, terminal=terminal)


def _filled_path(path: str, values: Values) -> str:
    """Fill a path in; what placeholders bring cannot add a segment."""
    segments = []
    for segment in path.lstrip("/").split("/"):
        filled = fill(segment, values) or ""
        segments.append(filled if isinstance(filled, Encoded) or filled == segment else quote(filled, safe=""))
    return "/".join(segments)


def _address(request: requests.Request) -> str:
    """URL with its query. A plain + stays one, as some APIs want it between symbols."""
    if not request.params:
        return str(request.url)
    params: Mapping[str, Any] = dict(request.params)
    pairs = [
        f"{quote(name, safe='')}={value}" if isinstance(value, Encoded) else urlencode({name: value}, quote_via=quote)
        for name, value in params.items()
    ]
    mark = "&" if urlsplit(str(request.url)).query else "?"
    return f"{request.url}{mark}{'&'.join(pairs)}"


def _maybe_json(content: bytes) -> Any:
    try:
        return exact_json(content)
    except BodyError:
        return None


def _applies(rule: ErrorRule, status: int, body: Any) -> bool:
    if rule.when.http is not None and rule.when.http != status:
        return False
    return not rule.when.body or matches(body, rule.when.body)
