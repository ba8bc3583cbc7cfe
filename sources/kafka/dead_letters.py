"""Messages that could not be landed go to a topic of their own, with where they stood and why.

It is written before the package is committed: a run that dies in between sends them once more, with the same topic,
partition and offset in the headers; none is ever missing there.
"""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.conform.faults import NOT_A_NUMBER
from engine.conform.json_text import row_text
from sources.kafka.client import settings_of
from sources.kafka.page import VALUE, VALUE_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

    from sources.kafka.settings import KafkaSource, KafkaTopic
    from sources.protocol import SourceContext

SUFFIX = ".dead-letter"
SENDING = {"enable.idempotence": True, "compression.type": "lz4", "message.max.bytes": 20_000_000}
"""The client refuses no letter for its size; the topic has its own limit."""
PLACE = re.compile(r'\{"_kafka_topic": ?"([\w.-]+)", ?"_kafka_partition": ?(\d+), ?"_kafka_offset": ?(\d+)')
"""How a row begins that was too long for the quarantine, and was cut."""
CUT = "_kafka_cut"
ON_THEIR_WAY = 1_000
"""Letters that wait in the client at most."""


def send(source: KafkaSource, topic: str, settings: KafkaTopic, rows: pa.Table, ctx: SourceContext) -> bool:
    """Produce the quarantine's rows that are messages; a topic that is not there is said, and costs nothing else.

    Returns False if the topic does not take them: one waits `timeout_seconds` for that, once a run is enough.
    """
    target = f"{topic}{SUFFIX}" if settings.dead_letter is None else settings.dead_letter
    letters = [letter for letter in map(_letter, rows.to_pylist()) if letter is not None]
    if not target or not letters:
        return True
    from confluent_kafka import KafkaException, Producer

    failures: list[str] = []
    left = 0

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(error.str())

    try:
        producer = Producer(settings_of(source) | SENDING)
    except KafkaException as error:
        failures += [str(error)] * len(letters)
    else:
        for number, (key, value, headers) in enumerate(letters):
            if len(producer) >= ON_THEIR_WAY and producer.flush(source.timeout_seconds):
                left = len(letters) - number
                break
            try:
                producer.produce(target, value=value, key=key, headers=headers, on_delivery=delivered)
            except (KafkaException, BufferError) as error:  # of this one only
                failures.append(str(error))
            producer.poll(0)
        left += len(producer) if left else producer.flush(source.timeout_seconds)
    if failures or left:
        why = failures[0] if failures else "no answer"
        ctx.notice(
            f"{len(failures) + left:,} messages were not sent to the topic {target!r} ({why[:100]}): create it, or set "
            "dead_letter; they, and all others of this run, are in landing._quarantine",
            item=topic,
        )
    return not (failures or left)


def _letter(row: dict[str, Any]) -> tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]] | None:
    """Return key, value and headers; None for a row that tells of offsets, or of a message that landed all the same."""
    told = _told(row["row"])
    if told.get("_kafka_offset") is None or row["reason"] == NOT_A_NUMBER:
        return None
    headers = {
        "topic": told["_kafka_topic"],
        "partition": told["_kafka_partition"],
        "offset": told["_kafka_offset"],
        "column": row["column_name"] or "",
        "reason": row["reason"],
        "load_id": row["_load_id"],
    }
    if VALUE_BYTES in told:
        value: bytes | None = base64.b64decode(told[VALUE])
        headers["value_bytes"] = told[VALUE_BYTES]
    elif CUT in told:
        value = told[CUT].encode()
    else:  # typed fields of a message that was read: as JSON, without where it stood
        fields = {name: field for name, field in told.items() if not name.startswith("_kafka")}
        value = row_text(fields.items()).encode() if fields else None
    key = told.get("_kafka_key")
    return (
        None if key is None else key.encode(),
        value,
        [(name, str(text).encode()) for name, text in headers.items()],
    )


def _told(row: str) -> dict[str, Any]:
    """Return a quarantine row's fields; of one that was cut, where its message stood and what is left of the text."""
    try:
        told: dict[str, Any] = json.loads(row, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        place = PLACE.match(row)
        if place is None:
            return {}
        topic, partition, offset = place.groups()
        told = {"_kafka_topic": topic, "_kafka_partition": int(partition), "_kafka_offset": int(offset), CUT: row}
    return told
