"""The HTTP client of the sources.

`session(ctx)` gives a library a requests.Session with limits, retries, bounds, guard and replay;
`HttpClient` adds exact JSON and one clear error for every answer that is no data.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests

from engine.errors import SourceError
from sources.http.adapter import GuardedAdapter
from sources.http.body import BodyError, exact_json, preview
from sources.http.policy import Credentials, Limits, Policy
from sources.http.retry import TERMINAL
from sources.protocol import SourceContext

CLIENT_ERROR = 400


class GuardedSession(requests.Session):
    """A session that follows at most a few redirects, and none to a host that was not named."""

    def __init__(self, adapter: GuardedAdapter) -> None:
        super().__init__()
        self.trust_env = False  # no ~/.netrc: credentials come from the configuration alone
        self.max_redirects = adapter.policy.max_redirects
        self.adapter = adapter
        self.adapters.clear()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a redirect leads, once it is allowed."""
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        before, after = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
        known = {before.netloc.lower(), *self.adapter.policy.redirect_hosts}
        downgraded = before.scheme == "https" and after.scheme != "https"
        if after.scheme not in {"http", "https"} or after.netloc.lower() not in known or downgraded:
            reason = f"answered {resp.status_code} and sends on to {after.scheme}://{after.netloc.rpartition('@')[2]}"
            remedy = "Redirects stay on their host: name the new host in base_url, or in client.redirect_hosts."
            raise self.adapter.error(resp.request, reason, remedy, terminal=True)
        return target

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send; requests' own refusals become clear errors."""
        try:
            return super().send(request, **kwargs)
        except requests.TooManyRedirects as error:
            reason = f"redirects more than {self.max_redirects} times"
            raise self.adapter.error(request, reason, "Name the final address in base_url.", terminal=True) from error
        except requests.exceptions.InvalidSchema as error:
            raise self.adapter.error(request, "is neither http nor https", "Mend base_url.", terminal=True) from error


def session(
    ctx: SourceContext,
    *,
    limits: Limits | None = None,
    policy: Policy | None = None,
    credentials: Credentials | None = None,
) -> GuardedSession:
    """Build a session for a library that takes one.

    Its requests raise SourceError when they are given up; other statuses (404, 451 ...) come back as responses, and
    `refusal` turns one into a clear error.
    """
    # urllib3 logs every path with its query at DEBUG, and a query may hold a key
    logging.getLogger("urllib3").setLevel(logging.INFO)
    adapter = GuardedAdapter(
        ctx.source,
        limits=limits or Limits(),
        policy=policy or Policy(),
        credentials=credentials,
        replay_url=ctx.replay_url,
        wait=ctx.wait,
        asked=ctx.asked,
    )
    return GuardedSession(adapter)


def refusal(of: GuardedSession, response: requests.Response) -> SourceError:
    """Explain a status that asking again cannot help, in one sentence with a remedy."""
    status = response.status_code
    meaning, remedy = TERMINAL.get(status, ("refuses the request", "Check this source in pipelines.yaml."))
    said = preview(response.content, of.adapter.redact)
    reason = f"answered {status}: it {meaning}" + (f" ({said})" if said else "")
    return of.adapter.error(response.request, reason, remedy, terminal=True)


class HttpClient:
    """Asks one API for JSON. Thread safe."""

    def __init__(
        self,
        ctx: SourceContext,
        *,
        limits: Limits | None = None,
        policy: Policy | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.session = session(ctx, limits=limits, policy=policy, credentials=credentials)
        self.session.headers["User-Agent"] = "tickhouse"

    def __enter__(self) -> Self:
        """Use the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End waits of other threads and close connections."""
        self.session.adapter.stop()
        self.session.close()

    def send(self, request: requests.Request, *, weight: int = 1) -> requests.Response:
        """Send and return any answer that asking again cannot help. Raises SourceError."""
        try:
            prepared = self.session.prepare_request(request)
        except (requests.RequestException, ValueError) as error:
            reason = f"{urlsplit(str(request.url)).netloc} cannot be asked: {type(error).__name__}"
            remedy = "Check base_url, path and params."
            raise SourceError(self.session.adapter.source, reason, remedy, terminal=True) from error
        return self.session.send(prepared, weight=weight)

    def get_json(self, url: str, params: dict[str, Any] | None = None, *, weight: int = 1) -> Any:
        """GET and parse. Raises SourceError for every status from 400 on and for a body that is no JSON."""
        response = self.send(requests.Request("GET", url, params=params), weight=weight)
        if response.status_code >= CLIENT_ERROR:
            raise refusal(self.session, response)
        return self.json(response)

    def json(self, response: requests.Response) -> Any:
        """Parse a body exactly (see exact_json). Raises SourceError that shows its beginning."""
        try:
            return exact_json(response.content, self.session.adapter.redact)
        except BodyError as error:
            reason = f"answered {response.status_code} with {error}"
            remedy = (
                "The API or something before it is out of order: look at the address in a browser, run again later."
            )
            raise self.session.adapter.error(response.request, reason, remedy, terminal=False) from error
