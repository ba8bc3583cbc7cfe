"""What is broken and was told: one small file in <data>/state, so that every process of a profile tells it once.

A thing that breaks has a key: `destination NAME` (whichever pipeline meets it), or `source`, `models`, `run`, `late`
with a pipeline.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path

from engine.locks import AGAIN, hold
from engine.notify.webhook import WHOLE_SECONDS

log = logging.getLogger(__name__)
LOCK_SECONDS = 6 * WHOLE_SECONDS
"""How long one waits for others that are telling something: a slow webhook takes each WHOLE_SECONDS."""

SLOT_BYTES, WHY_LETTERS = 65_536, 400
"""The file has two slots of so many bytes, which are written in turn. Each has room for some hundred things."""


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


NOTHING: tuple[int, list[Broken]] = (-1, [])
_UNWRITTEN: dict[Path, tuple[int, list[Broken]]] = {}
"""What this process could not write, by path: what was told is not told again for that."""


class Memory:
    """The things that are broken, of one data folder."""

    def __init__(self, data_dir: Path, remind: timedelta) -> None:
        """Tell again after `remind`."""
        self._path = data_dir / "state" / "notified.json"
        self._lock = data_dir / "locks" / "notify.lock"
        self._remind = remind

    @contextmanager
    def change(self, broken: Mapping[str, str], works: Callable[[str], bool], now: datetime) -> Iterator[Change]:
        """Give what changes with what is broken now (key: why) and what `works` again; keep it when the block ends.

        Where it cannot be kept, this process keeps it. Raises BusyError.
        """
        if not broken and self._is_reserved() and not self.broken():
            yield Change()
            return
        with hold(self._lock, "telling people", wait_seconds=LOCK_SECONDS, remedy=AGAIN):
            self._reserve()
            number, before = self._read()
            known = {thing.key: replace(thing) for thing in before}
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
            after = [thing for key, thing in known.items() if key not in gone]
            if after != before:
                self._write(number + 1, after)

    def broken(self) -> list[Broken]:
        """Return what is noted as broken."""
        return self._read()[1]

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
            write(path, json.dumps(dict(broken)).encode())
        else:
            path.unlink(missing_ok=True)

    def _untold(self, pipeline: str) -> Path:
        return self._path.with_name(f"untold-{pipeline}.json")

    def _read(self) -> tuple[int, list[Broken]]:
        """Return the things of the newer slot that is whole, and its number."""
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        slots = [_parsed(content[:SLOT_BYTES]), _parsed(content[SLOT_BYTES:])]
        return max(*slots, _UNWRITTEN.get(self._path, NOTHING), key=itemgetter(0))

    def _write(self, number: int, things: list[Broken]) -> None:
        """Write over the older slot, which takes no room of a disk: that it is full is a thing to tell, and once."""
        kept = [asdict(replace(thing, why=thing.why[:WHY_LETTERS])) for thing in things]
        document = json.dumps({"number": number, "things": kept}, default=_text).encode()
        try:
            if len(document) > SLOT_BYTES:
                raise OSError(errno.EFBIG, f"{len(things)} things are broken")
            with self._path.open("r+b") as slots:
                slots.seek(SLOT_BYTES * (number % 2))
                slots.write(document.ljust(SLOT_BYTES, b"\n"))
                slots.flush()
                os.fsync(slots.fileno())
            _UNWRITTEN.pop(self._path, None)
        except OSError:
            log.info("what was told could not be noted", exc_info=True)
            _UNWRITTEN[self._path] = number, things

    def _reserve(self) -> None:
        """Make the file as large as it will ever be, while there is room; one of an earlier version becomes a slot."""
        with suppress(OSError):
            if not self._is_reserved():
                before = self._path.read_bytes() if self._path.exists() else b""
                write(self._path, before.ljust(2 * SLOT_BYTES, b"\n"))

    def _is_reserved(self) -> bool:
        return self._path.exists() and self._path.stat().st_size >= 2 * SLOT_BYTES


def _parsed(slot: bytes) -> tuple[int, list[Broken]]:
    """Read a slot; one that is empty, half written or of somebody's edit is nothing: a thing is told once more."""
    try:
        found = json.loads(slot)
        number, rows = (0, found) if isinstance(found, list) else (found["number"], found["things"])
        return int(number), [
            Broken(row["key"], row["why"], _instant(row["since"]), row["told_at"] and _instant(row["told_at"]))
            for row in rows
        ]
    except (ValueError, KeyError, TypeError):
        return NOTHING


def write(path: Path, content: bytes) -> None:
    """Write a small file in one step: who reads it never sees half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, path)  # noqa: PTH105 - Path.replace is the same, os names what happens
    except OSError:
        scratch.unlink(missing_ok=True)  # on a full disk, half of it
        raise


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(value: object) -> str:
    assert isinstance(value, datetime)  # noqa: S101 - nothing else is in a Broken
    return value.isoformat()
