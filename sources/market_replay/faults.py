"""Faults on request: what can go wrong with an answer, which requests it hits, and how often.

Three families: the answer is another one (status, error_object, html, empty, recording, redirect), its rows are changed
(fields, numbers, times, pages), or its bytes do not travel well (resets, slowness, truncation, size).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sources.market_replay.exchange import Request

AnswerKind = Literal["status", "error_object", "html", "empty", "recording", "redirect"]
RowKind = Literal[
    "added_field",
    "removed_field",
    "renamed_field",
    "retyped_field",
    "null",
    "nan",
    "huge_number",
    "literal",
    "odd_text",
    "duplicate_rows",
    "empty_page",
    "future_times",
    "seconds_for_milliseconds",
]
PageKind = Literal["shifting_pages", "looping_pages"]
WireKind = Literal["reset_before", "reset_middle", "slow", "trickle", "truncated_json", "huge_answer", "gzip_bomb"]
Kind = AnswerKind | RowKind | PageKind | WireKind
ANSWER_KINDS: tuple[str, ...] = get_args(AnswerKind)
ROW_KINDS: tuple[str, ...] = get_args(RowKind)
PAGE_KINDS: tuple[str, ...] = get_args(PageKind)
WIRE_KINDS: tuple[str, ...] = get_args(WireKind)
KINDS = (*ANSWER_KINDS, *ROW_KINDS, *PAGE_KINDS, *WIRE_KINDS)
NEEDS_FIELD = ("removed_field", "renamed_field", "retyped_field", "null", "nan", "huge_number", "literal", "odd_text")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. It hits the requests whose host, path and query match, `times` times (None: always) after `after`.

    Parameters by kind:
        status: `status`, `retry_after` ("30", "0", "date:30" for an HTTP date 30 s ahead, "none" for no header; empty:
            what the API itself sends), the API's own error body.
        error_object: the body of `status` (429 unless given) with HTTP 200.  recording: `to`, a file below recordings/.
        redirect: `to`, a URL, with `status` (302 unless given).
        added_field: `field`, `to` (the value).  renamed_field: `field`, `to` (the new name).
        retyped_field: `field`, `to` (text, number, object, list or bool).
        literal: `field`, `to` (a raw JSON token such as -0 or 18446744073709551616).
        odd_text: `field`, `to` (nul, surrogate, rtl or emoji), appended to the value.
        duplicate_rows: the first `count` rows once more.  future_times: `seconds` ahead.
        shifting_pages: `count` rows come in front of the listing at each call.  looping_pages: page `count` for ever.
        reset_middle, truncated_json: `count` bytes of the body, or half of it.  slow: `seconds` before the answer.
        trickle: `rate` bytes a second.  huge_answer, gzip_bomb: `size` bytes.
    A field of a kline or of a chart point is its position ("4"); `row` is an index, or None for every row.
    """

    kind: Kind
    host: str = ".*"
    path: str = ""
    query: str = ""
    times: int | None = 1
    after: int = 0
    status: int = 0
    retry_after: str = ""
    seconds: float = 2.0
    field: str = ""
    to: str = ""
    row: int | None = None
    count: int = 0
    rate: int = 1000
    size: int = 200_000_000

    def __post_init__(self) -> None:
        """Refuse what could never fire."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; the known ones are {', '.join(KINDS)}")
        if self.kind in NEEDS_FIELD and not self.field:
            raise ValueError(f"the fault {self.kind} needs a field")
        if self.kind in {"renamed_field", "retyped_field", "literal", "odd_text", "recording"} and not self.to:
            raise ValueError(f"the fault {self.kind} needs `to`")
        for pattern in (self.host, self.path, self.query):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"the fault {self.kind} has a bad pattern {pattern!r}: {error}") from None

    def matches(self, request: Request, query: str) -> bool:
        """Whether a request is concerned: the whole host, any part of path and query."""
        return bool(
            re.fullmatch(self.host, request.host)
            and re.search(self.path, request.path)
            and re.search(self.query, query)
        )


def fault_of(values: Mapping[str, Any]) -> Fault:
    """A fault from JSON; ValueError says what is wrong with it."""
    unknown = set(values) - {item.name for item in fields(Fault)}
    if unknown or "kind" not in values:
        raise ValueError(f"a fault has a kind and no such key as {', '.join(sorted(unknown)) or 'these'}")
    return Fault(**values)


class Armed:
    """An injected fault and how often it met a request and fired."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.fired = 0

    @property
    def spent(self) -> bool:
        """Whether it will never fire again."""
        return self.fault.times is not None and self.fired >= self.fault.times


class FaultBook:
    """The armed faults, in the order of their injection; a request meets the first that still fires."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Armed] = []

    def inject(self, *faults: Fault) -> list[Armed]:
        """Arm faults."""
        armed = [Armed(fault) for fault in faults]
        with self._lock:
            self._armed.extend(armed)
        return armed

    def clear(self) -> None:
        """Disarm everything."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[Armed]:
        """All faults injected since the last clear, spent ones too."""
        with self._lock:
            return list(self._armed)

    def meet(self, request: Request, query: str) -> Armed | None:
        """The fault that fires on this request; it is counted already."""
        with self._lock:
            for armed in self._armed:
                if armed.spent or not armed.fault.matches(request, query):
                    continue
                armed.seen += 1
                if armed.seen > armed.fault.after:
                    armed.fired += 1
                    return armed
        return None

    def missed(self, armed: Armed) -> None:
        """The fault changed nothing (an answer without that field): it has not fired."""
        with self._lock:
            armed.fired -= 1
