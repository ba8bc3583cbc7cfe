"""Keeps secrets out of everything a person or a machine reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""A secret shorter than this would mask ordinary text; it is masked only where it stands alone."""


class Redactor:
    """Replaces every planted form of the secrets (plain, URL-quoted, JSON-escaped) by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the resolved values of ${...} in the configuration."""
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                forms |= {
                    secret,
                    quote(secret, safe=""),
                    quote_plus(secret),
                    json.dumps(secret)[1:-1],
                    repr(secret)[1:-1],
                }
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without any secret."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text
