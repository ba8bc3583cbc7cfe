"""The note that a destination is being made anew: written before it is emptied, removed when it is whole again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Rebuilding:
    """One destination's note in the data folder. It counts for the place alone that the destination had then."""

    def __init__(self, data_dir: Path, name: str, settings: Any) -> None:
        """`settings` is the destination's block. Read nothing yet."""
        self._path = data_dir / "state" / f"rebuilding-{name}"
        place = f"{settings.type} {settings.filled_database() or getattr(settings, 'path', '')}"
        self._place = hashlib.sha256(place.encode()).hexdigest()  # a DSN may hold a password

    @property
    def under_way(self) -> bool:
        """Whether a replay of this very place began and did not end."""
        return bool(self._read())

    @property
    def emptied(self) -> bool:
        """Whether it came so far that everything was forgotten: what is there since then is new."""
        return self._read().get("emptied") is True

    @property
    def tables(self) -> list[str]:
        """The tables that it fills, as far as the note has them (it was to fill what the destination had then)."""
        found = self._read().get("tables")
        return [str(table) for table in found] if isinstance(found, list) else []

    def note(self, *, emptied: bool, tables: Sequence[str] = ()) -> None:
        """Note that a replay is under way, how far it is, and which tables it fills."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f".{self._path.name}")
        scratch.write_text(json.dumps({"place": self._place, "emptied": emptied, "tables": list(tables)}))
        scratch.replace(self._path)

    def end(self) -> None:
        """Forget it."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, object]:
        """Return the note; {} if there is none, or one about another place."""
        try:
            found = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:  # of an earlier release: nobody knows how far that one came
            return {"emptied": False}
        return found if isinstance(found, dict) and found.get("place") == self._place else {}
