"""docker-compose.yml as Docker Compose reads it: anchors merged, variables put in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:(?P<plain>\$)|\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\})")
LOOPBACK = re.compile(r"127\.0\.0\.1:(?P<published>\d+):(?P<target>\d+)")


class UnsetError(Exception):
    """A variable that the file asks for with `:?` has no value."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into one value: `${A}`, `${A:-default}`, `${A:?what to set}`, and `$$` for a dollar."""

    def put(found: re.Match[str]) -> str:
        if found["plain"]:
            return "$"
        if value := variables.get(found["name"], ""):
            return value
        if found["how"] == ":?":
            raise UnsetError(f"{found['name']}: {found['rest']}")
        return found["rest"] or ""

    return VARIABLE.sub(put, text)


@cache
def as_written() -> dict[str, Any]:
    """The file with its anchors merged and its variables as they stand."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def services(variables: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Every service, whatever its profile; with `variables`, these put in. Raises UnsetError."""
    found: dict[str, dict[str, Any]] = (as_written() if variables is None else with_variables(variables))["services"]
    return found


def with_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with variables put in. Raises UnsetError."""
    content: dict[str, Any] = _walked(as_written(), variables)
    return content


def _walked(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _walked(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walked(inner, variables) for inner in value]
    return interpolated(value, variables) if isinstance(value, str) else value


def texts(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def asked_for() -> set[str]:
    """Names of the variables without which nothing starts."""
    found = {match["name"] for text in texts(services()) for match in VARIABLE.finditer(text) if match["how"] == ":?"}
    return {str(name) for name in found}


def published(service: Mapping[str, Any]) -> dict[int, int]:
    """The port on this machine by the port in the container; every one of them on loopback."""
    found = [LOOPBACK.fullmatch(port) for port in service.get("ports", ())]
    assert all(found), f"not on 127.0.0.1 alone: {service['ports']}"
    return {int(match["target"]): int(match["published"]) for match in found if match}
