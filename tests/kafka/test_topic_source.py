"""Topics as a source: every message once, with where it stood; what cannot be read is set aside and told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")
from confluent_kafka import Producer

from engine.errors import SourceError
from sources.kafka.mock import MOCK, address
from sources.kafka.settings import KafkaSource
from tests.kafka import brokers, jars
from tests.kafka.brokers import Bootstrap, Broker, MockBroker
from tests.kafka.topic_project import TABLE, TOPIC, TopicProject, orders
from tests.kafka.topics import (
    Message,
    add_partitions,
    create_topic,
    produce,
    read,
    send,
)

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]
both = pytest.mark.parametrize("kafka", jars.KINDS, indirect=True)
"""For a test that runs against each kind of broker; the others have Kafka 4."""


@both
def test_every_message_lands_once_with_where_it_stood(topic: Callable[..., str], project: TopicProject) -> None:
    bootstrap = topic(3)
    for partition in range(3):
        produce(bootstrap, TOPIC, orders(range(partition * 100, partition * 100 + 70), partition))
    project.on(bootstrap)
    assert project.notices() == []
    expected = [(p, n, p * 100 + n) for p in range(3) for n in range(70)]
    assert project.landed() == expected
    assert project.notices() == []
    assert project.landed() == expected
    in_order = (
        f"select count(*) from (select load_timestamp, lag(load_timestamp) over (partition by _kafka_partition "
        f"order by _kafka_offset) as before from landing.{TABLE}) where load_timestamp <= before"
    )
    assert project.rows(in_order) == [(0,)], "of two messages of a key the later one has the later load time"
    produce(bootstrap, TOPIC, orders([999], 1))
    assert project.notices() == []
    assert project.landed() == sorted([*expected, (1, 70, 999)]), "a lone message is read as well"
    row = (
        f"select price, source, _kafka_topic, _kafka_key, _kafka_timestamp is null from landing.{TABLE} where id = 999"
    )
    assert project.rows(row) == [(Decimal("999.000000000000000001"), "stream", TOPIC, "999", False)]


def test_headers_and_odd_keys_are_kept(topic: Callable[..., str], project: TopicProject) -> None:
    bootstrap = topic()
    produce(bootstrap, TOPIC, [Message(b"\xff\x00", b'{"id": 1, "_kafka_offset": 7}', (("trace", b"a"), ("n", None)))])
    project.on(bootstrap)
    project.notices()
    found = project.rows(f"select _kafka_key, _kafka_headers, _kafka_offset, payload_kafka_offset from landing.{TABLE}")
    assert [(key, json.loads(headers), at, Decimal(own)) for key, headers, at, own in found] == [
        ("/wA=", [["trace", "a"], ["n", None]], 0, Decimal(7))
    ]


LONG = b'{"id": 3, "x":"' + b"x" * 20_000_000 + b'"}'
POISON = {
    "not JSON": b"{oops",
    "not JSON that can be read: nested too deeply": b'{"id": ' * 100_000 + b"1" + b"}" * 100_000,
    "not a JSON object but list": b"[1]",
    "not UTF-8": b'{"id": "\xff"}',
    f"{len(LONG):,} bytes": LONG,
    "tombstone": None,
    "nothing here": b"",
}


def test_poison_is_set_aside_and_the_flow_goes_on(topic: Callable[..., str], project: TopicProject) -> None:
    """F08: each kind of it among good messages, some without a key; the partition does not stall."""
    bootstrap = topic(max_message_bytes="25000000")
    topic(1, "orders.dead-letter", max_message_bytes="25000000")
    keyless = {5, 255}
    good = [replace(one, key=None) if number in keyless else one for number, one in enumerate(orders(range(500)))]
    poison = [Message(name.encode(), value) for name, value in POISON.items()]
    badly_typed = Message(b"typed", b'{"id": "one"}')
    long = {"message.max.bytes": 25_000_000}
    produce(bootstrap, TOPIC, [*good[:250], *poison, badly_typed, *good[250:]], long)
    project.on(bootstrap, topic="max_message_kb: 1000")
    assert project.notices() == []
    assert [row[2] for row in project.landed()] == list(range(500))
    assert project.rows("select id from landing.raw_orders where _kafka_key is null order by id") == [(5,), (255,)]
    told = project.set_aside()
    assert sorted(at["_kafka_offset"] for _, at in told) == list(range(250, 258))
    by_offset = {at["_kafka_offset"]: reason for reason, at in told}
    reasons = [by_offset[250 + number] for number in range(len(POISON))]
    expected = [*POISON][:-1]
    assert [reason.startswith(name) for reason, name in zip(reasons, expected, strict=False)] == [True] * 6, reasons
    letters = read(bootstrap, "orders.dead-letter")
    assert sorted(int(dict(letter.headers)["offset"] or b"-1") for letter in letters) == list(range(250, 258))
    assert {dict(letter.headers)["topic"] for letter in letters} == {b"orders"}
    assert project.notices() == []
    assert len(project.set_aside()) == 8


def test_a_dead_letter_topic_that_is_not_there_is_said_and_waited_for_once(
    topic: Callable[..., str], project: TopicProject
) -> None:
    bootstrap = topic()
    spread = [Message(b"k", b"[1]") if number % 300 == 0 else one for number, one in enumerate(orders(range(1, 3_001)))]
    produce(bootstrap, TOPIC, spread)
    project.on(bootstrap, topic="max_message_kb: 1000")
    began = time.monotonic()
    (said,) = project.notices()
    seconds = time.monotonic() - began
    assert len(project.landed()) == 2_990
    assert len(project.set_aside()) == 10
    assert "were not sent to the topic 'orders.dead-letter'" in said
    assert seconds < 4 * 5, "it waits for that topic once, not for every page"


def test_new_partitions_are_read_from_their_beginning(topic: Callable[..., str], project: TopicProject) -> None:
    """F05: they are added in mid stream, and have messages before the run knows of them."""
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(10)))
    project.on(bootstrap)
    project.notices()
    add_partitions(bootstrap, TOPIC, 12)
    produce(bootstrap, TOPIC, [message for one in range(12) for message in orders([1000 + one], one)])
    assert project.notices() == []
    assert sorted(row[2] for row in project.landed()) == [*range(10), *range(1000, 1012)]


def test_aborted_and_open_transactions(topic: Callable[..., str], project: TopicProject) -> None:
    """F04: what was aborted is no loss; an open one holds the rest back, and is warned of when it is too old."""
    bootstrap = topic()
    project.on(bootstrap, source="open_transaction_seconds: 60")
    aborted = Producer({"bootstrap.servers": bootstrap, "transactional.id": "aborted", "log_level": 0})
    aborted.init_transactions(30)
    aborted.begin_transaction()
    send(aborted, TOPIC, orders(range(100)))
    aborted.abort_transaction(30)
    produce(bootstrap, TOPIC, orders([100]))
    committed = Producer({"bootstrap.servers": bootstrap, "transactional.id": "committed", "log_level": 0})
    committed.init_transactions(30)
    committed.begin_transaction()
    send(committed, TOPIC, orders([101]))
    committed.commit_transaction(30)
    assert project.notices() == []
    assert [row[2] for row in project.landed()] == [100, 101]
    assert project.notices() == [], "markers of transactions are no messages that are missing"
    committed.begin_transaction()
    send(committed, TOPIC, orders([102]))
    produce(bootstrap, TOPIC, orders([103]))
    (notice,) = project.notices()
    assert "2 messages wait for a producer's transaction" in notice
    assert "open_transaction" not in notice, "it may well end by itself"
    assert [row[2] for row in project.landed()] == [100, 101]
    time.sleep(1.1)
    (notice,) = project.on(bootstrap, source="open_transaction_seconds: 1").notices()
    assert "since more than 1 s in partition 0 (open_transaction" in notice
    assert [row[2] for row in project.landed()] == [100, 101]
    committed.commit_transaction(30)
    assert project.notices() == []
    assert [row[2] for row in project.landed()] == [100, 101, 102, 103]
    assert KafkaSource.model_fields["open_transaction_seconds"].default <= 900
    assert project.set_aside() == []


def test_a_compacted_topic_has_holes_that_are_no_loss(topic: Callable[..., str], project: TopicProject) -> None:
    """F03: no alert. What a tombstone does where the topic says so: test_tombstones.py."""
    bootstrap = topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", max_compaction_lag_ms="100"
    )
    produce(bootstrap, TOPIC, [*orders([1]), *orders([1]), *orders([2]), Message(b"2", None)])
    project.on(bootstrap)
    assert project.notices() == []
    assert {row[2] for row in project.landed()} == {1, 2}
    assert [reason.split(":")[0] for reason, _ in project.set_aside()] == ["tombstone"]


def test_bounds_leave_the_rest_to_the_next_run(topic: Callable[..., str], project: TopicProject) -> None:
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(25_000)))
    project.on(bootstrap, source="max_messages: 10000")
    left = "messages are left for the next run (max_messages and its like)"
    assert [project.notices() for _ in range(3)] == [
        [f"stream: {TOPIC}: 15,000 {left}"],
        [f"stream: {TOPIC}: 5,000 {left}"],
        [],
    ]
    assert [row[2] for row in project.landed()] == list(range(25_000))


def test_brokers_that_are_down_are_one_clear_error(tmp_path: Path) -> None:
    """F11: at start. That they come up again: test_topic_outages.py."""
    project = TopicProject(tmp_path / "project").on("127.0.0.1:1", seconds=1)
    done = project.engine("run", "drain")
    assert done.returncode == 1
    (failed,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("FAILED:")]
    assert failed.startswith("FAILED: stream: kafka at 127.0.0.1:1 does not answer within 1 s")
    assert "Start the brokers" in failed
    assert "Traceback" not in done.stderr + done.stdout


def test_a_topic_that_is_not_there_is_named(kafka: Broker, project: TopicProject) -> None:
    done = project.on(kafka.bootstrap).engine("run", "drain")
    assert done.returncode == 1
    assert "the brokers have no topic 'orders'" in done.stderr


def test_the_group_shows_the_landed_offsets(topic: Callable[..., str], project: TopicProject, tmp_path: Path) -> None:
    """F12: a copy of the configuration shares the group; it is told, and both land every message once."""
    from confluent_kafka import Consumer, TopicPartition

    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(10)))
    project.on(bootstrap, source="group: reports")
    assert project.notices() == []
    watching = Consumer({"bootstrap.servers": bootstrap, "group.id": "reports", "log_level": 0})
    (there,) = watching.committed([TopicPartition(TOPIC, 0)], timeout=30)
    watching.close()
    assert there.offset == 10
    staging = TopicProject(tmp_path / "staging").on(bootstrap, source="group: reports")
    (notice,) = staging.notices()
    assert "group_shared" in notice
    assert staging.landed() == project.landed(), "a group in common costs neither of them a message"


def test_the_mock_broker_of_librdkafka_will_do_for_a_demo(project: TopicProject) -> None:
    mock: Bootstrap
    with MockBroker() as mock:
        create_topic(mock.bootstrap, TOPIC, 4)
        produce(mock.bootstrap, TOPIC, orders(range(100), 2))
        project.on(mock.bootstrap)
        assert project.notices() == []
        assert [row[2] for row in project.landed()] == list(range(100))
        assert project.notices() == []


def test_asking_for_a_misspelt_topic_does_not_make_it() -> None:
    """Librdkafka's mock makes what it is asked for, as brokers do unless auto.create.topics.enable=false."""
    from confluent_kafka.admin import AdminClient

    from sources.kafka.describe import describe

    source = KafkaSource.model_validate({"type": "kafka", "brokers": MOCK, "resources": {"ordres": {}}})
    with pytest.raises(SourceError, match="the brokers have no topic 'ordres'"):
        describe(source, "stream", "ordres")
    assert "ordres" not in AdminClient({"bootstrap.servers": address(), "log_level": 0}).list_topics(timeout=10).topics
