"""What an unquoted YAML scalar is: YAML 1.2's words, not 1.1's (`no` and `on` are text, 1_000 and 12:30 too)."""

from __future__ import annotations

import math
import re

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})\Z")
DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})?(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?\Z")


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Resolve an unquoted scalar: null, true, false, a decimal number, else text."""
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if INTEGER.match(text):
        return int(text)
    if any(digit in text for digit in "0123456789") and DECIMAL.match(text):
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    return text
