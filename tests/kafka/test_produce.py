"""`engine produce`: what it sends is what it says, no id twice, and the pipeline lands it to the last digit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.small_project import ENGINE, HEAD, SmallProject
from tests.kafka import brokers
from tests.kafka.brokers import Broker
from tests.kafka.topics import count, create_topic, delete_topic, read

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]
TOPICS = ("raw_customers", "raw_corporates", "raw_transaction_personal", "raw_transaction_corporate")
PROJECT = """\
assets:
  crypto: {asset_type: crypto, add: [BTC, ETH]}
sources:
  people: {type: faker, seed: 3, resources: {raw_customers: {first: 40}, raw_corporates: {first: 10}}}
  stream:
    type: kafka
    brokers: "%s"
    timeout_seconds: 5
    resources: {raw_customers: {}, raw_corporates: {}, raw_transaction_personal: {}, raw_transaction_corporate: {}}
pipelines:
  drain: {extract: [stream], load: [warehouse], transform: false}
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], SmallProject]:
    def on(bootstrap: str) -> SmallProject:
        made = SmallProject(tmp_path / "project")
        made.folder.mkdir(exist_ok=True)
        made.write(HEAD + PROJECT % bootstrap)
        return made

    return on


@pytest.fixture
def topics(kafka: Broker) -> Any:
    for topic in TOPICS:
        create_topic(kafka.bootstrap, topic)
    yield kafka.bootstrap
    for topic in TOPICS:
        delete_topic(kafka.bootstrap, topic)


def command(project: SmallProject, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENGINE, "produce", *options], cwd=project.folder, capture_output=True, text=True, check=False, timeout=90
    )


def produce(project: SmallProject, *options: str) -> dict[str, Any]:
    done = command(project, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_topics_are_made_filled_and_landed_to_the_last_digit(
    topics: str, project: Callable[[str], SmallProject]
) -> None:
    for topic in TOPICS:
        delete_topic(topics, topic)
    there = project(topics)
    done = produce(there, "--rate", "0", "--messages", "400")
    assert done["created"] == sorted(TOPICS)
    assert done["messages"] == 400 == sum(done["topics"].values())
    sent = [message for topic in TOPICS for message in read(topics, topic)]
    assert len(sent) == 400
    trades = {}
    for message in read(topics, "raw_transaction_personal"):
        row = json.loads(message.value or b"")
        assert message.key == row["transaction_id"].encode()
        trades[row["transaction_id"]] = Decimal(row["transaction_amount"])
    report = there.run("drain")
    assert report.status == "ok", report.failures
    assert sum(resource.rows for resource in report.resources if resource.source == "stream") == 400
    landed = dict(there.rows("select transaction_id, transaction_amount from landing.raw_transaction_personal"))
    assert landed == trades
    types = dict(
        there.rows(
            "select column_name, data_type from information_schema.columns where table_schema = 'landing' "
            "and table_name = 'raw_transaction_personal'"
        )
    )
    assert types["price_per_unit"] == "DECIMAL(38,18)"
    assert types["transaction_timestamp"] == "TIMESTAMP WITH TIME ZONE"


def test_a_stream_that_is_killed_and_started_again_uses_no_id_twice(
    topics: str, project: Callable[[str], SmallProject]
) -> None:
    there = project(topics)
    produce(there, "--rate", "0", "--messages", "100")
    for _ in range(3):
        before = sum(count(topics, topic) for topic in TOPICS)
        child = subprocess.Popen(
            [ENGINE, "produce", "--rate", "2000"], cwd=there.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while sum(count(topics, topic) for topic in TOPICS) == before:
            assert time.monotonic() < deadline
            assert child.poll() is None
        child.kill()
        child.communicate(timeout=30)
        assert child.returncode == -signal.SIGKILL
    produce(there, "--rate", "0", "--messages", "300")
    for topic in ("raw_transaction_personal", "raw_transaction_corporate"):
        ids = [message.key for message in read(topics, topic)]
        assert len(ids) == len(set(ids)) > 0


def test_people_are_sent_once(topics: str, project: Callable[[str], SmallProject]) -> None:
    there = project(topics)
    assert produce(there, "--rate", "0", "--messages", "50")["topics"] == {"raw_corporates": 10, "raw_customers": 40}
    assert produce(there, "--rate", "0", "--messages", "5")["messages"] == 5
    assert len(read(topics, "raw_customers")) == 40


def test_the_rate_is_held_and_ctrl_c_ends_in_order(topics: str, project: Callable[[str], SmallProject]) -> None:
    there = project(topics)
    produce(there, "--messages", "50")
    before = sum(count(topics, topic) for topic in TOPICS)
    began = time.monotonic()
    child = subprocess.Popen(
        [ENGINE, "produce", "--rate", "100", "--json"],
        cwd=there.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    while sum(count(topics, topic) for topic in TOPICS) < before + 200:
        assert time.monotonic() - began < 60
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    done = json.loads(out)
    assert done["messages"] == sum(count(topics, topic) for topic in TOPICS) - before
    assert done["messages"] <= 100 * done["seconds"] + 1


def test_two_streams_of_one_world_are_not_at_once(topics: str, project: Callable[[str], SmallProject]) -> None:
    from engine.locks import hold

    there = project(topics)
    lock = there.data / "state" / "produced-people.lock"
    with hold(lock, "a stream"):
        done = command(there, "--messages", "1")
    assert done.returncode == 1
    assert "the stream of people is busy" in done.stderr


def test_brokers_that_are_down_are_one_clear_error(project: Callable[[str], SmallProject]) -> None:
    there = project("127.0.0.1:1")
    done = command(there, "--messages", "1")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
