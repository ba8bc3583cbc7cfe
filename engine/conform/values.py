"""Values of a payload, one by one: the rules themselves. The Arrow paths ask here whatever they are not sure of."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar

import pyarrow as pa

from engine.conform.arrow_types import ARROW_TYPES
from engine.conform.faults import NOT_A_NUMBER, Fault, MisfitError, NotANumberError
from engine.conform.json_text import checked_text, json_text, value_text
from engine.conform.times import to_date, to_timestamp
from engine.table import Column, DataType

FRACTION_DIGITS, WHOLE_DIGITS = 18, 20
TOO_FINE = f"a decimal with more than {FRACTION_DIGITS} fraction digits"
TOO_LARGE = f"a decimal with more than {WHOLE_DIGITS} digits before the point"
OUT_OF_64_BIT = "a number outside 64 bits"
NOT_WHOLE = "a fraction in a bigint column"
OUT_OF_DOUBLE = "a number that a double cannot hold"
MAX_NUMBER_CHARS = 1_000

_PLAIN = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_NOT_A_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_BOOLS: Mapping[str, bool] = {"true": True, "false": False, "1": True, "0": False}
_ZERO = Decimal(0)
_N = TypeVar("_N", float, Decimal)


@dataclass(frozen=True, slots=True)
class Typed:
    """A column's values as their Arrow type; NULL at every index of `faults` and `notes`.

    `faults` set their row aside; `notes` are numbers that are none (see NOT_A_NUMBER).
    """

    values: pa.Array | pa.ChunkedArray
    faults: Mapping[int, Fault] = field(default_factory=dict)
    notes: Mapping[int, Fault] = field(default_factory=dict)


def convert_values(values: Iterable[Any], column: Column, *, undeclared: bool = False) -> Typed:
    """Type Python values for a column. In an `undeclared` one a JSON number's digits past 18 places are cut."""
    convert = _to_cut_decimal if undeclared and column.data_type == "decimal" else _CONVERTERS[column.data_type]
    typed: list[Any] = []
    faults: dict[int, Fault] = {}
    notes: dict[int, Fault] = {}
    for index, value in enumerate(values):
        if value is None:
            typed.append(None)
            continue
        try:
            typed.append(convert(value, column))
        except NotANumberError:
            typed.append(None)
            notes[index] = Fault(column.name, NOT_A_NUMBER, value_text(value))
        except MisfitError as misfit:
            typed.append(None)
            faults[index] = Fault(column.name, str(misfit), value_text(value))
    return Typed(pa.array(typed, ARROW_TYPES[column.data_type]), faults, notes)


def infer(value: Any) -> DataType:
    """Return the data type of a column that nobody declared, from its first value."""
    match value:
        case bool():
            return "bool"
        case int() | float() | Decimal():
            return "decimal"
        case datetime():
            return "timestamp" if value.tzinfo is not None else "text"
        case date():
            return "date"
        case dict() | list() | tuple():
            return "json"
    return "text"


def to_text(value: Any, _: Column) -> str:  # noqa: PLR0911 - one line a type
    """Return text in NFC; a number or a date as it is written, never a boolean or a nested value."""
    match value:
        case str():
            return checked_text(value)
        case bool():
            raise MisfitError("a boolean in a text column")
        case int():
            return str(Decimal(value))
        case float():
            return repr(_finite(float(value)))
        case Decimal():
            return str(_finite(value))
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date() | time():
            return value.isoformat()
        case bytes():
            return _utf8(value)
    raise MisfitError(f"{_kind(value)} in a text column")


def to_decimal(value: Any, _: Column) -> Decimal | None:
    """Return an exact decimal of at most 20 digits before and 18 after the point."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return Decimal(value)
    number = _number(value, "decimal")
    return None if number is None else _fitted(number, cut=isinstance(value, float))


def _to_cut_decimal(value: Any, column: Column) -> Decimal | None:
    """As to_decimal; a number finer than 18 places is some program's double, and no reason to lose a row."""
    if isinstance(value, Decimal):
        return _fitted(_finite(value), cut=True)
    return to_decimal(value, column)


def to_bigint(value: Any, _: Column) -> int | None:
    """Return a whole number of 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool):
        whole = int(value)
    elif isinstance(value, float):
        if not _finite(float(value)).is_integer():
            raise MisfitError(NOT_WHOLE)
        whole = int(value)
    else:
        number = _number(value, "bigint")
        if number is None:
            return None
        if number and number.adjusted() > WHOLE_DIGITS:
            raise MisfitError(OUT_OF_64_BIT)
        if number and (number.adjusted() < 0 or number != (whole := int(number))):
            raise MisfitError(NOT_WHOLE)
        whole = int(number) if number else 0
    if not -(2**63) <= whole < 2**63:
        raise MisfitError(OUT_OF_64_BIT)
    return whole


def to_double(value: Any, _: Column) -> float | None:
    """Return the nearest double; an int must survive exactly. Negative zero is zero."""
    if isinstance(value, float):
        return _finite(float(value)) + 0.0
    number = _number(value, "double")
    if number is None:
        return None
    nearest = float(number)
    if math.isinf(nearest) or (isinstance(value, int) and int(nearest) != value):
        raise MisfitError(OUT_OF_DOUBLE)
    return nearest + 0.0


def to_bool(value: Any, _: Column) -> bool | None:
    """Return a boolean: true, false, 1 or 0, as such or as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip(" ")
        if not text:
            return None
        value = _BOOLS.get(text.lower(), text)
    if isinstance(value, int | float | Decimal) and value in {0, 1}:
        return bool(value)
    raise MisfitError("neither true nor false, 1 nor 0")


def to_json(value: Any, _: Column) -> str | None:
    """Return JSON text. Text that is a JSON object or array already stays as written, other text becomes a string."""
    if not isinstance(value, str):
        return json_text(value)
    text = value.strip(" ")
    if not text:
        return None
    if text[0] in "{[" and _is_json(text):
        return checked_text(text)
    return json_text(value)


def _is_json(text: str) -> bool:
    """Whether the text is strict JSON. Raises MisfitError where its escapes stand for unstorable text."""
    try:
        nested = json.loads(text, parse_float=str, parse_int=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    if "\\u" in text:
        todo = [nested]
        while todo:
            item = todo.pop()
            if isinstance(item, str):
                checked_text(item)
            elif isinstance(item, dict):
                todo.extend(item)
                todo.extend(item.values())
            elif isinstance(item, list):
                todo.extend(item)
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _number(value: Any, data_type: DataType) -> Decimal | None:
    if isinstance(value, str):
        text = value.strip(" ")
        if not text:
            return None
        if _NOT_A_NUMBER.fullmatch(text):
            raise NotANumberError
        if len(text) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
            raise MisfitError(f"text that is no number in a {data_type} column")
        return Decimal(text)
    if isinstance(value, bool):
        raise MisfitError(f"a boolean in a {data_type} column")
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(_finite(float(value))))
    if isinstance(value, Decimal):
        return _finite(value)
    raise MisfitError(f"{_kind(value)} in a {data_type} column")


def _fitted(number: Decimal, *, cut: bool) -> Decimal:
    """The number with at most 18 places; a float's further digits are noise and `cut`."""
    if not number:
        return _ZERO
    if number.adjusted() >= WHOLE_DIGITS:
        raise MisfitError(TOO_LARGE)
    sign, digits, exponent = number.as_tuple()
    extra = -FRACTION_DIGITS - int(exponent)
    if extra <= 0:
        return number
    if not cut and any(digits[-extra:]):
        raise MisfitError(TOO_FINE)
    kept = Decimal((sign, digits[:-extra], -FRACTION_DIGITS))
    return kept or _ZERO


def _finite(number: _N) -> _N:
    # math.isfinite turns a decimal into a float first, and 1e400 into infinity
    if not (number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)):
        raise NotANumberError
    return number


def _utf8(value: bytes) -> str:
    try:
        return checked_text(value.decode())
    except UnicodeDecodeError:
        raise MisfitError("bytes that are not UTF-8 text") from None


def _kind(value: Any) -> str:
    return "a nested value" if isinstance(value, dict | list | tuple) else f"a value of type {type(value).__name__}"


_CONVERTERS: Mapping[DataType, Callable[[Any, Column], Any]] = {
    "text": to_text,
    "bigint": to_bigint,
    "double": to_double,
    "decimal": to_decimal,
    "bool": to_bool,
    "date": to_date,
    "timestamp": to_timestamp,
    "json": to_json,
}
