"""YAML text -> a tree of values, and where each of them stands in the file.

The file is read as events, not composed: nesting, size and aliases are bounded before anything is built, so that no
file can exhaust memory or the stack. Plain scalars follow YAML 1.2: only `true` and `false` are booleans (`no` is
Norway), only decimal notation is a number. Tags and merge keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.config.problems import ConfigError, Position, Problem, Text
from engine.config.scalars import plain_scalar
from engine.errors import UsageError

MAX_BYTES = 5_000_000
MAX_DEPTH = 100
MAX_NODES = 100_000
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

YamlValue = Any
"""Text, number, boolean, None, a list or a mapping of them: whatever a YAML file holds."""

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of the file to a value."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: its value, and the position of every key and value by path."""

    text: Text
    value: YamlValue
    values_at: Mapping[KeyPath, Position]
    keys_at: Mapping[KeyPath, Position]
    written: Mapping[KeyPath, str]
    """The text of every plain scalar as written, for fields that want text where YAML saw a number."""

    def position(self, path: KeyPath, *, key: bool = False) -> Position:
        """Position of the value at `path` (or of its key), else of the nearest block above it that is in the file."""
        tables = (self.keys_at, self.values_at) if key else (self.values_at, self.keys_at)
        while True:
            for table in tables:
                if path in table:
                    return table[path]
            if not path:
                return Position(1, 1)
            path, tables = path[:-1], (self.keys_at, self.values_at)

    def problem(self, path: KeyPath, reason: str, remedy: str, *, key: bool = False) -> Problem:
        """Describe what is wrong at `path`; `key` puts the caret under the key instead of the value."""
        return Problem(self.text, self.position(path, key=key), dotted(path), reason, remedy)


def dotted(path: KeyPath) -> str:
    """Write a path as people do: sources.coingecko.resources, assets.crypto.add[2]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read_document(path: Path) -> Document:
    """Read one YAML file. Raises ConfigError ('yaml: ...') for whatever is not plain, bounded YAML."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path.name} is not a file", "Set --file to the YAML file of the project.")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = f"{path.name} cannot be read: {error.strerror or error}"
        remedy = "Run the command in the project's folder, or set --file to the YAML file."
        raise UsageError(reason, remedy) from None
    if len(data) > MAX_BYTES:
        reason = f"yaml: {path.name} is larger than {MAX_BYTES // 1_000_000} MB"
        raise UsageError(reason, "Set long lists of assets in a CSV file and name it with `file:`.")
    return parse(data, path.name)


def parse(data: bytes, name: str) -> Document:
    """Parse YAML bytes; `name` is what errors call the file."""
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = Text(name, tuple(LINE_BREAK.split(data.decode("utf-8", "replace"))))
        reason = "yaml: the file is not UTF-8 text"
        raise ConfigError(
            [Problem(text, Position(line, 1), "", reason, "Set the editor to save it as UTF-8.")]
        ) from None
    text = Text(name, tuple(LINE_BREAK.split(content)))
    root = _Tree(text).build(content)
    layout = _Layout()
    value = layout.value(root, ())
    return Document(text, value, layout.values_at, layout.keys_at, layout.written)


@dataclass(slots=True)
class _Node:
    """A scalar, list or mapping; `size` and `height` count what its aliases expand to."""

    at: Position
    kind: str
    scalar: str = ""
    plain: bool = False
    items: list[_Node] = field(default_factory=list)
    keys: dict[str, Position] = field(default_factory=dict)
    size: int = 1
    height: int = 1
    open: bool = True


class _Tree:
    """Builds nodes from events with an explicit stack, and refuses what is not plain YAML."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.stack: list[_Node] = []
        self.pending: list[tuple[str, Position] | None] = []  # the key whose value comes next, for each open node
        self.anchors: dict[str, _Node] = {}
        self.root: _Node | None = None
        self.count = 0

    def build(self, content: str) -> _Node:
        documents = 0
        for event in self._events(content):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(_position(event), "a second document starts here", "Set one document per file.")
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.NodeEvent):
                self._open(event)
        if self.root is None:
            self._refuse(Position(1, 1), "the file is empty", "See README.md for a file to start from.")
            raise AssertionError  # _refuse raises
        return self.root

    def _events(self, content: str) -> Iterator[yaml.Event]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            yield from yaml.parse(content, Loader=loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
            lines = self.text.lines
            if at.line <= len(lines) and "\t" in lines[at.line - 1][: at.column]:
                self._refuse(at, "a tab stands where spaces belong", "Set spaces in place of the tab.")
            reason = error.problem or "not YAML"
            start = error.context_mark
            if error.context and start is not None and start.line + 1 != at.line:
                reason += f" {error.context} that starts on line {start.line + 1}"
            if "${" in lines[min(at.line, len(lines)) - 1]:
                self._refuse(at, reason, 'Set quotes around a variable inside { } or [ ]: key: "${NAME}".')
            self._refuse(at, reason, "Check quotes, brackets, colons and indentation here.")
        except yaml.YAMLError as error:
            # the reader's own error: a character that YAML does not allow
            offset = getattr(error, "position", 0)
            at = Position(content.count("\n", 0, offset) + 1, 1)
            reason = str(getattr(error, "reason", "") or "a character that YAML does not allow")
            self._refuse(at, reason, "Check this line for control characters (NUL and its like) and remove them.")

    def _refuse(self, at: Position, reason: str, remedy: str) -> None:
        raise ConfigError([Problem(self.text, at, "", f"yaml: {reason}", remedy)])

    def _open(self, event: yaml.NodeEvent) -> None:
        at = _position(event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._refuse(
                at, f"the tag {shown} is not allowed", "Set a plain value: quotes make text, nothing needs a tag."
            )
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(at, "scalar", event.value, plain=not event.style and event.implicit[0], open=False)
        else:
            node = _Node(at, "mapping" if isinstance(event, yaml.MappingStartEvent) else "list")
        if event.anchor:
            self.anchors[event.anchor] = node
        self._place(node, at)
        if node.open:
            if len(self.stack) >= MAX_DEPTH:
                self._refuse(at, f"nested deeper than {MAX_DEPTH} levels", "Set the value in fewer levels.")
            self.stack.append(node)
            self.pending.append(None)

    def _alias(self, event: yaml.AliasEvent) -> None:
        at = _position(event)
        node = self.anchors.get(event.anchor or "")
        if node is None:
            self._refuse(at, f"the alias *{event.anchor} has no anchor before it", "Check the anchor's name.")
        elif node.open:
            self._refuse(at, f"the anchor &{event.anchor} contains itself", "Set the value without the alias.")
        else:
            self._place(node, at)

    def _place(self, node: _Node, at: Position) -> None:
        """Put a finished or opened node where it belongs: the root, a list's end, a mapping's key or value."""
        self.count += 1
        if self.count > MAX_NODES:
            self._refuse(at, f"more than {MAX_NODES:,} values", "Set long lists of assets in a CSV file.")
        if not self.stack:
            self.root = node
            return
        parent, key = self.stack[-1], self.pending[-1]
        if parent.kind == "mapping" and key is None:
            self._key(parent, node, at)
            return
        self.pending[-1] = None
        parent.items.append(node)
        if not node.open:
            self._grow(parent, node, at)

    def _key(self, parent: _Node, node: _Node, at: Position) -> None:
        if node.kind != "scalar":
            self._refuse(at, "a list or mapping cannot be a key", "Set plain text as the key.")
        name = node.scalar
        if name == "<<" and node.plain:
            self._refuse(
                at, "merge keys (<<) are not supported", "Set the keys here, or alias a whole value: `key: *name`."
            )
        if name in parent.keys:
            first = parent.keys[name].line
            reason = f"duplicate key {name[:60]!r}: it stands on lines {first} and {at.line}"
            self._refuse(at, reason, "Fix it: remove or rename one of the two.")
        parent.keys[name] = at
        self.pending[-1] = (name, at)

    def _grow(self, parent: _Node, node: _Node, at: Position) -> None:
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if parent.size > MAX_NODES:
            self._refuse(at, f"aliases expand to more than {MAX_NODES:,} values", "Set the values without aliases.")
        if parent.height + len(self.stack) > MAX_DEPTH + 1:
            self._refuse(at, f"aliases nest deeper than {MAX_DEPTH} levels", "Set the values without aliases.")

    def _close(self) -> None:
        node = self.stack.pop()
        self.pending.pop()
        node.open = False
        if self.stack:
            self._grow(self.stack[-1], node, node.at)


class _Layout:
    """Turns nodes into values, noting where each key and value stands."""

    def __init__(self) -> None:
        self.values_at: dict[KeyPath, Position] = {}
        self.keys_at: dict[KeyPath, Position] = {}
        self.written: dict[KeyPath, str] = {}

    def value(self, node: _Node, path: KeyPath) -> YamlValue:
        self.values_at[path] = node.at
        if node.kind == "list":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.items)]
        if node.kind == "mapping":
            pairs = zip(node.keys.items(), node.items, strict=True)
            return {name: self._pair((*path, name), at, item) for (name, at), item in pairs}
        if not node.plain:
            return node.scalar
        self.written[path] = node.scalar
        return plain_scalar(node.scalar)

    def _pair(self, path: KeyPath, at: Position, item: _Node) -> YamlValue:
        self.keys_at[path] = at
        return self.value(item, path)


def _position(event: yaml.Event) -> Position:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        return Position(1, 1)
    width = end.column - start.column if end.line == start.line else 1
    return Position(start.line + 1, start.column + 1, max(width, 1))
