"""pydantic's errors, said in the file's own words and put where they belong in the file."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.config.document import Document, KeyPath, YamlValue
from engine.config.problems import Problem, choices, did_you_mean, nearest

Model = TypeVar("Model", bound=BaseModel)

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}


def check(
    model: type[Model], value: YamlValue, document: Document, path: KeyPath, missing: Mapping[KeyPath, str]
) -> tuple[Model | None, list[Problem]]:
    """Validate a block that stands at `path`; return the model, or what is wrong with it.

    Where text is wanted and the file has a bare number (a symbol such as 007), the text is taken as written. Errors
    at or above a value of `missing` (its variable is not set) are the placeholder's, not the user's.
    """
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    retry = False
    for detail in details:
        where = _data_path(detail, value)
        written = document.written.get((*path, *where))
        if detail["type"] == "string_type" and written is not None and _is_number(_at(value, where)):
            value = _with(value, where, written)
            retry = True
    if retry:
        try:
            return model.model_validate(value), []
        except ValidationError as error:
            details = error.errors(include_url=False)
    return None, _explain(model, value, document, path, details, missing)


def _explain(
    model: type[BaseModel],
    value: YamlValue,
    document: Document,
    path: KeyPath,
    details: list[ErrorDetails],
    missing: Mapping[KeyPath, str],
) -> list[Problem]:
    """Describe every error once: a union gives one for each of its branches, and the deepest tells most."""
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in details:
        found.setdefault(_data_path(detail, value), []).append(detail)
    problems = []
    misspelt = _misspelt(model, value, details)
    for where, group in found.items():
        if where in misspelt and group[0]["type"] == "missing":
            continue
        deeper = any(other != where and other[: len(where)] == where for other in found)
        if deeper and all(detail["type"] in EXPECTED for detail in group):
            continue
        own = {"extra_forbidden", "missing"} & {detail["type"] for detail in group}
        if not own and any(gap[: len(path) + len(where)] == (*path, *where) for gap in missing):
            continue
        problems.append(_problem(model, value, document, path, where, group))
    return problems


def _misspelt(model: type[BaseModel], value: YamlValue, details: list[ErrorDetails]) -> set[KeyPath]:
    """Paths of keys that an unknown key beside them is a misspelling of: one mistake, not two."""
    found = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            where = _data_path(detail, value)
            near = nearest(str(where[-1]), known_keys(model, value, where[:-1]))
            found.add((*where[:-1], near or ""))
    return found


def _problem(
    model: type[BaseModel],
    value: YamlValue,
    document: Document,
    path: KeyPath,
    where: KeyPath,
    group: list[ErrorDetails],
) -> Problem:
    detail = group[0]
    kind, context = detail["type"], detail.get("ctx", {})
    name = str(where[-1]) if where else ""
    at = (*path, *where)
    block = isinstance(_at(value, where), (dict, list))
    if kind == "extra_forbidden":
        known = known_keys(model, value, where[:-1])
        reason = f"unknown key {name!r}"
        return document.problem(at, reason, f"{did_you_mean(name, known)}Keys here: {choices(known)}.", key=True)
    if kind == "missing":
        return document.problem(at, f"the key {name!r} is missing", f"Set {name!r} here.", key=True)
    if kind in EXPECTED:
        wanted = " or ".join(dict.fromkeys(EXPECTED[one["type"]] for one in group if one["type"] in EXPECTED))
        reason = f"wrong type: expected {wanted}, found {_kind(_at(value, where))}"
        return document.problem(at, reason, f"Set {wanted} here.", key=block)
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        options = _options(context)
        if kind == "union_tag_invalid":
            at = (*at, str(context.get("discriminator", "type")).strip("'"))
        given = str(context.get("tag") or _at(value, where))[:60]
        reason = f"{given!r} is not one of the values known here"
        return document.problem(at, reason, f"{did_you_mean(given, options)}Set one of: {choices(options)}.")
    if kind == "union_tag_not_found":
        return document.problem(at, "the key 'type' is missing", "Set 'type' here.")
    message = str(context.get("error") or detail["msg"])
    reason, _, remedy = message.partition("\n")
    if kind not in {"value_error", "assertion_error"}:
        reason = reason[:1].lower() + reason[1:]
    return document.problem(at, reason, remedy.strip() or "Set a value that fits.", key=block)


def _data_path(detail: ErrorDetails, value: YamlValue) -> KeyPath:
    """Drop what pydantic puts into a location for unions (tags, type names): keep what the data has."""
    path: list[str | int] = []
    parts = list(detail["loc"])
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if isinstance(value, dict):
            key = str(part)
            if key in value:
                value = value[key]
            elif not (last and detail["type"] == "missing"):
                continue
            path.append(key)
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
    return tuple(path)


def _at(value: YamlValue, path: KeyPath) -> YamlValue:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _with(value: YamlValue, path: KeyPath, new: str) -> YamlValue:
    """Copy `value` with `new` at `path`."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    copy = value.copy()
    copy[head] = _with(value[head], rest, new)
    return copy


def _is_number(value: YamlValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: YamlValue) -> str:
    names = {type(None): "nothing", bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return {**names, list: "a list", dict: "a mapping"}.get(type(value), "something else")


def _options(context: Mapping[str, Any]) -> list[str]:
    """The values that a literal or a discriminator allows, from pydantic's sentence: 'a', 'b' or 'c'."""
    return re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags") or ""))


def known_keys(model: type[BaseModel], value: YamlValue, path: KeyPath) -> set[str]:
    """Keys that the model, or the models, at `path` allow."""
    candidates = [model]
    for part in path:
        below: list[Any] = []
        for candidate in candidates:
            below += _step(candidate, part)
        candidates = below
        value = _at(value, (part,))
    keys = set()
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel) and _fits(candidate, value):
            keys |= {field.alias or name for name, field in candidate.model_fields.items()}
    return keys


def _fits(model: type[BaseModel], value: YamlValue) -> bool:
    """Whether a model of a tagged union is the one that the data's `type` names."""
    field = model.model_fields.get("type")
    tags = get_args(field.annotation) if field else ()
    given = value.get("type") if isinstance(value, dict) else None
    return not tags or given is None or given in tags


def _step(candidate: object, part: str | int) -> list[Any]:
    """Types one level below a type."""
    origin, arguments = get_origin(candidate), get_args(candidate)
    if isinstance(candidate, type) and issubclass(candidate, BaseModel):
        fields = {field.alias or name: field for name, field in candidate.model_fields.items()}
        return _flat(fields[str(part)].annotation) if str(part) in fields else []
    if isinstance(part, int):
        return _flat(arguments[0]) if origin in {list, tuple, set} and arguments else []
    return _flat(arguments[1]) if origin is not None and len(arguments) > 1 else []


def _flat(annotation: object) -> list[Any]:
    """Members of a union, however it is written."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _flat(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return [one for member in get_args(annotation) for one in _flat(member)]
    return [annotation]
