"""Small notes in the cache folder that make things quick and are never believed: losing them costs time only."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from engine.lake.scratch import FOLDER_MODE


class Hints:
    """One JSON file for each note. Reading and writing never fail."""

    def __init__(self, cache_dir: Path) -> None:
        """The folder is made with the first note."""
        self._folder = cache_dir / "hints"

    def get(self, name: str) -> dict[str, Any]:
        """Return a note, {} if there is none or it is damaged."""
        try:
            note = json.loads((self._folder / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def number(self, name: str, key: str) -> int:
        """Return a whole number of a note, 0 if there is none."""
        value = self.get(name).get(key)
        return value if isinstance(value, int) and value > 0 else 0

    def put(self, name: str, **note: object) -> None:
        """Write a note, replacing the one before."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(note, file)
                Path(temporary).replace(self._folder / f"{name}.json")
            except OSError:
                Path(temporary).unlink(missing_ok=True)
