"""Which files were landed: 24 bytes a file in the resource's dlt state, so that 100,000 files stay small.

State: {"files": {NAME: MARK}}. NAME is 8 bytes of the BLAKE2b of the file's name, MARK 6 bytes of the BLAKE2b of its
stamp (size and time of change, or the ETag) followed by 12 bytes of its content's digest; both in URL-safe Base64.
The stamp spares reading a file that nobody touched; the content decides whether a touched one is new.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import MutableMapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

NAME_BYTES = 8
STAMP_BYTES = 6
CONTENT_BYTES = 12
_STAMP_CHARS = STAMP_BYTES * 8 // 6


def _short(text: str, size: int) -> str:
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Seen:
    """The landed files of one resource, over its dlt state."""

    files: MutableMapping[str, str]

    @classmethod
    def of(cls, state: MutableMapping[str, Any]) -> Seen:
        """Open the state of a resource (a new one is given its empty map)."""
        return cls(state.setdefault("files", {}))

    def unchanged(self, name: str, stamp: str) -> bool:
        """Whether the file was landed and its stamp is still the same."""
        mark = self.files.get(_short(name, NAME_BYTES))
        return mark is not None and mark[:_STAMP_CHARS] == _short(stamp, STAMP_BYTES)

    def knows(self, name: str) -> bool:
        """Whether a file of this name was landed, whatever it held."""
        return _short(name, NAME_BYTES) in self.files

    def same_content(self, name: str, content: str) -> bool:
        """Whether the file was landed with this content."""
        mark = self.files.get(_short(name, NAME_BYTES))
        return mark is not None and mark[_STAMP_CHARS:] == _short(content, CONTENT_BYTES)

    def keep(self, name: str, stamp: str, content: str) -> None:
        """Remember the file as landed."""
        self.files[_short(name, NAME_BYTES)] = _short(stamp, STAMP_BYTES) + _short(content, CONTENT_BYTES)
