"""The JSON Schema of pipelines.yaml, for editors: generated from the models that validate the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter

from engine.config.blocks import TYPES, settings_model
from engine.config.checks import NAME
from engine.config.models import ProjectFile

VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
DEFINITIONS = "#/$defs/{model}"

Schema = dict[str, Any]


def build_schema() -> Schema:
    """The schema with every source and destination type, told apart by `type`."""
    definitions: Schema = {}
    root = ProjectFile.model_json_schema(ref_template=DEFINITIONS)
    definitions |= root.pop("$defs")
    blocks = {kind: _one_of(kind, definitions) for kind in TYPES}
    root["properties"]["sources"]["additionalProperties"] = blocks["source"]
    definitions["Profile"]["additionalProperties"] = blocks["destination"]
    definitions["InlineAsset"]["additionalProperties"] = {"type": "string"}
    for section in ("sources", "pipelines", "assets", "profiles"):
        root["properties"][section]["propertyNames"] = {"pattern": NAME.pattern.replace(r"\Z", "$").join(["^", ""])}
    root |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pipelines.yaml of Tickhouse"}
    root["$defs"] = dict(sorted(definitions.items()))
    admitted: Schema = _admit_variables(root)
    return admitted


def _one_of(kind: str, definitions: Schema) -> Schema:
    """A union of the settings models of all types of a kind; their definitions are added."""
    models = [settings_model(kind, name) for name in TYPES[kind]]
    union: Any = Annotated[Union[tuple(models)], Field(discriminator="type")]  # noqa: UP007 - made at run time
    schema = TypeAdapter(union).json_schema(ref_template=DEFINITIONS)
    for name, definition in schema.pop("$defs").items():
        if definitions.setdefault(name, definition) != definition:
            raise AssertionError(f"two settings models are called {name}: rename one of them")
    return schema


def _admit_variables(schema: Any) -> Any:
    """Wherever a number or a boolean may stand, `${NAME}` may too. Titles are dropped: they repeat the keys."""
    if isinstance(schema, list):
        return [_admit_variables(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, item in schema.items():
        if key == "title" and isinstance(item, str) and item != "pipelines.yaml of Tickhouse":
            continue
        # below `properties` the keys are the file's words, not the schema's
        named = key in {"properties", "$defs"} and isinstance(item, dict)
        out[key] = {name: _admit_variables(one) for name, one in item.items()} if named else _admit_variables(item)
    if out.get("type") in {"integer", "number", "boolean"}:
        annotations = {key: out.pop(key) for key in ("default", "description") if key in out}
        return {"anyOf": [out, VARIABLE], **annotations}
    return out


def render_schema() -> str:
    """The schema as text, as it is committed."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def write_schema(path: Path) -> None:
    """Write the schema to a file."""
    path.write_text(render_schema(), encoding="utf-8")
