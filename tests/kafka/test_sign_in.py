"""Brokers that ask who is there: with the right password the topic is read, with another the run says so at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.small_project import clear
from tests.kafka.brokers import GROUP, Broker
from tests.kafka.topic_project import TOPIC, TopicProject

pytestmark = pytest.mark.xdist_group(GROUP)
PASSWORD = "correct horse"  # noqa: S105 - of a broker that lives as long as a test
SIGNED = "security: {protocol: %s, mechanism: PLAIN, username: reader, password: '%s'%s}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that knows `reader`, with a topic of one message."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    passwords = {"reader": PASSWORD}
    with Broker("kafka-4", tmp_path_factory.mktemp("guarded"), passwords) as broker:
        client = {**broker.sign_in, "bootstrap.servers": broker.bootstrap}
        admin = AdminClient(client)  # kept: the answers of one that is gone never come
        admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(30)
        producer = Producer(client)
        producer.produce(TOPIC, value=b'{"id": 1, "price": "1.5"}', key=b"1")
        assert producer.flush(30) == 0
        yield broker


def signed(password: str, protocol: str = "SASL_PLAINTEXT", more: str = "") -> str:
    return SIGNED % (protocol, password, more)


def test_who_signs_in_reads_and_who_does_not_is_told_why(guarded: Broker, project: TopicProject) -> None:
    for wrong, said in (
        (signed("no idea"), ("does not let us in", "Invalid username or password", "Check `security`")),
        (signed(PASSWORD, "SASL_SSL", ", ca_file: nowhere.pem"), ("refuses the settings", "ca.location", "ca_file")),
    ):
        done = project.on(guarded.bootstrap, source=wrong, seconds=2).engine("run", "drain")
        text = done.stdout + done.stderr
        assert done.returncode == 1, text
        assert clear(text, "kafka", *said) == []
        assert PASSWORD not in text
        assert "no idea" not in text
    assert project.on(guarded.bootstrap, source=signed(PASSWORD)).notices() == []
    assert [row[2] for row in project.landed()] == [1]
