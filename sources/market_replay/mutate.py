"""What a fault does to a request and to an answer before it is written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from sources.market_replay.exchange import Answer, Api, Request
from sources.market_replay.faults import PAGE_KINDS, ROW_KINDS, Fault
from sources.market_replay.market import Market
from sources.market_replay.rows import SHAPES, change_field, rows_of, with_rows

RECORDINGS = Path(__file__).resolve().parent / "recordings"
LITERAL = "@@literal@@"
"""Stands for a raw token in a payload; the text of the answer has `Fault.to` in its place."""
ODD_TEXTS = {"nul": "a\x00b", "surrogate": "\ud83d", "rtl": "\u202eabc\u202c", "emoji": "\U0001f680"}
HTML_PAGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>Checking</h1></body></html>"
HTTP_ERROR = 500
TOO_MANY = 429
KEPT_HEADERS = {"retry-after", "x-mbx-used-weight-1m", "cache-control"}


def on_request(fault: Fault, fired: int, request: Request) -> Request:
    """Page faults change what is asked."""
    if fault.kind not in PAGE_KINDS:
        return request
    if fault.kind == "shifting_pages":
        return replace(request, shift=(fault.count or 10) * (fired + 1))
    return replace(request, page=min(request.integer("page", 1), fault.count or 2))


def on_answer(fault: Fault, answer: Answer, api: Api, market: Market) -> Answer:
    """The answer as the fault leaves it; a wire fault leaves it as it is."""
    if fault.kind in ROW_KINDS and answer.resource in SHAPES:
        rows = _change(fault, rows_of(answer.resource, answer.payload), answer.resource)
        return replace(answer, payload=with_rows(answer.resource, answer.payload, rows))
    makers: dict[str, Callable[[], Answer]] = {
        "status": lambda: _status(fault, api.failure(fault.status or HTTP_ERROR, market), market),
        "error_object": lambda: replace(api.failure(fault.status or TOO_MANY, market), status=200, headers={}),
        "html": lambda: Answer(HTML_PAGE, fault.status or 200, content_type="text/html; charset=utf-8"),
        "empty": lambda: replace(answer, payload="", status=fault.status or 200, resource=""),
        "recording": lambda: recorded(fault.to, answer.resource),
        "redirect": lambda: Answer("", fault.status or 302, {"Location": fault.to or "https://elsewhere.invalid/"}),
    }
    return makers[fault.kind]() if fault.kind in makers else answer


def recorded(name: str, resource: str = "") -> Answer:
    """A recorded payload, byte for byte in meaning, with its recorded status."""
    path = (RECORDINGS / name).resolve()
    packed = path.with_name(path.name + ".gz")
    if not path.is_relative_to(RECORDINGS) or not (path.exists() or packed.exists()):
        return Answer({"error": f"the market replay has no recording {name!r}"}, 500)
    notes = path.with_name(path.name + ".meta")
    meta = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    text = path.read_text(encoding="utf-8") if path.exists() else gzip.decompress(packed.read_bytes()).decode()
    kind = "application/json;charset=utf-8" if path.suffix == ".json" else "text/html"
    headers = {key: value for key, value in meta.get("headers", {}).items() if key.lower() in KEPT_HEADERS}
    # a text keeps every digit of its numbers, which parsing and writing would not
    code = int(meta.get("status", 200))
    return Answer(text, code, headers, kind, resource=f"recording:{resource}" if resource else "")


def _status(fault: Fault, answer: Answer, market: Market) -> Answer:
    if not fault.retry_after:
        return answer
    headers = {name: value for name, value in answer.headers.items() if name != "Retry-After"}
    if fault.retry_after.startswith("date:"):
        at = datetime.fromtimestamp(market.now(), tz=UTC) + timedelta(seconds=float(fault.retry_after[5:]))
        headers["Retry-After"] = format_datetime(at, usegmt=True)
    elif fault.retry_after != "none":
        headers["Retry-After"] = fault.retry_after
    return replace(answer, headers=headers)


def _change(fault: Fault, rows: list[Any], resource: str) -> list[Any]:
    if fault.kind == "duplicate_rows":
        return rows + rows[: fault.count or len(rows)]
    if fault.kind == "empty_page":
        return []
    chosen = rows if fault.row is None else rows[fault.row : fault.row + 1]
    for row in chosen:
        if fault.kind in {"future_times", "seconds_for_milliseconds"}:
            _change_times(fault, row, resource)
        else:
            _change_row(fault, row)
    return rows


def _change_row(fault: Fault, row: Any) -> None:
    if fault.kind == "added_field":
        if isinstance(row, dict):
            row[fault.field or "unannounced"] = fault.to or "new"
        else:
            row.append(fault.to or "new")
    elif fault.kind in {"renamed_field", "removed_field"}:
        if isinstance(row, dict) and fault.field in row:
            value = row.pop(fault.field)
            if fault.kind == "renamed_field":
                row[fault.to] = value
    else:
        change_field(row, fault.field, _changes(fault))


def _changes(fault: Fault) -> Callable[[Any], Any]:
    if fault.kind == "null":
        return lambda _value: None
    if fault.kind == "retyped_field":
        types: dict[str, Callable[[Any], Any]] = {
            "text": str,
            "number": float,
            "object": lambda value: {"value": value},
            "list": lambda value: [value],
            "bool": bool,
        }
        return types[fault.to]
    if fault.kind == "odd_text":
        return lambda value: f"{value}{ODD_TEXTS[fault.to]}"
    return lambda _value: LITERAL


def literal_of(fault: Fault) -> str:
    """The raw token that a fault writes."""
    return {"nan": "NaN", "huge_number": "1e400"}.get(fault.kind, fault.to)


def _change_times(fault: Fault, row: Any, resource: str) -> None:
    shape = SHAPES[resource]
    if fault.kind == "seconds_for_milliseconds":
        for name in shape.milliseconds:
            change_field(row, name, lambda value: value // 1000)
        return
    for name in shape.seconds:
        change_field(row, name, lambda value: value + int(fault.seconds))
    for name in shape.milliseconds:
        change_field(row, name, lambda value: value + int(fault.seconds * 1000))
    for name in shape.texts:
        change_field(row, name, lambda value: _later(value, fault.seconds))


def _later(text: str, seconds: float) -> str:
    """The same spelling of a time, later."""
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            moved = datetime.strptime(text, form) + timedelta(seconds=seconds)  # noqa: DTZ007 - as spelt
        except ValueError:
            continue
        written = moved.strftime(form)
        if form.endswith("%fZ"):
            return written[:-4] + "Z"
        return written[:-2] + ":" + written[-2:] if form.endswith("%z") else written
    return text
