"""Placeholders in paths, parameters and values: a closed list, checked while the file is validated.

{assets.LIST.COLUMN}   the assets' symbols, joined by a comma; |json as a JSON list; |plus joined by a plain +
{each}                 the symbol of the asset that this call is about; |lower, |upper
{VARIANT}              the value of one of the resource's `vary` lists
{cursor}               where to go on; {window.start} and {window.end} while backfilling; {now}
                       |ms, |s, |us, |iso, |date: how a time is written
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

TOKEN = re.compile(r"\{\{|\}\}|\{([^{}|]*)(?:\|([^{}]*))?\}")
REFERENCE = re.compile(r"assets\.([^.{}|]+)\.([^.{}|]+)\Z")
TIMES = ("cursor", "window.start", "window.end", "now")
TIME_FORMS = ("ms", "s", "us", "iso", "date")
LIST_FORMS = ("json", "plus")
TEXT_FORMS = ("lower", "upper")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Encoded(str):
    """Text that is already written as a query wants it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Placeholder:
    """{name|form}."""

    name: str
    form: str = ""

    @property
    def asset_reference(self) -> tuple[str, str] | None:
        """(list, column) of {assets.LIST.COLUMN}."""
        return asset_reference(self.name)


def asset_reference(text: str) -> tuple[str, str] | None:
    """Read assets.LIST.COLUMN into (list, column); None for anything else."""
    found = REFERENCE.match(text)
    return (found[1], found[2]) if found else None


@dataclass(frozen=True, slots=True)
class Values:
    """What placeholders stand for in one request. Instants are microseconds since 1970 (UTC)."""

    symbols: Sequence[str] = ()
    each: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    cursor: int | str | None = None
    cursor_is_time: bool = False
    window_start: int | None = None
    window_end: int | None = None
    now: int | None = None


def placeholders(text: str, variants: Collection[str] = ()) -> list[Placeholder]:
    """Return the placeholders of a text. Raises ValueError for one that does not exist."""
    return [part for part in _parts(text, variants) if isinstance(part, Placeholder)]


def _parts(text: str, variants: Collection[str]) -> Iterator[str | Placeholder]:
    at = 0
    for found in TOKEN.finditer(text):
        yield text[at : found.start()]
        at = found.end()
        if found[0] in {"{{", "}}"}:
            yield found[0][0]
        else:
            yield _checked(Placeholder(found[1].strip(), (found[2] or "").strip()), variants)
    yield text[at:]


def _checked(placeholder: Placeholder, variants: Collection[str]) -> Placeholder:
    if placeholder.asset_reference:
        forms: Collection[str] = LIST_FORMS
    elif placeholder.name in TIMES:
        forms = TIME_FORMS
    elif placeholder.name == "each" or placeholder.name in variants:
        forms = TEXT_FORMS
    else:
        known = ["{assets.LIST.COLUMN}", "{each}", *(f"{{{name}}}" for name in (*variants, *TIMES))]
        raise ValueError(f"there is no placeholder {{{placeholder.name[:60]}}}\nKnown here: {', '.join(known)}.")
    if placeholder.form and placeholder.form not in forms:
        known = [f"|{form}" for form in forms]
        raise ValueError(f"{{{placeholder.name}}} cannot be written as |{placeholder.form}\nKnown: {', '.join(known)}.")
    return placeholder


def fill(text: str, values: Values) -> str | None:
    """Fill a text in. None: it names a time that this request does not have, so the parameter is left out."""
    filled: list[str] = []
    for part in _parts(text, values.variants):
        value = _value(part, values) if isinstance(part, Placeholder) else part
        if value is None:
            return None
        filled.append(value)
    if any(isinstance(part, Encoded) for part in filled):
        return Encoded("".join(part if isinstance(part, Encoded) else quote(part, safe="") for part in filled))
    return "".join(filled)


def _value(placeholder: Placeholder, values: Values) -> str | None:
    name, form = placeholder.name, placeholder.form
    if placeholder.asset_reference:
        if form == "plus":
            return Encoded("+".join(quote(symbol, safe="") for symbol in values.symbols))
        return json.dumps(list(values.symbols), separators=(",", ":")) if form == "json" else ",".join(values.symbols)
    if name == "cursor" and not values.cursor_is_time:
        return None if values.cursor is None else str(values.cursor)
    if name in TIMES:
        moment = {
            "cursor": values.cursor,
            "window.start": values.window_start,
            "window.end": values.window_end,
            "now": values.now,
        }[name]
        return None if moment is None else _time(int(moment), form)
    text = values.each if name == "each" else values.variants[name]
    return text.upper() if form == "upper" else text.lower() if form == "lower" else text


def _time(micros: int, form: str) -> str:
    if form == "us":
        return str(micros)
    if form == "ms":
        return str(micros // 1000)
    if form == "s":
        return str(micros // 1_000_000)
    moment = EPOCH + timedelta(microseconds=micros)
    return moment.date().isoformat() if form == "date" else moment.isoformat().replace("+00:00", "Z")
