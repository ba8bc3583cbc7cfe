"""Finding files in a local folder: glob patterns, name order, no way out through links."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from sources.protocol import Notices


@dataclass(frozen=True, slots=True)
class Found:
    """One file. `stamp` changes whenever the file may have changed; `content` is its digest where listing tells it."""

    name: str
    path: str
    stamp: str
    size: int
    modified: float
    content: str | None = None


def pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Compile glob patterns: `*` and `?` stay within a folder, `**/` crosses folders; hidden names never match."""
    return re.compile("|".join(f"(?:{_expression(glob)})" for glob in globs) + r"\Z")


def _expression(glob: str) -> str:
    out = ""
    for part in re.findall(r"\*\*/|\*+|\?|\[!?[^\]]+\]|.", glob, flags=re.DOTALL):
        if part == "**/":
            out += r"(?:[^./][^/]*/)*"
        elif part.startswith("*"):
            out += r"[^./][^/]*" if not out or out.endswith(("/", "/)*")) else r"[^/]*"
        elif part == "?":
            out += r"[^/]"
        elif len(part) > 1:
            out += "[" + ("^" if part[1] == "!" else "") + re.escape(part.strip("[]!")).replace(r"\-", "-") + "]"
        else:
            out += re.escape(part)
    return out + r"\Z"


def refused(name: str) -> str | None:
    """Say why a file of this name is not read, if so: control characters end up in logs and tables."""
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name):
        return "its name holds control characters or is not UTF-8; rename it"
    return None


def printable(name: str) -> str:
    """Give a name that is safe in a message."""
    return ascii(name)[1:-1] if refused(name) else name


def local_files(folder: Path, globs: tuple[str, ...], notice: Notices) -> list[Found]:
    """List the matching files below `folder`, in name order.

    A link to a file inside the folder is read as that file; a link out of it is reported and skipped; folders behind
    links are not entered.
    """
    wanted = pattern(globs)
    root = Path(os.path.realpath(folder))
    deep = any("/" in glob for glob in globs)
    found = [file for entry, name in _walk(root, "", deep=deep) if (file := _file(entry, name, root, wanted, notice))]
    return sorted(found, key=lambda file: file.name)


def _walk(folder: Path, prefix: str, *, deep: bool) -> Iterator[tuple[os.DirEntry[str], str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if deep and not entry.name.startswith("."):
                    yield from _walk(Path(entry.path), name + "/", deep=deep)
            else:
                yield entry, name


def _file(entry: os.DirEntry[str], name: str, root: Path, wanted: re.Pattern[str], notice: Notices) -> Found | None:
    if not wanted.match(name):
        return None
    if reason := refused(name):
        notice(f"skipped: {reason}", item=printable(name))
        return None
    path = entry.path
    if entry.is_symlink():
        path = os.path.realpath(path)
        if not Path(path).is_relative_to(root):
            notice("skipped: it is a link that leads out of the folder; copy the file instead", item=name)
            return None
    try:
        info = Path(path).stat()
    except OSError as error:
        notice(f"skipped: {error.strerror}", item=name)
        return None
    if not S_ISREG(info.st_mode):
        return None
    return Found(name, path, stamp_of(info), info.st_size, info.st_mtime)


def stamp_of(info: os.stat_result) -> str:
    """Size and time of change: what differs whenever somebody wrote to the file."""
    return f"{info.st_size}:{info.st_mtime_ns}"
