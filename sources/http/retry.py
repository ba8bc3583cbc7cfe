"""Which answers are asked for again, after how long, and what a person is told about those that are not."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOO_MANY = 429
BANNED = 418
SERVER_ERROR = 500

TERMINAL: Mapping[int, tuple[str, str]] = {
    400: ("does not understand the request", "Check the parameters of this resource in pipelines.yaml."),
    401: ("refuses the credentials", "Check that the key of this source is set, valid and of the right plan."),
    403: ("forbids this request", "Check that the key's plan covers this endpoint, and that this address is allowed."),
    404: ("knows nothing at this address", "Check base_url, path and symbols of this resource in pipelines.yaml."),
    410: ("has withdrawn this address", "The API has moved: look up its present address."),
    422: ("refuses the parameters", "Check the parameters of this resource in pipelines.yaml."),
    451: (
        "refuses your region for legal reasons",
        "Use a host that serves it: for Binance, base_url https://data-api.binance.vision/api/v3.",
    ),
}
"""Status -> (what it means, what to do). Asking again cannot help."""


def is_transient(status: int) -> bool:
    """Whether asking again may help."""
    return status in {TOO_MANY, BANNED, 408, 425} or status >= SERVER_ERROR


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; None where it says nothing readable.

    A date is compared with the response's own Date: the local clock may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _until(text, headers.get("Date", ""))
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(text: str, sent: str) -> float | None:
    moment = _http_date(text)
    if moment is None:
        return None
    return max((moment - (_http_date(sent) or datetime.now(UTC))).total_seconds(), 0.0)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def pause(attempt: int, asked: float | None, backoff: float) -> float:
    """Seconds before the next try, `attempt` counting from 1.

    Never less than the server asks. `Retry-After: 0` means at once, but only the first time: a server that repeats
    it would otherwise see every try within a second.
    """
    jittered: float = backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    if asked is None:
        return jittered
    return asked if attempt == 1 else max(asked, jittered)
