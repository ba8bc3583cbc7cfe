"""Shapes an answer's rows: declared columns first, every other field beside them under a column's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.conform.names import payload_name
from engine.errors import SourceError
from sources.protocol import Asset
from sources.rest.settings import RestColumn, RestResource
from sources.rest.templates import Values, fill

Row = dict[str, Any]
MISSING = object()
ASCII_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
ASCII_LOWER = {value: key for key, value in ASCII_UPPER.items()}
TAKEN = "_raw"
"""Ends the name of an undeclared field that a declared column has taken."""
UNEXPECTED = "unexpected"
"""Holds a row that is no object, so that the typing step decides about it."""


class Shaper:
    """Turns raw rows of one resource into rows of its table."""

    def __init__(self, settings: RestResource, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self._tell = tell
        self._told: set[str] = set()
        self._layouts: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        sources = (_field_of(name, column) for name, column in settings.columns.items())
        self._consumed = {source for source in sources if source is not None}

    def shape(self, rows: Sequence[Any], values: Values, asset_of: Callable[[Any], Asset | None]) -> list[Row]:
        """Return the table's rows. Values are as sent: text, int, Decimal, bool, None, nested lists and objects."""
        columns = self.settings.columns.items()
        constants = {name: _filled(column.value, values) for name, column in columns}
        sources = {column.source for _, column in columns if isinstance(column.source, str) and "{" in column.source}
        given = {source: fill(source, values) for source in sources}
        fields = [{**_fields(row), **given} if given else _fields(row) for row in rows]
        shaped = [self._row(row, constants, asset_of(row)) for row in fields]
        self._tell_missing(fields)
        return shaped

    def _row(self, row: Mapping[str, Any], constants: Mapping[str, Any], asset: Asset | None) -> Row:
        shaped: Row = {
            name: _column_value(name, column, row, constants[name], asset)
            for name, column in self.settings.columns.items()
        }
        as_text = self.settings.numbers == "text"
        for field, name in self._layout(tuple(row)):
            value = row[field]
            shaped[name] = str(value) if as_text and type(value) in {int, Decimal} else value
        return shaped

    def _layout(self, fields: tuple[str, ...]) -> list[tuple[str, str]]:
        """(field, column) of the undeclared fields. Two that meet in one name keep their own."""
        if fields not in self._layouts:
            arrays = self.settings.rows == "arrays"
            names = {
                field: f"field_{field}" if arrays and field.isdecimal() else payload_name(field)
                for field in fields
                if field not in self._consumed
            }
            times = Counter(names.values())
            declared = self.settings.columns
            self._layouts[fields] = [
                (field, field if times[name] > 1 else f"{name}{TAKEN}" if name in declared else name)
                for field, name in names.items()
            ]
        return self._layouts[fields]

    def _tell_missing(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say once that a declared field is in no row: the API has renamed or dropped it."""
        for name, column in self.settings.columns.items():
            field = _field_of(name, column)
            if field is None or column.optional or name in self._told or not rows:
                continue
            if all(_lookup(row, field) is MISSING for row in rows):
                self._told.add(name)
                self._tell(
                    f"the field {field!r} (column {name}) is in none of {len(rows)} rows: has the API renamed it?"
                )


def select(settings: RestResource, body: Any, complain: Callable[[str], SourceError]) -> list[Any]:
    """Find the rows in a body. Raises what `complain` makes of a sentence: an object where rows are expected."""
    found = body
    if settings.select:
        from dlt.common.jsonpath import find_values

        values = find_values(settings.select, body)
        if not values:
            raise complain(f"has nothing at {settings.select}")
        found = values[0] if len(values) == 1 else values
    if settings.rows == "object":
        if not isinstance(found, dict):
            raise complain(f"is {_kind(found)} where one object is expected")
        return [found]
    if not isinstance(found, list):
        raise complain(f"is {_kind(found)} where a list of rows is expected")
    return found


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _filled(value: Any, values: Values) -> Any:
    return fill(value, values) if isinstance(value, str) else value


def _fields(row: Any) -> Mapping[str, Any]:
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return {str(position): value for position, value in enumerate(row)}
    return {UNEXPECTED: row}


def _field_of(name: str, column: RestColumn) -> str | None:
    """The field that a column reads; None for a constant or a property of the asset."""
    if column.source is not None:
        return str(column.source)
    return None if column.asset is not None or column.value is not None else name


def _lookup(row: Mapping[str, Any], field: str) -> Any:
    if field in row:
        return row[field]
    at: Any = row
    for part in field.split("."):
        if not isinstance(at, dict) or part not in at:
            return MISSING
        at = at[part]
    return at


def _column_value(name: str, column: RestColumn, row: Mapping[str, Any], constant: Any, asset: Asset | None) -> Any:
    if column.null_when and any(_same(_lookup(row, field), value) for field, value in column.null_when.items()):
        return None
    field = _field_of(name, column)
    value = _lookup(row, field) if field is not None else MISSING
    if column.asset is not None:
        value = (getattr(asset, column.asset) or None) if asset else value
    if column.without and isinstance(value, str):
        value = _remainder(value, asset.symbol) if asset else None
    if value is MISSING or value is None:
        value = constant
    if column.fold and isinstance(value, str):
        value = value.translate(ASCII_UPPER if column.fold == "upper" else ASCII_LOWER)
    return value


def _remainder(text: str, front: str) -> str | None:
    """What stands behind the asset's symbol; None where the text does not begin with it."""
    return text[len(front) :] or None if text.upper().startswith(front.upper()) else None


def _same(actual: Any, expected: Any) -> bool:
    """Compare a field with a value of the file: true is not 1, and "-1" is -1."""
    if actual is MISSING or isinstance(actual, bool) or isinstance(expected, bool) or expected is None:
        return actual is expected
    return str(actual) == str(expected)


def matches(body: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a body has all of these fields with these values."""
    return isinstance(body, dict) and all(_same(_lookup(body, path), value) for path, value in wanted.items())
