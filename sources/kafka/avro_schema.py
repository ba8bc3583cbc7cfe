"""From a schema of the registry to what reads its messages: fastavro resolves the names, the readers are ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sources.kafka import avro_binary as binary
from sources.kafka.avro_binary import Reader
from sources.kafka.avro_columns import LONG, NESTED, NULL, TEXT, Kind, Unit, value_of
from sources.kafka.schema_registry import UnusableSchemaError

if TYPE_CHECKING:
    from sources.kafka.schema_registry import Schema

MAX_LEVELS = 100
"""Of brackets in a schema: fastavro follows them in C."""
UUID_BYTES = 16
_PRIMITIVES: Mapping[str, tuple[Kind, Reader]] = {
    "null": (NULL, binary.null),
    "boolean": (Kind("bool"), binary.boolean),
    "int": (LONG, binary.int32),
    "long": (LONG, binary.long),
    "float": (Kind("float"), binary.float32),
    "double": (Kind("double"), binary.float64),
    "string": (TEXT, binary.text),
    "bytes": (TEXT, binary.base64_of(binary.raw)),
}
_UNITS: Mapping[str, Unit] = {"millis": "ms", "micros": "us", "nanos": "ns"}
_TIMES: Mapping[tuple[str, str], tuple[Reader, timedelta]] = {
    ("int", "time-millis"): (binary.int32, timedelta(milliseconds=1)),
    ("long", "time-micros"): (binary.long, timedelta(microseconds=1)),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A message of this schema: its fields' names, kinds and readers of raw values.

    A schema that is no record of its own, such as a union of records, has no `names`; `whole` reads it as a value.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    readers: tuple[Reader, ...]
    whole: Reader
    flat: bool
    """Whether its messages can be columns."""


def layout_of(schema: Schema) -> Layout:
    """Raises UnusableSchemaError: the text is no Avro schema."""
    from fastavro.schema import SchemaParseException, UnknownType, parse_schema

    named: dict[str, dict[str, Any]] = {}
    try:
        for text in schema.references:
            parse_schema(_loaded(text), named)
        parsed = parse_schema(_loaded(schema.text), named)
        return _Compiler(named).layout(parsed)
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnusableSchemaError(f"no Avro schema that can be used: {str(error)[:120]}") from None


def _loaded(text: str) -> Any:
    level = deepest = 0
    for letter in text:
        if letter in "{[":
            level += 1
            deepest = max(deepest, level)
        elif letter in "}]":
            level -= 1
    if deepest > MAX_LEVELS:
        raise ValueError(f"more than {MAX_LEVELS} levels")
    return json.loads(text)


class _Compiler:
    """Makes readers; a record that holds itself is read through its name."""

    def __init__(self, named: Mapping[str, dict[str, Any]]) -> None:
        self._named = named
        self._records: dict[str, Reader | None] = {}

    def layout(self, schema: Any) -> Layout:
        found = self._named.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(found, dict) and found["type"] in {"record", "error"}:
            fields = {each["name"]: self.field(each["type"]) for each in found["fields"]}
            kinds, readers = tuple(kind for kind, _ in fields.values()), tuple(reader for _, reader in fields.values())
            flat = bool(fields) and all(kind.flat for kind in kinds)
            return Layout(tuple(fields), kinds, readers, self._record(found), flat)
        return Layout((), (), (), self.value(schema), flat=False)

    def field(self, schema: Any) -> tuple[Kind, Reader]:
        """Return a schema's kind, and the reader of raw values."""
        if isinstance(schema, str):
            return _PRIMITIVES[schema] if schema in _PRIMITIVES else self._defined(self._named[schema])
        return self._union(schema) if isinstance(schema, list) else self._defined(schema)

    def value(self, schema: Any) -> Reader:
        """Return the reader of finished values, as they stand in JSON."""
        kind, reader = self.field(schema)
        convert = value_of(kind)
        return reader if convert is None else binary.then(reader, convert)

    def _union(self, branches: Sequence[Any]) -> tuple[Kind, Reader]:
        fields = [self.field(branch) for branch in branches]
        kinds = {kind for kind, _ in fields if kind != NULL}
        if len(kinds) > 1:
            return NESTED, binary.union([self.value(branch) for branch in branches])
        return (kinds.pop() if kinds else NULL), binary.union([reader for _, reader in fields])

    def _defined(self, schema: dict[str, Any]) -> tuple[Kind, Reader]:
        kind = schema["type"]
        logical = str(schema.get("logicalType", ""))
        made: tuple[Kind, Reader] | None
        match kind:
            case "record" | "error":
                made = NESTED, self._record(schema)
            case "array":
                made = NESTED, binary.array(self.value(schema["items"]))
            case "map":
                made = NESTED, binary.mapping(self.value(schema["values"]))
            case "enum":
                made = TEXT, binary.enum(schema["symbols"])
            case "bytes":
                made = _bytes(schema, logical, binary.raw)
            case "fixed":
                made = _bytes(schema, logical, binary.fixed(int(schema["size"])))
            case _:
                made = _logical(kind, logical)
        return made or self.field(kind)

    def _record(self, schema: dict[str, Any]) -> Reader:
        name = schema["name"]
        if name in self._records:
            return self._records[name] or self._later(name)
        self._records[name] = None
        made = self._records[name] = binary.record(
            {each["name"]: self.value(each["type"]) for each in schema["fields"]}
        )
        return made

    def _later(self, name: str) -> Reader:
        """Return a reader of a record that is still being made, because it holds itself."""

        def read(data: bytes, at: int) -> tuple[Any, int]:
            reader = self._records[name]
            return (reader or binary.null)(data, at)

        return read


def _bytes(schema: Mapping[str, Any], logical: str, reader: Reader) -> tuple[Kind, Reader]:
    digits, scale = schema.get("precision"), schema.get("scale", 0)
    if logical == "decimal" and isinstance(digits, int):
        if digits <= binary.MAX_DIGITS:
            return Kind("decimal", digits, scale), binary.unscaled(reader)
        wide = Kind("decimal", digits, scale)
        return NESTED, binary.then(binary.unscaled(reader), value_of(wide) or int)
    if logical == "uuid" and schema.get("size") == UUID_BYTES:
        return TEXT, binary.uuid_of(reader)
    return TEXT, binary.base64_of(reader)


def _logical(kind: str, logical: str) -> tuple[Kind, Reader] | None:
    """Return what a number of units means; None for a logical type that says nothing here, such as a string's uuid."""
    if (kind, logical) in _TIMES:
        return TEXT, binary.time_of(*_TIMES[kind, logical])
    if kind == "int" and logical == "date":
        return Kind("date"), binary.int32
    stem, _, unit = logical.rpartition("-")
    if kind == "long" and stem in {"timestamp", "local-timestamp"} and unit in _UNITS:
        return Kind("instant" if stem == "timestamp" else "local", unit=_UNITS[unit]), binary.long
    return None
