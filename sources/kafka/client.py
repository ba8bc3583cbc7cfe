"""Clients of the brokers: their settings, and one clear error where librdkafka reports many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import SourceError
from sources.kafka.mock import MOCK, address

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

    from sources.kafka.settings import KafkaSource

Client = TypeVar("Client")
log = logging.getLogger(__name__)
ELECTING = {5, 6, 8, 9, 13, 56, 72, 74, 75, 78}
"""Leadership moves, or a broker has just come back and is older than what it told before: right again in a moment."""
REFUSED = {"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL"}
"""Names of librdkafka's errors: the brokers are there, and do not let us in, or we do not trust them."""
FETCH_BYTES = 2 << 20
"""Of one partition in one answer, as it was packed; a larger message comes all the same."""
QUEUE_KB = 32_768
"""Messages that librdkafka fetches ahead of us, in kilobytes, of all partitions: a batch is a third of it."""


def settings_of(source: KafkaSource) -> dict[str, Any]:
    """Return what every client of these brokers is made with; the password is only in here."""
    config: dict[str, Any] = {
        "bootstrap.servers": address() if source.brokers == MOCK else source.brokers,
        "client.id": "tickhouse",
        "socket.timeout.ms": int(source.timeout_seconds * 1000),
        "socket.connection.setup.timeout.ms": int(source.timeout_seconds * 1000),
        "log_level": 2,
        "logger": log,
    }
    if source.security is not None:
        config["security.protocol"] = source.security.protocol
        if source.security.mechanism:
            config["sasl.mechanism"] = source.security.mechanism
            config["sasl.username"] = source.security.username
            config["sasl.password"] = source.security.password
        if source.security.ca_file:
            config["ssl.ca.location"] = source.security.ca_file
    return config


def reader_settings(source: KafkaSource) -> dict[str, Any]:
    """Return what a reader is made with: positions are ours, the group only gives its name to them."""
    return settings_of(source) | {
        "group.id": source.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # an offset that is gone is told, never skipped over in silence
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.message.max.bytes": FETCH_BYTES,
        "queued.max.messages.kbytes": QUEUE_KB,
        "fetch.queue.backoff.ms": 20,  # a full queue is emptied in a tenth of a second: a whole one is too long
        "fetch.wait.max.ms": 100,
        "check.crcs": True,
    }


def reader(source: KafkaSource, name: str) -> Consumer:
    """Make a reader; `name` is the source's, for errors. Raises SourceError: librdkafka refuses the settings."""
    from confluent_kafka import Consumer

    return _made(Consumer, reader_settings(source), name, source)


class Admin:
    """An administrator's client, which can tell why the brokers let nobody in. Keep it until all is answered."""

    def __init__(self, source: KafkaSource, name: str) -> None:
        """`name` is the source's, for errors. Raises SourceError: librdkafka refuses the settings."""
        from confluent_kafka.admin import AdminClient

        self._source = source
        self._name = name
        self._heard: list[KafkaError] = []
        # or a question about a misspelt topic makes it, where the brokers are set to make what they are asked for
        settings = {"allow.auto.create.topics": False, "error_cb": self._heard.append}
        self.client = _made(AdminClient, settings_of(source) | settings, name, source)

    def broken(self, error: KafkaError) -> SourceError:
        """Return the error to raise: what a call failed with, or the sign-in that was refused meanwhile."""
        self.client.poll(0.1)  # calls report that no broker answers; why, only those hear who poll
        return broken(self._name, self._source, next((one for one in self._heard if one.name() in REFUSED), error))


def _made(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any], name: str, source: KafkaSource) -> Client:
    from confluent_kafka import KafkaException

    try:
        return kind(config)
    except KafkaException as error:  # a file that is not there, say
        raise broken(name, source, error.args[0]) from None


def broken(name: str, source: KafkaSource, error: KafkaError) -> SourceError:
    """Return the error that says which brokers failed how, and what to do."""
    text = " ".join(error.str().split())[:200]
    code = error.name()
    if code in {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_MSG_TIMED_OUT", "_RESOLVE", "LEADER_NOT_AVAILABLE"}:
        return SourceError(
            name,
            f"kafka at {source.brokers} does not answer within {source.timeout_seconds:.0f} s ({text})",
            "Start the brokers, or correct `brokers`. Nothing is lost: the next run reads on from the same offsets.",
        )
    if code == "_INVALID_ARG":
        return SourceError(
            name, f"librdkafka refuses the settings ({text})", "Correct `security`, `ca_file` say.", terminal=True
        )
    if code in REFUSED:
        return SourceError(
            name,
            f"kafka at {source.brokers} does not let us in ({text})",
            "Check `security` and the environment variables it names.",
            terminal=True,
        )
    if code in {"TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"}:
        return SourceError(
            name, f"kafka refuses: {text}", "Grant READ and DESCRIBE on the topic to this user.", terminal=True
        )
    return SourceError(name, f"kafka at {source.brokers}: {code}: {text}", "Run again; nothing of it was landed.")


def silent(name: str, source: KafkaSource) -> SourceError:
    """Return the error of brokers that take questions and answer none."""
    return SourceError(
        name,
        f"kafka at {source.brokers} has gone silent for {source.timeout_seconds:.0f} s",
        "Look at the brokers. Nothing is lost: the next run reads on from the same offsets.",
    )
