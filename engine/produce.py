"""Stream simulated rows into the topics of a kafka source: for demos, and to see what the platform carries.

What is sent next is written down before it is sent (state/produced-<source>.json): a stream that is killed and started
again never uses an id twice; what was reserved and not sent is left out.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.locks import AGAIN, hold

if TYPE_CHECKING:
    from engine.config.project import Project
    from sources.faker.stream import Page, Stream
    from sources.kafka.sending import Sender
    from sources.kafka.settings import KafkaSource

TICK_SECONDS = 0.2
LARGEST_BLOCK = 20_000
"""Rows that are reserved at once."""


@dataclass(slots=True)
class Produced:
    """What was acknowledged, by topic, in how many seconds; `created` names topics that were not there."""

    topics: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    created: list[str] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Of all topics."""
        return sum(self.topics.values())

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "messages": self.messages,
            "seconds": round(self.seconds, 3),
            "topics": self.topics,
            "created": self.created,
        }


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a stream ends, and how fast it is: messages a second, 0 as fast as the brokers take them.

    `people`: begin with all customers and companies, also where an earlier stream has sent them.
    """

    rate: float = 1_000.0
    seconds: float | None = None
    messages: int | None = None
    people: bool = False


def produce(
    project: Project,
    bounds: Bounds,
    *,
    target: str | None = None,
    origin: str | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda _: None,
    told: Callable[[str, bytes], None] | None = None,
) -> Produced:
    """Send until the bounds, or until `stop` is set; every message counted is acknowledged by the brokers.

    `told` hears of each one (topic, key). Raises UsageError (no such source), SourceError (the brokers).
    """
    name, kafka = _chosen(project, "kafka", target, "--to")
    maker, faker = _chosen(project, "faker", origin, "--from")
    topics = _topics(name, kafka)
    assets = [asset for listed in project.assets.values() for asset in listed]
    if not assets:
        raise UsageError("there are no assets to trade", "Add an asset list under `assets` in pipelines.yaml.")
    state = State(project.data_dir / "state" / f"produced-{maker}.json")
    with hold(state.path.with_suffix(".lock"), f"the stream of {maker}", remedy=AGAIN):
        from sources.faker.stream import Stream
        from sources.kafka.sending import Sender, create_topics

        kept = state.read()
        done = Produced(created=create_topics(kafka, name, sorted(topics.values())))
        sender = Sender(kafka, name, told)
        flow = _Flow(Stream(faker, assets, kept), sender, topics, lambda: state.write(kept), say)
        began = time.monotonic()
        with sender:
            if bounds.people or not kept.get("begun"):
                flow.people()
                kept["begun"] = True
                state.write(kept)
            flow.run(bounds, stop or threading.Event())
        done.topics, done.seconds = dict(sorted(sender.acknowledged.items())), time.monotonic() - began
    return done


@dataclass(slots=True)
class _Flow:
    """Rows from a stream to a sender."""

    stream: Stream
    sender: Sender
    topics: Mapping[str, str]
    save: Callable[[], None]
    say: Callable[[str], None]
    sent: int = 0

    def people(self) -> None:
        """Send everybody, and wait until it is acknowledged."""
        self._send(self.stream.population(datetime.now(UTC)))
        self.sender.flush()

    def run(self, bounds: Bounds, stop: threading.Event) -> None:
        """Send block after block, as fast as the rate allows."""
        began, flowed = time.monotonic(), 0
        since = datetime.now(UTC) - timedelta(seconds=1)
        while not stop.is_set():
            seconds = time.monotonic() - began
            left = _left(bounds, self.sent, seconds)
            if left == 0:
                break
            due = int(seconds * bounds.rate) - flowed if bounds.rate else LARGEST_BLOCK
            block = min(due, LARGEST_BLOCK, LARGEST_BLOCK if left is None else left)
            if block > 0:
                taken = self.stream.reserve(block)
                self.save()
                now = datetime.now(UTC)
                self._send(self.stream.pages(taken, since, now))
                since, flowed = now, flowed + block
                self.say(f"{sum(self.sender.acknowledged.values()):,} messages acknowledged")
            if bounds.rate and due <= block:
                stop.wait(TICK_SECONDS)

    def _send(self, pages: Iterator[Page]) -> None:
        from sources.faker.stream import KEYS

        for table, rows in pages:
            if table.name in self.topics:
                self.sender.send(self.topics[table.name], KEYS[table.name], rows)
                self.sent += rows.num_rows


def _left(bounds: Bounds, sent: int, seconds: float) -> int | None:
    """How many messages may still be sent; None: any number."""
    if bounds.seconds is not None and seconds >= bounds.seconds:
        return 0
    return None if bounds.messages is None else max(0, bounds.messages - sent)


def _chosen(project: Project, kind: str, named: str | None, option: str) -> tuple[str, Any]:
    """Return the source of that type, the named one where there are several."""
    found = {name: source for name, source in project.sources.items() if source.type == kind}
    if named is not None and named in found:
        return named, found[named]
    if named is None and len(found) == 1:
        return next(iter(found.items()))
    skipped = [f"{name}: {why}" for name, why in project.skipped_sources.items() if named in {None, name}]
    if not found and skipped:
        raise UsageError(
            f"no source of type {kind} can be used ({'; '.join(skipped)})",
            "Set the variable, in the environment or .env.",
        )
    if not found:
        raise UsageError(f"pipelines.yaml has no source of type {kind}", "Add one under `sources` (docs/sources.md).")
    raise UsageError(
        f"pipelines.yaml has {len(found)} sources of type {kind}"
        if named is None
        else f"there is no {kind} source {named!r}",
        f"Name one with {option}: {', '.join(found)}.",
    )


def _topics(name: str, kafka: KafkaSource) -> dict[str, str]:
    """Return the topic of each table that the stream has, where it is of JSON."""
    from sources.faker.stream import KEYS

    topics = {
        settings.table or resource: settings.topic or resource
        for resource, settings in kafka.resources.items()
        if settings.format == "json" and (settings.table or resource) in KEYS
    }
    if not topics:
        raise UsageError(
            f"source {name} has no topic for simulated rows", f"Add resources of format json: {', '.join(KEYS)}."
        )
    return topics


class State:
    """What a stream has reserved, in one small JSON file."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self.path = path

    def read(self) -> dict[str, Any]:
        """Return what was written last; nothing where there is none. Raises UsageError when it cannot be read."""
        try:
            found = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            found = error
        if not isinstance(found, dict):
            raise UsageError(
                f"{self.path} cannot be read: which ids were used is not known",
                "Delete the file and give the faker source another seed: with the same one ids would come twice.",
            )
        return found

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace it: on disk before anything of it is sent."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".tmp")
        with partial.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
