"""A project of one `kafka` source and no models: one topic, its table, the lake and the embedded warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.small_project import HEAD, SmallProject
from tests.kafka.topics import Message

TOPIC = "orders"
TABLE = "raw_orders"
SOURCE = """\
sources:
  stream:
    type: kafka
    brokers: "%s"
    timeout_seconds: %d
    %s
    resources:
      orders: {table: raw_orders, columns: {id: {type: bigint}, price: {type: decimal}}, %s}
pipelines:
  drain: {extract: [stream], load: [warehouse], transform: false}
"""


@dataclass(frozen=True)
class TopicProject(SmallProject):
    """As SmallProject, with `drain` in place of its pipelines."""

    def on(self, bootstrap: str, *, source: str = "", topic: str = "dead_letter: ''", seconds: int = 5) -> TopicProject:
        """Write pipelines.yaml for these brokers."""
        self.folder.mkdir(exist_ok=True)
        self.write(HEAD + SOURCE % (bootstrap, seconds, source, topic))
        return self

    def notices(self) -> list[str]:
        """Run; return what the summary says of the topic."""
        report = self.run("drain")
        assert report.status == "ok", report.failures
        return [notice for resource in report.resources for notice in resource.notices]

    def landed(self) -> list[tuple[int, int, int]]:
        """(partition, offset, id) of every landed row, in order."""
        rows = self.rows(f"select _kafka_partition, _kafka_offset, id from landing.{TABLE} order by all")
        return [(row[0], row[1], row[2]) for row in rows]

    def set_aside(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(reason, what is known of it) of every quarantine row, in order."""
        rows = self.rows("select reason, row from landing._quarantine order by all")
        return [(row[0], json.loads(row[1])) for row in rows]


def orders(ids: Iterable[int], partition: int = 0) -> Sequence[Message]:
    """Messages of good orders."""
    return [
        Message(str(number).encode(), b'{"id": %d, "price": "%d.000000000000000001"}' % (number, number), (), partition)
        for number in ids
    ]
