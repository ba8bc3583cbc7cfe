"""JSON text of nested values and of rows: compact, keys in order, decimals exact, any depth.

The standard encoder writes neither Decimal nor deep nesting, so this one walks with a stack of its own.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from engine.conform.faults import CUT_ROW, CUT_VALUE, MAX_TEXT_BYTES, MisfitError

NUL = "text with a NUL character"
SURROGATE = "text with a lone surrogate"
TOO_LONG = "text longer than 16 MB"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class _Piece(str):
    """Finished JSON text, told apart from a text value still to be written."""

    __slots__ = ()


def checked_text(text: str) -> str:
    """Return the text in NFC. Raises MisfitError for what not every destination stores."""
    if text.isascii():
        if "\0" in text:
            raise MisfitError(NUL)
    else:
        if found := _UNSTORABLE.search(text):
            raise MisfitError(NUL if found[0] == "\0" else SURROGATE)
        text = unicodedata.normalize("NFC", text)
    if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
        raise MisfitError(TOO_LONG)
    return text


def json_text(value: Any) -> str:
    """Return the JSON text of a value for a json column. NaN and infinities inside are written as texts.

    Raises MisfitError for text that not every destination stores and for types that JSON does not know.
    """
    parts: list[str] = []
    size = 0
    for part in _pieces(value, strict=True):
        parts.append(part)
        size += len(part)
        if size > MAX_TEXT_BYTES:
            break
    text = "".join(parts)
    if size * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
        raise MisfitError(TOO_LONG)
    return text


def row_text(fields: Iterable[tuple[Any, Any]]) -> str:
    """Return a whole row as JSON for the quarantine: never raises, unstorable text escaped, cut with a marker."""
    return _cut(_pieces(_Pairs(fields), strict=False), CUT_ROW)


def value_text(value: Any) -> str:
    """Return a value's text for the quarantine: never raises, unstorable text escaped, cut with a marker."""
    if isinstance(value, str):
        return _cut(iter((_escaped(value[: CUT_VALUE + 1]),)), CUT_VALUE)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float | Decimal):
        return _cut(iter((str(value),)), CUT_VALUE)
    return _cut(_pieces(value, strict=False), CUT_VALUE)


class _End(_Piece):
    """The closing bracket of a container, which from here on may come again."""

    __slots__ = ("container",)
    container: int

    @staticmethod
    def of(bracket: str, item: object) -> _End:
        """Return the end of this container."""
        end = _End(bracket)
        end.container = id(item)
        return end


class _Pairs(tuple[Any, ...]):
    """The fields of a row, perhaps with one name twice: written as an object all the same."""

    __slots__ = ()


def _cut(parts: Iterator[str], limit: int) -> str:
    kept: list[str] = []
    size = 0
    for part in parts:
        kept.append(part)
        size += len(part)
        if size > limit:
            return "".join(kept)[:limit] + f"... (cut at {limit:,} characters)"
    return "".join(kept)


def _escaped(text: str) -> str:
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _pieces(value: Any, *, strict: bool) -> Iterator[str]:
    todo: list[Any] = [value]
    within: set[int] = set()
    while todo:
        item = todo.pop()
        if isinstance(item, _Piece):
            if isinstance(item, _End):
                within.discard(item.container)
            yield item
        elif not isinstance(item, dict | list | tuple):
            yield _scalar(item, strict=strict)
        elif id(item) in within:
            if strict:
                raise MisfitError("a nested value that contains itself")
            yield '"..."'
        else:
            within.add(id(item))
            if isinstance(item, dict | _Pairs):
                todo.append(_End.of("}", item))
                todo.extend(reversed(list(_object(item, strict=strict))))
            else:
                todo.append(_End.of("]", item))
                todo.extend(reversed(list(_array(item))))


def _array(items: Sequence[Any]) -> Iterator[Any]:
    yield _Piece("[")
    for index, item in enumerate(items):
        if index:
            yield _Piece(",")
        yield item


def _object(item: dict[Any, Any] | _Pairs, *, strict: bool) -> Iterator[Any]:
    yield _Piece("{")
    seen: set[str] = set()
    pairs = item.items() if isinstance(item, dict) else item
    for index, (key, value) in enumerate(pairs):
        name = key if isinstance(key, str) else str(key)
        if strict:
            name = checked_text(name)
            if name in seen:
                raise MisfitError("two keys of a nested value that become one")
            seen.add(name)
        yield _Piece(("," if index else "") + _string(name, strict=strict) + ":")
        yield value


def _scalar(value: Any, *, strict: bool) -> str:  # noqa: PLR0911 - one line a type
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value, strict=strict)
        case int():
            return str(Decimal(value))  # the text of a long int is refused, that of a Decimal is not
        case float():
            return repr(float(value)) if math.isfinite(value) else f'"{value}"'
        case Decimal():
            return str(value) if value.is_finite() else f'"{value}"'
        case datetime() | date() | time():
            return f'"{value.isoformat()}"'
        case bytes():
            return _bytes(value, strict=strict)
    if strict:
        raise MisfitError(f"a value of type {type(value).__name__}")
    return _string(str(value), strict=False)


def _string(text: str, *, strict: bool) -> str:
    if strict:
        return json.dumps(checked_text(text), ensure_ascii=False)
    return json.dumps(text, ensure_ascii=_UNSTORABLE.search(text) is not None)


def _bytes(value: bytes, *, strict: bool) -> str:
    try:
        return _string(value.decode(), strict=strict)
    except UnicodeDecodeError:
        if strict:
            raise MisfitError("bytes that are not UTF-8 text") from None
    return _string(value.decode(errors="backslashreplace"), strict=False)
