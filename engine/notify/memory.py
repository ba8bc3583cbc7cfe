"""What is broken and was told: one small file in <data>/state, so that every process of a profile tells it once.

A thing that breaks has a key: `destination NAME` (whichever pipeline meets it), or `source`, `models`, `run`, `late`
with a pipeline.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from engine.locks import AGAIN, hold
from engine.notify.webhook import WHOLE_SECONDS

log = logging.getLogger(__name__)
LOCK_SECONDS = 6 * WHOLE_SECONDS
"""How long one waits for others that are telling something: a slow webhook takes each WHOLE_SECONDS."""

ROOM_BYTES = 65_536
_UNWRITTEN: dict[Path, str] = {}
"""What this process could not write, by path: what was told is not told again for that."""


@dataclass(slots=True)
class Broken:
    """Something that does not work. `why` is what was met last; times are UTC."""

    key: str
    why: str
    since: datetime
    told_at: datetime | None = None


@dataclass(slots=True)
class Change:
    """What there is to tell: things that broke, that are still broken after a day, and that work again.

    Whoever tells it sets `told_at` of what was told, or `sent` to false: then it is given again the next time.
    """

    broke: list[Broken] = field(default_factory=list)
    still: list[Broken] = field(default_factory=list)
    works: list[Broken] = field(default_factory=list)
    sent: bool = True


class Memory:
    """The things that are broken, of one data folder."""

    def __init__(self, data_dir: Path, remind: timedelta) -> None:
        """Tell again after `remind`."""
        self._path = data_dir / "state" / "notified.json"
        self._lock = data_dir / "locks" / "notify.lock"
        self._room = data_dir / "state" / "notified.room"
        self._remind = remind

    @contextmanager
    def change(self, broken: Mapping[str, str], works: Callable[[str], bool], now: datetime) -> Iterator[Change]:
        """Give what changes with what is broken now (key: why) and what `works` again; keep it when the block ends.

        Where it cannot be kept, this process keeps it. Raises BusyError.
        """
        if not broken:
            self._save_room()
        if not broken and not self._path.exists() and self._path not in _UNWRITTEN:
            yield Change()
            return
        with hold(self._lock, "telling people", wait_seconds=LOCK_SECONDS, remedy=AGAIN):
            known = {thing.key: thing for thing in self._read()}
            again = [thing for key, thing in known.items() if key not in broken and works(key)]
            for key, why in broken.items():
                known.setdefault(key, Broken(key, why, now)).why = why
            now_broken = [known[key] for key in broken]
            change = Change(
                broke=[thing for thing in now_broken if thing.told_at is None],
                still=[thing for thing in now_broken if thing.told_at and now - thing.told_at >= self._remind],
                works=[thing for thing in again if thing.told_at is not None],
            )
            yield change
            gone = {thing.key for thing in again if change.sent or thing not in change.works}
            self._write(thing for key, thing in known.items() if key not in gone)

    def untold(self, pipeline: str) -> dict[str, str]:
        """Return what was `put_off` for a pipeline: why by key."""
        try:
            found = json.loads(self._untold(pipeline).read_text(encoding="utf-8"))
            return {str(key): str(why) for key, why in found.items()}
        except (FileNotFoundError, ValueError, AttributeError):
            return {}

    def put_off(self, pipeline: str, broken: Mapping[str, str]) -> None:
        """Note what could not be told because others were telling all the while; with nothing, forget it.

        Raises OSError.
        """
        path = self._untold(pipeline)
        if broken:
            replace(path, json.dumps(dict(broken)))
        else:
            path.unlink(missing_ok=True)

    def _untold(self, pipeline: str) -> Path:
        return self._path.with_name(f"untold-{pipeline}.json")

    def _read(self) -> list[Broken]:
        try:
            rows = json.loads(_UNWRITTEN.get(self._path) or self._path.read_text(encoding="utf-8"))
            return [
                Broken(row["key"], row["why"], _instant(row["since"]), row["told_at"] and _instant(row["told_at"]))
                for row in rows
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):  # somebody's edit: at worst a thing is told once more
            return []

    def _write(self, things: Iterable[Broken]) -> None:
        text = json.dumps([asdict(thing) for thing in things], default=_text)
        try:
            if not self._path.exists() or self._path.read_text(encoding="utf-8") != text:  # else a full disk minds not
                try:
                    replace(self._path, text)
                except OSError:
                    self._room.unlink(missing_ok=True)
                    replace(self._path, text)
            _UNWRITTEN.pop(self._path, None)
        except OSError:
            log.info("what was told could not be noted", exc_info=True)
            _UNWRITTEN[self._path] = text

    def _save_room(self) -> None:
        """Have some room on the disk to give up when it is full: that is a thing to tell, and to tell once."""
        with suppress(OSError):
            if not self._room.exists():
                replace(self._room, "\n" * ROOM_BYTES)


def replace(path: Path, text: str) -> None:
    """Write a small file in one step: who reads it never sees half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)  # noqa: PTH105 - Path.replace is the same, os names what happens
    except OSError:
        scratch.unlink(missing_ok=True)  # on a full disk, half of it
        raise


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(value: object) -> str:
    assert isinstance(value, datetime)  # noqa: S101 - nothing else is in a Broken
    return value.isoformat()
