"""How far one asset and variant has been read: the newest cursor value, and the rows delivered at it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.conform.times import micros, to_timestamp
from engine.table import Column
from sources.protocol import SourceContext
from sources.rest.words import DURATION, Incremental, duration

MOST_SEEN = 4000
"""Rows near the cursor that the state remembers; beyond it a delivery may come twice (landing keeps both)."""
AHEAD = timedelta(days=1)
"""A cursor value further than this ahead of now is delivered but not believed: it would hide all that follows."""

Mark = int | str


class Position:
    """Follows the cursor of one walk. `saved` is what `state` returned in the run before.

    Only what that run saw last is left out: a row that changes and changes back is delivered each time.
    """

    def __init__(
        self, incremental: Incremental, column: Column, ctx: SourceContext, variant: str, saved: dict[str, Any] | None
    ) -> None:
        self.column = column
        self.full_page = incremental.full_page
        self._is_time = column.data_type == "timestamp"
        self._lag = micros_of(duration(incremental.lag)) if incremental.lag and self._is_time else 0
        self._newest_believed = micros(ctx.now + AHEAD) if self._is_time else None
        self._window = (micros(ctx.window.start), micros(ctx.window.end)) if ctx.window and self._is_time else None
        self._before: frozenset[str] = frozenset()
        self._seen: dict[str, Mark] = {}
        self.newest: Mark | None = None
        self.stuck = False
        """A full page brought the cursor no further: more rows share one value than a page holds."""
        if self._window:
            self.asks_from: Mark | None = self._window[0]
        elif saved:
            self.newest = saved["cursor"]
            self._before = frozenset(saved["seen"])
            self.asks_from = self.newest - self._lag if isinstance(self.newest, int) else self.newest
        else:
            self.asks_from = self._first(incremental.start(variant), ctx.now)

    @property
    def is_time(self) -> bool:
        """Whether the cursor is an instant, in microseconds since 1970."""
        return self._is_time

    def fresh(self, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """Return the rows not delivered before (within the window, if there is one), and whether more follow."""
        kept = []
        for row in rows:
            mark = self._mark(row.get(self.column.name))
            if mark is None:
                kept.append(row)
                continue
            if self._window and not self._window[0] <= mark < self._window[1]:  # type: ignore[operator]
                continue
            digest = fingerprint(row)
            if digest not in self._seen and digest not in self._before:
                kept.append(row)
            self._remember(digest, mark)
        return kept, self._goes_on(len(rows))

    def state(self) -> dict[str, Any] | None:
        """What the next run has to know; None while backfilling, or if nothing was read."""
        if self._window or self.newest is None or not self._seen:
            return None
        return {"cursor": self.newest, "seen": list(self._near())[-MOST_SEEN:]}

    def _remember(self, digest: str, mark: Mark) -> None:
        if self._newest_believed is not None and isinstance(mark, int) and mark > self._newest_believed:
            return
        if self.newest is None or mark > self.newest:  # type: ignore[operator]
            self.newest = mark
        self._seen[digest] = mark
        if len(self._seen) > 2 * MOST_SEEN:
            self._seen = self._near()

    def _near(self) -> dict[str, Mark]:
        """Keep the rows that the next request may bring again."""
        if isinstance(self.newest, int):
            since = self.newest - self._lag
            return {key: mark for key, mark in self._seen.items() if isinstance(mark, int) and mark >= since}
        return {key: mark for key, mark in self._seen.items() if mark == self.newest}

    def _goes_on(self, rows: int) -> bool:
        """Move to the last cursor if the page was full; a page that brings the cursor no further is the last."""
        if not self.full_page or rows < self.full_page or self.newest is None:
            return False
        if self.newest == self.asks_from:
            self.stuck = True
            return False
        self.asks_from = self.newest
        return True

    def _mark(self, value: Any) -> Mark | None:
        """Return the cursor of a value; None for one that is no cursor (the typing step judges the row)."""
        if self._is_time:
            try:
                return to_timestamp(value, self.column)
            except ValueError:
                return None
        if self.column.data_type == "bigint":
            try:
                return None if value is None or isinstance(value, bool) else int(value)
            except (TypeError, ValueError):
                return None
        return value if isinstance(value, str) else None

    def _first(self, initial: Any, now: datetime) -> Mark | None:
        if initial is None or not self._is_time:
            return initial  # type: ignore[no-any-return]
        text = str(initial)
        return micros(now - duration(text)) if DURATION.match(text) else to_timestamp(text, self.column)


def micros_of(span: timedelta) -> int:
    """Microseconds of a duration."""
    return span // timedelta(microseconds=1)


def fingerprint(row: Any) -> str:
    """Sixteen hex digits that tell two rows apart."""
    return hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
