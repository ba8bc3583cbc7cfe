"""The two HTTP sessions below yfinance, within the bounds that every source keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sources.http.client import session
from sources.http.policy import MIB, Limits, Policy
from sources.protocol import SourceContext
from sources.yfinance.settings import YfinanceClient
from sources.yfinance.yahoo import YahooSession

CONSENT_HOSTS = ("guce.yahoo.com", "consent.yahoo.com", "fc.yahoo.com", "finance.yahoo.com", "www.yahoo.com")
"""Where Yahoo sends a visitor on whose country asks for consent."""
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
"""Yahoo answers 429 to a client that does not look like a browser."""


@contextmanager
def open_session(ctx: SourceContext, client: YfinanceClient) -> Iterator[YahooSession]:
    """Open the session for one resource of one run. Waiting threads end when it closes."""
    limits = Limits(per_minute=None if ctx.replay_url else client.limits.per_minute)
    policy = Policy(read_timeout=client.timeout, max_body=16 * MIB, redirect_hosts=CONSENT_HOSTS)
    patient = session(ctx, limits=limits, policy=policy)
    errands = session(ctx, limits=limits, policy=replace(policy, tries=1, budget=client.timeout))
    for each in (patient, errands):
        each.headers["User-Agent"] = BROWSER
    try:
        yield YahooSession(patient, errands)
    finally:
        for each in (patient, errands):
            each.adapter.stopped.set()
            each.close()
