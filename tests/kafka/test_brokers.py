"""The brokers that the Kafka tests stand on: what was acknowledged is there, exactly, also after a kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import Producer

from tests.kafka import brokers, jars
from tests.kafka.brokers import Bootstrap, Broker, MockBroker
from tests.kafka.topics import (
    Message,
    add_partitions,
    create_topic,
    delete_records,
    delete_topic,
    produce,
    read,
    send,
)

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]  # the first run fetches the jars
ROOT = Path(__file__).resolve().parents[2]
real = pytest.mark.parametrize("kind", jars.KINDS)
CHILD = """
import sys, time
from pathlib import Path
from tests.kafka.brokers import Broker
with Broker("kafka-4", Path(sys.argv[1])) as broker:
    print(broker.pid, flush=True)
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Bootstrap]]:
    """One broker of each kind for all tests here, started when it is first asked for."""
    started: dict[str, Bootstrap] = {}

    with contextlib.ExitStack() as stack:

        def broker(kind: str) -> Bootstrap:
            if kind not in started:
                new: Bootstrap = MockBroker()
                if kind != "mock":
                    new = Broker(cast("jars.Kind", kind), tmp_path_factory.mktemp(kind))
                started[kind] = stack.enter_context(new)
            return started[kind]

        yield broker


def messages(count: int, text: str = "value") -> list[Message]:
    """Every shape that a message can have, over four partitions, in the order of `read`."""
    shapes = [
        (b"key", b"value", ()),
        (None, b"no key", (("trace", b"\x00\xff"),)),
        (b"tombstone", None, (("a", b"1"), ("a", b"2"), ("none", None))),
        (b"", b"", (("empty", b""),)),
    ]
    made = []
    for index in range(count):
        key, value, headers = shapes[index // 4 % 4]
        value = None if value is None else value + f"{text} {index} é".encode()
        made.append(Message(key, value, headers, index % 4))
    return sorted(made, key=lambda message: message.partition)


@pytest.mark.parametrize("kind", [*jars.KINDS, "mock"])
def test_a_thousand_messages_come_back_as_they_were(kind: str, running: Callable[[str], Bootstrap]) -> None:
    broker = running(kind)
    create_topic(broker.bootstrap, "thousand", 4)
    sent = messages(1000)
    offsets = produce(broker.bootstrap, "thousand", sent)
    found = read(broker.bootstrap, "thousand")
    assert found == sent
    assert [message.offset for message in found] == offsets == [*range(250)] * 4


@real
def test_what_was_acknowledged_survives_a_kill(kind: str, running: Callable[[str], Bootstrap]) -> None:
    broker = running(kind)
    assert isinstance(broker, Broker)
    create_topic(broker.bootstrap, "killed", 4)
    sent = messages(1000)
    produce(broker.bootstrap, "killed", sent)
    before = broker.pid
    broker.kill()
    assert subprocess.run(["kill", "-0", str(before)], capture_output=True, check=False).returncode != 0
    broker.restart()
    assert broker.pid != before
    assert read(broker.bootstrap, "killed") == sent
    produce(broker.bootstrap, "killed", [Message(b"after", b"the kill")])
    assert len(read(broker.bootstrap, "killed")) == 1001


@real
def test_an_aborted_transaction_is_not_seen(kind: str, running: Callable[[str], Bootstrap]) -> None:
    broker = running(kind)
    create_topic(broker.bootstrap, "aborted", 1)
    before, aborted, after = (Message(None, value) for value in (b"before", b"aborted", b"after"))
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "one", "log_level": 0})
    producer.init_transactions(30)
    for message in (before, aborted, after):
        producer.begin_transaction()
        send(producer, "aborted", [message])
        if message is aborted:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    committed = read(broker.bootstrap, "aborted")
    assert committed == [before, after]
    assert [message.offset for message in committed] == [0, 4]  # each end of a transaction takes an offset too
    assert read(broker.bootstrap, "aborted", "read_uncommitted") == [before, aborted, after]


@real
def test_topics_change_as_their_administrator_says(kind: str, running: Callable[[str], Bootstrap]) -> None:
    bootstrap = running(kind).bootstrap
    create_topic(bootstrap, "changed", 1, {"max.message.bytes": "3000000"})
    large = Message(b"large", b"x" * 2_000_000)
    produce(bootstrap, "changed", [large, *messages(4)[:1]], {"message.max.bytes": 3_000_000})
    assert read(bootstrap, "changed")[0] == large
    delete_records(bootstrap, "changed", 0, 1)
    assert [message.offset for message in read(bootstrap, "changed")] == [1]
    add_partitions(bootstrap, "changed", 3)
    produce(bootstrap, "changed", [Message(None, b"new", partition=2)])
    assert [(message.partition, message.offset) for message in read(bootstrap, "changed")] == [(0, 1), (2, 0)]
    delete_topic(bootstrap, "changed")
    create_topic(bootstrap, "changed", 1)
    assert read(bootstrap, "changed") == []


@real
def test_a_stopped_broker_comes_back(kind: jars.Kind, tmp_path: Path) -> None:
    with Broker(kind, tmp_path) as broker:
        create_topic(broker.bootstrap, "kept", 4)
        produce(broker.bootstrap, "kept", messages(8))
        broker.stop()
        broker.start()
        assert read(broker.bootstrap, "kept") == messages(8)


@real
def test_what_keeps_a_broker_from_starting_is_said(
    kind: jars.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").mkdir()
    for file in brokers.SETTINGS.iterdir():
        (tmp_path / "settings" / file.name).write_text(file.read_text() + "num.partitions=many\n")
    monkeypatch.setattr(brokers, "SETTINGS", tmp_path / "settings")
    with (
        pytest.raises(RuntimeError, match=r"Invalid value many for configuration num\.partitions"),
        Broker(kind, tmp_path),
    ):
        pytest.fail("it cannot have started")


def test_it_ends_when_the_tests_are_killed(tmp_path: Path) -> None:
    jars.require_broker("kafka-4")
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    broker = Path("/proc", parent.stdout.readline().strip())
    assert (broker / "cmdline").read_bytes().startswith(b"java\0")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(broker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(broker)


def _runs(process: Path) -> bool:
    """Whether a process is there and no zombie: whoever adopted it may take a while to ask for its end."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
