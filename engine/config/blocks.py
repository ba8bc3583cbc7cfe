"""Blocks whose model depends on their `type:`: sources and destinations, imported only when the file names them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pydantic import BaseModel

from destinations import DESTINATION_TYPES
from engine.config.document import Document, KeyPath, YamlValue
from engine.config.explain import check
from engine.config.problems import Problem, choices, did_you_mean
from sources import SOURCE_TYPES

TYPES: dict[str, Mapping[str, tuple[str, str]]] = {"source": SOURCE_TYPES, "destination": DESTINATION_TYPES}


def settings_model(kind: str, type_name: str) -> type[BaseModel]:
    """Import the settings model of a source or destination type."""
    module, name = TYPES[kind][type_name]
    model: type[BaseModel] = getattr(import_module(module), name)
    return model


def settings_of(
    kind: str, value: YamlValue, document: Document, path: KeyPath, missing: Mapping[KeyPath, str]
) -> tuple[BaseModel | None, list[Problem]]:
    """Check a source or destination block by its type."""
    known = TYPES[kind]
    if not isinstance(value, dict):
        reason = f"wrong type: a {kind} is a mapping (key: value)"
        return None, [document.problem(path, reason, f"Set a block with `type:`, one of: {choices(known)}.")]
    type_name = value.get("type")
    if type_name is None:
        remedy = f"Set `type:` to one of: {choices(known)}."
        return None, [document.problem(path, "the key 'type' is missing", remedy, key=True)]
    if not isinstance(type_name, str) or type_name not in known:
        given = str(type_name)[:60]
        remedy = f"{did_you_mean(given, known)}Set one of: {choices(known)}."
        return None, [document.problem((*path, "type"), f"unknown {kind} type {given!r}", remedy)]
    return check(settings_model(kind, type_name), value, document, path, missing)
