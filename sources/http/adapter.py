"""The transport below a requests session: tokens, tries, bounds, the guard, credentials and the market replay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from engine.errors import SourceError
from engine.redact import Redactor
from sources.http.deadline import Deadline
from sources.http.guard import Guard, guarded_pools
from sources.http.limits import Bucket, bucket_of
from sources.http.policy import MIB, Credentials, Limits, Policy
from sources.http.retry import BANNED, TOO_MANY, is_transient, pause, retry_after

CHUNK = 65536
REPORTED = 0.2
"""Waits shorter than this many seconds are not worth a line."""
SLICE = 5.0
"""Seconds after which a wait is reported again: a run that was told to stop stops a long wait there."""
SHORTEST_TRY = 5.0
"""Seconds that even the last try of a spent budget has: a shorter one would hide why the others failed."""
MEMORY = 60.0
"""For so many seconds a host that was given up is tried once a request, not five times."""


class _Failed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: str, *, transient: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient


class GuardedAdapter(HTTPAdapter):
    """Sends a request within its policy.

    Raises SourceError when it gives up; a status that asking again cannot help is returned as it is.
    """

    def __init__(
        self,
        source: str,
        *,
        limits: Limits,
        policy: Policy,
        credentials: Credentials | None = None,
        replay_url: str | None = None,
        wait: Callable[[float, str], None] | None = None,
        asked: Callable[[bool], None] = lambda _again: None,
    ) -> None:
        self.source = source
        self.asked = asked
        self.limits = limits
        self.policy = policy
        self.credentials = credentials
        self.replay_url = replay_url.rstrip("/") if replay_url else None
        self.redact = Redactor(credentials.secrets if credentials else ())
        self.stopped = threading.Event()
        self._live: set[Deadline] = set()
        self._report = wait
        self._report_lock = threading.Lock()
        exempt = frozenset({_host_and_port(replay_url)}) if replay_url else frozenset()
        self._guard = Guard(source, allow_private=policy.allow_private, exempt=exempt)
        super().__init__(pool_maxsize=8)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make every connection pass the guard."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = guarded_pools(self._guard)

    def send(  # type: ignore[override]
        self,
        request: requests.PreparedRequest,
        *,
        weight: int = 1,
        **_: Any,
    ) -> requests.Response:
        """Send, and read the whole body within its bounds. `weight` is what the call costs."""
        call = _Call(self, request, weight)
        while True:
            answer = call.once()
            if answer is not None:
                return answer

    def attempt(self, request: requests.PreparedRequest, seconds: float) -> requests.Response:
        """Make one try. Raises _Failed."""
        wire = self._on_the_wire(request)
        proxies = self._proxies(wire)
        timeout = (min(self.policy.connect_timeout, seconds), min(self.policy.read_timeout, seconds))
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        with Deadline(seconds) as deadline, self._counted(deadline):
            try:
                response = super().send(wire, stream=True, timeout=timeout, verify=verify, proxies=proxies)
                response._content = self._body(response, deadline)  # noqa: SLF001 - read here, so that it is bounded
                response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
            except (requests.RequestException, HTTPError, OSError) as error:
                if deadline.expired:
                    raise _Failed(f"did not finish its answer within {seconds:.1f} s") from error
                raise _explained(error) from error
        response.url, response.request = str(request.url), request
        return response

    def stop(self) -> None:
        """End every wait and every answer of other threads: the run is over."""
        self.stopped.set()
        for deadline in list(self._live):
            deadline.cut()

    @contextmanager
    def _counted(self, deadline: Deadline) -> Iterator[None]:
        self._live.add(deadline)
        try:
            yield
        finally:
            self._live.discard(deadline)

    def _body(self, response: requests.Response, deadline: Deadline) -> bytes:
        chunks, size = [], 0
        for chunk in response.raw.stream(CHUNK, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > self.policy.max_body:
                response.raw.close()
                raise _Failed(f"sent more than {self.policy.max_body / MIB:g} MiB", transient=False)
        if deadline.expired:
            raise _Failed(f"did not finish its answer within {deadline.seconds:.1f} s")
        return b"".join(chunks)

    def _on_the_wire(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Copy the request, with what only the server may see, addressed to the replay if there is one."""
        wire = request.copy()
        wire.headers["Accept-Encoding"] = "gzip, deflate"
        parts = urlsplit(str(request.url))
        if self.credentials is not None and parts.netloc.lower() == self.credentials.host:
            wire.headers.update(self.credentials.headers)
            if self.credentials.params:
                wire.prepare_url(wire.url, self.credentials.params)
        if self.replay_url:
            wire.url = (
                f"{self.replay_url}/{parts.netloc}{urlsplit(str(wire.url))._replace(scheme='', netloc='').geturl()}"
            )
        return wire

    def _proxies(self, wire: requests.PreparedRequest) -> dict[str, str]:
        host, port = _host_and_port(str(wire.url))
        if (host, port) in self._guard.exempt or self.policy.allow_private:
            return {}
        proxies = dict(get_environ_proxies(str(wire.url), no_proxy=None))
        if proxies and not self._guard.allows_literal(host):
            raise self._guard.refusal(host, host)
        return proxies

    def bucket(self, request: requests.PreparedRequest) -> Bucket:
        """Return the bucket of the host; the market replay has buckets of its own."""
        host = urlsplit(str(request.url)).netloc.lower()
        return bucket_of(f"{self.replay_url or ''}|{host}", self.limits.per_minute)

    def error(self, request: requests.PreparedRequest, reason: str, remedy: str, *, terminal: bool) -> SourceError:
        """Name the address (never its query, which may hold a key), then the reason."""
        parts = urlsplit(str(request.url))
        place = self.redact(f"{parts.netloc.rpartition('@')[2]}{parts.path}"[:200])
        return SourceError(self.source, f"{place} {self.redact(reason)}", remedy, terminal=terminal)

    def sleep(self, request: requests.PreparedRequest, seconds: float, why: str) -> None:
        """Wait, saying so every few seconds (where the run may object); ends at once when the client closes."""
        left = seconds
        while left > 0:
            part = min(left, SLICE)
            if self._report is not None and seconds >= REPORTED:
                rest = f", {left:.0f} s to go" if left > SLICE else ""
                with self._report_lock:
                    self._report(part, f"{why}{rest}")
            if self.stopped.wait(part):
                raise self.error(request, "was not asked again: the run is ending", "", terminal=False)
            left -= part


class _Call:
    """One request and its tries."""

    def __init__(self, adapter: GuardedAdapter, request: requests.PreparedRequest, weight: int) -> None:
        self.adapter, self.request, self.weight = adapter, request, weight
        self.bucket = adapter.bucket(request)
        self.host = urlsplit(str(request.url)).hostname or ""
        self.tries, self.spent = 0, 0.0
        gave_up = self.bucket.gave_up_at
        weary = gave_up is not None and time.monotonic() - gave_up < MEMORY
        self.most = 1 if weary else adapter.policy.tries
        self.budget = adapter.policy.budget / 4 if weary else adapter.policy.budget

    def once(self) -> requests.Response | None:
        """Try once. None: ask again, the wait is over."""
        self._take_tokens()
        if self.adapter.stopped.is_set():
            raise self.adapter.error(self.request, "was not asked: the run is ending", "", terminal=False)
        self.tries += 1
        self.adapter.asked(self.tries > 1)
        began = time.monotonic()
        seconds = min(self.adapter.policy.deadline, max(self.budget - self.spent, SHORTEST_TRY))
        try:
            response = self.adapter.attempt(self.request, seconds)
        except _Failed as failed:
            self.spent += time.monotonic() - began
            if not failed.transient:
                raise self.adapter.error(self.request, failed.reason, _HELP_BROKEN, terminal=True) from failed
            self._again(failed.reason, None, failed)
            return None
        self.spent += time.monotonic() - began
        self._note_used(response)
        if not is_transient(response.status_code):
            self.bucket.gave_up_at = None
            return response
        asked = retry_after(response.headers)
        if response.status_code == BANNED and asked is None:
            reason = "answered 418: this address is banned for ignoring rate limits"
            raise self.adapter.error(
                self.request, reason, "Wait until the ban ends, then lower `limits`.", terminal=True
            )
        self._again(f"answered {response.status_code}", asked, None, limited=response.status_code in {TOO_MANY, BANNED})
        return None

    def _take_tokens(self) -> None:
        while seconds := self.bucket.reserve(self.weight):
            blocked = self.bucket.blocked()
            if blocked > self.budget:
                raise self._gives_up(f"asked to be left alone for {blocked:.0f} s", blocked)
            why = "asked to wait" if blocked else f"allows {self.bucket.per_minute} a minute"
            self.adapter.sleep(self.request, seconds, f"{self.host} {why}")

    def _again(self, reason: str, asked: float | None, cause: Exception | None, *, limited: bool = False) -> None:
        delay = pause(self.tries, asked, self.adapter.policy.backoff)
        if asked is not None and self.spent + delay > self.budget:
            self.bucket.block(asked)
            raise self._gives_up(f"{reason} and asks to wait {asked:.0f} s", asked) from cause
        if self.tries >= self.most or self.spent + delay > self.budget:
            self.bucket.gave_up_at = time.monotonic()
            times = "once" if self.tries == 1 else f"{self.tries} times"
            reason = f"{reason} ({times} within {self.spent:.0f} s)"
            raise self.adapter.error(self.request, reason, _HELP_LATER, terminal=False) from cause
        self.spent += delay
        if limited:
            self.bucket.block(delay)
        else:
            self.adapter.sleep(self.request, delay, f"{self.host} {reason}")

    def _gives_up(self, reason: str, asked: float) -> SourceError:
        reason = f"{reason}; a request waits {self.budget:.0f} s at most"
        remedy = f"Run again in {max(round(asked / 60), 1)} minutes; what was landed before stays."
        return self.adapter.error(self.request, reason, remedy, terminal=False)

    def _note_used(self, response: requests.Response) -> None:
        name = self.adapter.limits.used_header
        used = response.headers.get(name, "") if name else ""
        if used.isdecimal():
            self.bucket.observe(int(used[:9]))


_HELP_LATER = "Run again later; what was landed before stays."
_HELP_BROKEN = "Check base_url and path of this resource in pipelines.yaml."


_BROKEN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("SSLError", "CertificateError"), "has no certificate that this machine trusts, or the TLS connection broke"),
    (("ConnectTimeout",), "cannot be connected to (timeout)"),
    (("ReadTimeout", "Read timed out", "TimeoutError"), "stopped answering (timeout)"),
    (("NameResolution", "Failed to resolve"), "has a name that cannot be resolved: no network, or a misspelt host"),
    (("NewConnection", "refused"), "refuses the connection"),
    (("Decode", "Decoding"), "sent a body whose compression is broken"),
)
"""What the text of an error below HTTP contains, and the plain words for it."""


def _explained(error: Exception) -> _Failed:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return _Failed("is not an address that can be asked", transient=False)
    text = f"{type(error).__name__} {error}"
    for needles, words in _BROKEN:
        if any(needle in text for needle in needles):
            return _Failed(words)
    return _Failed("broke the connection off")


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
