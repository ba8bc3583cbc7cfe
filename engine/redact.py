"""Keeps secrets out of everything a person or a machine reads, and upstream's control characters off the terminal."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""A shorter value is not hidden: it would mask ordinary text, and it is no secret worth the name."""
FIELD = re.compile("[a-z_]+")
"""What the keys of our own documents look like."""
ENCODED = 8
"""From this length on a secret is also looked for in base64 and hex."""


def visible(text: str) -> str:
    """Return text on one line with control, bidi and other invisible characters written out, never obeyed.

    Names and messages come from upstream: they must not move the cursor, turn the reading direction or forge a line.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Redactor:
    """Replaces every form of the secrets (plain, URL-quoted, JSON-escaped, base64, hex) by `***`."""

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
            if len(secret) >= ENCODED:
                forms |= _encoded(secret.encode())
        self._forms = sorted(forms, key=len, reverse=True)

    def tree(self, value: Any) -> Any:
        """Return a JSON value without any secret in its texts and keys.

        A key that is a word of ours stays, as a document's reader expects it: `${NAME}` may be any word, `rows` too.
        """
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self._key(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value

    def _key(self, key: Any) -> Any:
        return key if not isinstance(key, str) or FIELD.fullmatch(key) else self(key)

    def __call__(self, text: str) -> str:
        """Return the text without any secret."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


def _encoded(secret: bytes) -> set[str]:
    """Hex, and base64 wherever the secret may stand in what was encoded (`user:secret`)."""
    forms = {secret.hex(), secret.hex().upper()}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * before + secret).decode().rstrip("=")
            # the first and last characters mix with their neighbours' bits
            forms.add(whole[-(-before * 4 // 3) if before else 0 : -1])
    return forms
