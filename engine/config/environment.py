"""`${NAME}` and `${NAME:-default}`: read from the environment and `.env`, put into values after the YAML is parsed.

A value can therefore never add YAML. What comes from the environment counts as a secret; `$${` writes a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.document import Document, KeyPath, YamlValue
from engine.config.problems import Problem
from engine.errors import UsageError

REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
ENTRY = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)\Z")
PLACEHOLDER = "placeholder"


def read_env_file(path: Path) -> dict[str, str]:
    """Read KEY=VALUE lines (`#` comments, an optional `export`, optional quotes). A missing file is empty."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}", f"Check that {path.name} is UTF-8 text.") from None
    values: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = ENTRY.match(stripped)
        if match is None:
            # the line itself may hold a secret: only its number is shown
            raise UsageError(f"{path.name}:{number}  not a NAME=value line", f"Fix line {number} of {path.name}.")
        name, value = match.groups()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = value.split(" #", 1)[0].rstrip()
        values[name] = value
    return values


ADDRESSES = frozenset({"account", "brokers", "bucket", "database", "endpoint", "host", "port", "region"})
"""Keys whose values say where something is: an error must name it. One with an `@` may hold a password."""


@dataclass(slots=True)
class Resolver:
    """Puts variables into the values of one document, and remembers what was missing and what is secret."""

    document: Document
    env: Mapping[str, str]
    secrets: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def resolve(self, value: YamlValue, path: KeyPath, *, use_env: bool = True) -> Resolved:
        """Resolve a subtree. Missing variables become a placeholder and are listed; see `Resolved.missing`."""
        out = Resolved(None)
        out.value = self._walk(value, path, out, use_env=use_env)
        return out

    def _walk(self, value: YamlValue, path: KeyPath, out: Resolved, *, use_env: bool) -> YamlValue:
        if isinstance(value, dict):
            return {key: self._walk(item, (*path, key), out, use_env=use_env) for key, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item, (*path, index), out, use_env=use_env) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, path, out, use_env=use_env)
        return value

    def _text(self, text: str, path: KeyPath, out: Resolved, *, use_env: bool) -> str:
        def put(match: re.Match[str]) -> str:
            name, default = match.groups()
            if match.group() == "$${":
                return "${"
            if name is None:
                reason = "this ${ does not start a variable"
                remedy = "Set ${NAME} or ${NAME:-default}; write $${ for a plain ${."
                self.problems.append(self.document.problem(path, reason, remedy))
                return ""
            found = self.env.get(name, "") if use_env else ""
            if found:
                if path[-1:] and path[-1] in ADDRESSES and "@" not in found:
                    return found
                self.secrets.add(found)
                return found
            if default is not None:
                return str(default)
            out.missing[path] = name
            return PLACEHOLDER

        return REFERENCE.sub(put, text)


@dataclass(slots=True)
class Resolved:
    """A subtree with its variables filled in; `missing` names the variable by the path of the value that wants it."""

    value: YamlValue
    missing: dict[KeyPath, str] = field(default_factory=dict)
