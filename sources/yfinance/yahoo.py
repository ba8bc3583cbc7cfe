"""One run's conversation with Yahoo: the yfinance client over our own HTTP session.

yfinance knows Yahoo's addresses, cookies, crumbs and consent pages. Its state is kept to the run: a `YfData` of our
own instead of its process-wide one, no answer cache, no cookie or time zone database. The numbers of its data frames
have been floats, so the frames are dropped and each chart is read from the raw answer that passed through the session.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from engine.errors import SourceError, TickhouseError
from sources.yfinance.chart import Chart, ChartError, parse_chart
from sources.yfinance.facts import MODULES, Facts, parse_facts

if TYPE_CHECKING:
    from datetime import datetime

SYMBOL = re.compile(r"[A-Za-z0-9.^=_&-]{1,40}")
CHART = "/v8/finance/chart/"
SUMMARY = "/v10/finance/quoteSummary/"
COOKIES = "fc.yahoo.com"
"""Gives the cookie that the session keeps. yfinance would fetch it before every request."""
HOST = "https://query2.finance.yahoo.com"
OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_ERROR = 200, 401, 403, 404, 429, 500
LIMITED = ("answered 429", "to be left alone")
"""What the HTTP client says when it gave up because of a rate limit."""
QUOTED = 200
"""Characters of an unexpected answer that an error repeats."""


class YahooError(Exception):
    """One ticker's answer is no use. The text is one sentence; `status` the HTTP status, if there was an answer."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Capture(threading.local):
    """The chart answers that this thread's call has received."""

    charts: list[bytes] = field(default_factory=list)


class YahooSession(requests.Session):
    """The session that yfinance talks through: `inner` does the asking, this one keeps the raw chart answers.

    Cookies and crumbs are fetched through `errands`, which does not insist. A refusal that another cookie cannot
    change is raised at once; yfinance would fetch a new cookie and ask again.
    """

    def __init__(self, inner: requests.Session, errands: requests.Session) -> None:
        super().__init__()
        self.inner, self.errands = inner, errands
        self.cookies = errands.cookies = inner.cookies
        self.captured = Capture()
        self._silent: dict[str, str] = {}
        self._cookie: requests.Response | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Ask, keep a chart's raw answer, and raise YahooError for a refusal of data."""
        parts = urlsplit(url if isinstance(url, str) else url.decode())
        data = parts.path.startswith((CHART, SUMMARY))
        address = f"{parts.hostname}{parts.path}"
        if not data and address in self._silent:
            raise requests.ConnectionError(self._silent[address])
        if parts.hostname == COOKIES and self._cookie is not None:
            return self._cookie
        try:
            response = (self.inner if data else self.errands).request(method, url, *args, **kwargs)
        except SourceError as error:
            reason = error.reason.removeprefix(f"{error.source}: ")
            if data:
                raise YahooError(reason, TOO_MANY if any(sign in reason for sign in LIMITED) else None) from error
            # yfinance goes on without a cookie; asking for it again for each ticker would not help
            self._silent[address] = reason
            raise requests.ConnectionError(reason) from error
        if parts.hostname == COOKIES:
            self._cookie = response
        if data and response.status_code not in {OK, UNAUTHORIZED, FORBIDDEN}:
            raise YahooError(refusal(response.status_code, response.content), response.status_code)
        if data and response.status_code == OK and parts.path.startswith(CHART):
            self.captured.charts.append(response.content)
        return response


class Yahoo:
    """Asks Yahoo for charts and facts. Safe in threads."""

    def __init__(self, session: YahooSession, cache_dir: Path) -> None:
        """Make a client whose cookies and crumbs end with it. Nothing is asked yet."""
        prepare(cache_dir)
        from yfinance.data import YfData

        self.session = session
        self._data = YfData.__new__(YfData)  # the class itself hands out one instance a process
        self._data.__init__(self.session)
        self._data.cache_get = self._data.get

    def chart(
        self, symbol: str, interval: str, period: str | None, window: tuple[datetime, datetime] | None = None
    ) -> Chart:
        """Return the bars of `period` up to now, or of the half-open window. Raises YahooError."""
        import yfinance

        if not SYMBOL.fullmatch(symbol):
            raise YahooError("this is not a symbol of Yahoo's", NOT_FOUND)
        ticker = yfinance.Ticker(symbol, session=self.session)
        ticker._data = self._data  # noqa: SLF001 - see the module's docstring
        ticker._tz = "UTC"  # noqa: SLF001 - spares a call a ticker; ranges are given as instants
        if window is None:
            span: dict[str, Any] = {"period": period}
        else:
            span = {"start": int(window[0].timestamp()), "end": int(window[1].timestamp())}
        self.session.captured.charts.clear()
        failure: Exception | None = None
        try:
            ticker.history(interval=interval, auto_adjust=False, actions=True, **span)
        except (YahooError, TickhouseError):
            raise
        except Exception as error:  # whatever yfinance makes of an odd answer, the answer itself counts
            failure = error
        charts = self.session.captured.charts
        if not charts:
            raise YahooError(sentence(failure)) from failure
        try:
            return parse_chart(charts[-1], interval)
        except ChartError as error:
            raise YahooError(str(error), OK) from error

    def facts(self, symbol: str) -> Facts:
        """Return the company's facts. Raises YahooError."""
        params = {"modules": ",".join(MODULES), "corsDomain": "finance.yahoo.com", "formatted": "false"}
        try:
            response = self._data.get(f"{HOST}{SUMMARY}{symbol}", params={**params, "symbol": symbol})
            if response.status_code != OK:
                raise YahooError(refusal(response.status_code, response.content), response.status_code)
            return parse_facts(response.content)
        except (YahooError, TickhouseError):
            raise
        except Exception as error:
            raise YahooError(sentence(error)) from error


@cache
def prepare(cache_dir: Path) -> None:
    """Make yfinance raise its errors, keep its logs and warnings off the terminal, and write nothing."""
    import yfinance
    from yfinance import cache as databases

    warnings.filterwarnings("ignore", module=r"yfinance(\..*)?")
    logger = logging.getLogger("yfinance")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    yfinance.config.debug.hide_exceptions = False
    yfinance.set_tz_cache_location(str(cache_dir))
    databases._TzCacheManager._tz_cache = databases._TzCacheDummy()  # noqa: SLF001 - its own stand-in for "no cache"
    databases._CookieCacheManager._Cookie_cache = databases._CookieCacheDummy()  # noqa: SLF001 - as above
    databases._ISINCacheManager._isin_cache = databases._ISINCacheDummy()  # noqa: SLF001 - as above


def refusal(status: int, body: bytes) -> str:
    """Say in one sentence why Yahoo refused: its own description where it gives one."""
    said = _description(body)
    if status == TOO_MANY:
        return "Yahoo answers 429, too many requests"
    if status == NOT_FOUND:
        return f"Yahoo does not know the ticker (404: {said})"
    if status >= SERVER_ERROR:
        return f"Yahoo has a problem of its own ({status})"
    return f"Yahoo refuses the request ({status}: {said})"


def _description(body: bytes) -> str:
    try:
        for block in json.loads(body).values():
            error = block.get("error")
            if error:
                return str(error.get("description") or error)[:QUOTED]
    except (ValueError, AttributeError):
        pass
    return " ".join(body[:QUOTED].decode("utf-8", "replace").split()) or "no reason given"


def sentence(error: Exception | None) -> str:
    """Say in one sentence what went wrong without a usable answer."""
    if isinstance(error, ValueError):
        return "the answer is not JSON"
    if error is None:
        return "Yahoo gave no chart"
    return " ".join(str(error).split())[:QUOTED] or type(error).__name__
