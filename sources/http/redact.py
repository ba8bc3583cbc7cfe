"""Takes secrets out of texts that people read."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, quote_plus

SHORTEST = 4
"""Shorter values are not secrets, and replacing them would garble messages."""


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret, plain and as a URL writes it."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(form, "***")
    return text
