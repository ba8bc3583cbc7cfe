"""Reads JSON exactly: no number passes through a float, and what JSON forbids but servers send does not stop a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

SHOWN = 80
PREFIX = 65536
"""Bytes that are searched for secrets before 80 characters are shown: a secret cut in two would not be found."""
LONGEST_INT = 1000
"""Digits. Python refuses to read much longer integers; beyond this they are read as decimals."""


class BodyError(ValueError):
    """The body is no JSON. The message says what it is instead."""


def exact_json(body: bytes, redact: Callable[[str], str] = str) -> Any:
    """Parse a body: int, Decimal, str, bool, None, list, dict.

    NaN and Infinity become their own text, numbers beyond every decimal stay text, lone surrogates stay in the text:
    the typing step decides about them. Raises BodyError.
    """
    if not body.strip():
        raise BodyError("an empty body")
    try:
        return json.loads(body, parse_float=_decimal, parse_int=_int, parse_constant=str)
    except UnicodeDecodeError:
        raise BodyError(f"a body that is not UTF-8: {preview(body, redact)}") from None
    except RecursionError:
        raise BodyError(f"JSON nested too deeply: {preview(body, redact)}") from None
    except ValueError as error:
        raise BodyError(f"{_kind(body, error)}: {preview(body, redact)}") from None


def _kind(body: bytes, error: ValueError) -> str:
    start = body.lstrip()[:1]
    if start == b"<":
        return "an HTML page where JSON was expected"
    if start in {b"[", b"{"} and isinstance(error, json.JSONDecodeError):
        return f"JSON that is broken off or malformed after {error.pos} characters"
    return "no JSON"


def preview(body: bytes, redact: Callable[[str], str] = str) -> str:
    """Return the first 80 printable characters, without secrets."""
    text = redact(body[:PREFIX].decode("utf-8", "replace"))
    return "".join(each for each in " ".join(text.split()) if each.isprintable())[:SHOWN]


def _decimal(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _int(text: str) -> int | Decimal:
    return int(text) if len(text) < LONGEST_INT else Decimal(text)
