"""From messages to pages: the payload's fields, and where each message stood."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from engine.conform.names import column_name, payload_name
from sources.kafka.json_format import Parsed
from sources.protocol import SetAside

if TYPE_CHECKING:
    from sources.kafka.message import Message

INSTANT = pa.timestamp("us", "UTC")
KEPT_BYTES = 65_536
"""Of a value that cannot be landed, so many bytes stay in the quarantine (in base64)."""
NO_TIME = 0
"""Message.timestamp()'s type where the message has none."""


class MessageFormat(Protocol):
    """One format of values."""

    def parse(self, values: Sequence[bytes]) -> Iterator[Parsed]:
        """Yield the batch in parts, in order."""


def pages(
    topic: str, batch: Sequence[Message], values: MessageFormat, max_bytes: int, deletes: str | None = None
) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | SetAside]:
    """Yield Arrow batches, pages of dicts, and messages that are set aside with the reason.

    Where a message stood comes before its fields: the quarantine cuts long rows at their end. Where tombstones
    delete the row that their key names in the column `deletes`, they have pages of their own, in their turn.
    """
    if deletes is None or all(message.value() is not None for message in batch):
        yield from _pages(topic, batch, values, max_bytes)
        return
    for deletions, messages in in_turns(batch):
        if deletions:
            yield _deletions(topic, messages, deletes)
        else:
            yield from _pages(topic, messages, values, max_bytes)


def in_turns(batch: Sequence[Message]) -> Iterator[tuple[bool, list[Message]]]:
    """Part a batch such that each key's tombstones and other messages keep their order, in as few parts as will do.

    A page has one load time, and that is what tells the models which came last. Yields whether these are deletions.
    """
    turns: list[list[Message]] = [[]]
    turn_of: dict[bytes | None, int] = {}
    for message in batch:
        key = message.key()
        deletion = key is not None and message.value() is None
        turn = turn_of.get(key, 0)
        if turn % 2 != deletion:
            turn += 1
        if turn:  # nearly all messages of nearly all topics have no deletion before them
            turn_of[key] = turn
            turns.extend([] for _ in range(turn + 1 - len(turns)))
        turns[turn].append(message)
    yield from ((bool(turn % 2), messages) for turn, messages in enumerate(turns) if messages)


def _deletions(topic: str, messages: Sequence[Message], column: str) -> pa.RecordBatch:
    where = positions(topic, messages)
    return pa.RecordBatch.from_pydict(
        {**where, column: where["_kafka_key"], "is_deleted": pa.repeat(pa.scalar(value=True), len(messages))}
    )


def _pages(
    topic: str, batch: Sequence[Message], values: MessageFormat, max_bytes: int
) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | SetAside]:
    given = [message.value() for message in batch]
    values_of = [value for value in given if value is not None and len(value) <= max_bytes]
    readable = batch
    if len(values_of) < len(batch):
        readable, refused = [], []
        for message, value in zip(batch, given, strict=True):
            if value is None:
                refused.append(set_aside(topic, message, "tombstone: the producer deleted this key"))
            elif len(value) > max_bytes:
                refused.append(set_aside(topic, message, f"{len(value):,} bytes; max_message_kb allows {max_bytes:,}"))
            else:
                readable.append(message)
        yield SetAside(refused)
    for part in values.parse(values_of):
        messages = readable[part.start : part.start + part.count]
        if part.columns is not None:
            yield _arrow(topic, messages, part.columns)
        else:
            yield from _dicts(topic, messages, part.rows)


def _arrow(topic: str, messages: Sequence[Message], payload: pa.RecordBatch) -> pa.RecordBatch:
    where = positions(topic, messages)
    names = [_free(name) for name in payload.schema.names]
    return pa.RecordBatch.from_arrays([*where.values(), *payload.columns], names=[*where, *names])


def _dicts(
    topic: str, messages: Sequence[Message], rows: Sequence[dict[str, Any] | str]
) -> Iterator[list[dict[str, Any]] | SetAside]:
    page, refused = [], []
    for message, row in zip(messages, rows, strict=True):
        if isinstance(row, str):
            refused.append(set_aside(topic, message, row))
        else:
            page.append(position(topic, message) | {_free(name): value for name, value in row.items()})
    if refused:
        yield SetAside(refused)
    if page:
        yield page


def _free(field: str) -> str:
    """Keep a payload's field out of the way of the columns that say where its message stood."""
    return payload_name(field) if column_name(field).startswith("_kafka") else field


VALUE, VALUE_BYTES = "_kafka_value_base64", "_kafka_value_bytes"
"""Of a message that was set aside unread: what is kept of its value, and how long it was. No payload has such names."""
LAST_MS = 253_402_300_799_999
"""The year 9999 ends. A producer that sends microseconds for milliseconds is beyond: its time is no time."""


def positions(topic: str, messages: Sequence[Message]) -> dict[str, pa.Array]:
    """Return POSITION_COLUMNS of many messages."""
    times = (message.timestamp() for message in messages)  # never held: many pairs at once wake the garbage collector
    stamps = pa.array(
        [ms if kind != NO_TIME and 0 <= ms <= LAST_MS else None for kind, ms in times], pa.timestamp("ms", "UTC")
    )
    headers = [message.headers() for message in messages]
    return {
        "_kafka_topic": pa.repeat(pa.scalar(topic), len(messages)),
        "_kafka_partition": pa.array([message.partition() for message in messages], pa.int64()),
        "_kafka_offset": pa.array([message.offset() for message in messages], pa.int64()),
        "_kafka_key": _texts([message.key() for message in messages]),
        "_kafka_headers": pa.array([_headers(one) if one else None for one in headers], pa.string()),
        "_kafka_timestamp": stamps.cast(INSTANT),
    }


def position(topic: str, message: Message) -> dict[str, Any]:
    """Return POSITION_COLUMNS of one message."""
    return {name: values[0].as_py() for name, values in positions(topic, [message]).items()}


def set_aside(topic: str, message: Message, reason: str) -> tuple[str, str | None, dict[str, Any]]:
    """Return reason, the value's beginning as text, and the message as a row."""
    value = message.value()
    where = position(topic, message)
    where["_kafka_timestamp"] = where["_kafka_timestamp"] and where["_kafka_timestamp"].isoformat()
    if value is None:
        return reason, None, where
    kept = base64.b64encode(value[:KEPT_BYTES]).decode()
    return reason, value[:1000].decode(errors="replace"), where | {VALUE: kept, VALUE_BYTES: len(value)}


def _texts(values: Sequence[bytes | str | None]) -> pa.Array:
    try:
        return pc.cast(pa.array(values, pa.binary()), pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if value is None else text_of(value) for value in values], pa.string())


def text_of(value: bytes | str) -> str:
    """Return bytes as text: UTF-8 where they are that, else base64."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _headers(headers: Sequence[tuple[str, bytes | str | None]]) -> str:
    return json.dumps([[name, None if value is None else text_of(value)] for name, value in headers])
