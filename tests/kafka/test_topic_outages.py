"""Consumers that come and go, runs that are stopped or killed meanwhile, brokers that are away: every message once."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest

pytest.importorskip("confluent_kafka")
from confluent_kafka import Consumer

from tests.faults.small_project import ENGINE, clear
from tests.kafka import brokers
from tests.kafka.brokers import Broker
from tests.kafka.topic_project import TOPIC, TopicProject, orders
from tests.kafka.topics import produce

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]
REBALANCES = 10
MANY_REBALANCES = 100
TOGETHER = 3
BALANCED_SECONDS = 2.0
"""A newcomer waits so long at most for its partitions, before the next one comes."""
PASSWORD = 'k9!"/+%zQ7vLw2#XbN4'  # noqa: S105 - no account's


class Others:
    """Consumers of a group that subscribe, commit what they were given, and leave, a few of them at a time."""

    def __init__(self, bootstrap: str, group: str, many: int) -> None:
        self.came = self.assigned = 0
        self._many = many
        self.finished = threading.Event()
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
            "auto.commit.interval.ms": 50,
            "log_level": 0,
        }
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._come_and_go, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        assert self._failed == []

    def _come_and_go(self) -> None:
        there: list[Consumer] = []
        try:
            while self.came < self._many and not self._stop.is_set():
                there.append(Consumer(self._settings))
                there[-1].subscribe([TOPIC], on_assign=self._assigned)
                self.came += 1
                before, until = self.assigned, time.monotonic() + BALANCED_SECONDS
                while self.assigned == before and time.monotonic() < until:
                    for each in there:
                        each.consume(100, 0.05)
                if len(there) == TOGETHER:
                    there.pop(0).close()
        except BaseException as error:  # told in the test's thread
            self._failed.append(error)
        finally:
            for each in there:
                each.close()
            self.finished.set()

    def _assigned(self, _consumer: Consumer, partitions: list[object]) -> None:
        self.assigned += bool(partitions)


@pytest.mark.parametrize("many", [REBALANCES, pytest.param(MANY_REBALANCES, marks=pytest.mark.chaos)])
def test_consumers_of_the_group_come_and_go_and_change_nothing(
    topic: Callable[..., str], project: TopicProject, many: int
) -> None:
    """F01: up to three of them at once, which read and commit; runs go on, one is stopped for a while, one is killed.

    A run gives itself its partitions: it is no member of the group, so that no rebalance takes them away from it, and
    no time between two polls is too long.
    """
    bootstrap = topic(3)
    project.on(bootstrap, source="group: shared", topic="dead_letter: ''", seconds=20)
    sent = [0]

    def more() -> None:
        for partition in range(3):
            produce(bootstrap, TOPIC, orders(range(sent[0], sent[0] + 2_000), partition))
        sent[0] += 2_000

    more()
    with Others(bootstrap, "shared", many) as others:
        with begun(project) as stopped:
            stopped.send_signal(signal.SIGSTOP)
            seen = others.came
            time.sleep(3)
            assert others.came > seen, "they come and go while it sleeps"
            stopped.send_signal(signal.SIGCONT)
            assert stopped.wait(60) == 0
        more()
        with begun(project) as killed:
            killed.kill()
            assert killed.wait(30) == -signal.SIGKILL
        runs = 0
        while not others.finished.is_set() or runs < 2:
            more()
            assert project.run("drain").status == "ok"
            runs += 1
            assert runs < 100
        assert others.came == many
        assert others.assigned > many // 2, "the group was balanced anew again and again"
    assert project.run("drain").status == "ok"
    assert project.landed() == [(partition, n, n) for partition in range(3) for n in range(sent[0])]
    assert project.set_aside() == []


@contextmanager
def begun(project: TopicProject) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run, and hand it out as soon as it writes a package; it has ended afterwards."""
    there = set(project.folder.glob("lake/**/*"))
    running = subprocess.Popen(
        [ENGINE, "run", "drain"], cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while set(project.folder.glob("lake/**/*")) <= there:
            assert running.poll() is None, "it ended before it wrote anything"
            time.sleep(0.001)
        yield running
    finally:
        running.kill()
        running.wait(30)


def test_brokers_that_come_up_again_are_read_on_from_the_same_offsets(
    kafka: Broker, topic: Callable[..., str], project: TopicProject
) -> None:
    """F11: down at the start of runs, with a password in the settings or without; then up again."""
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(300)))
    project.on(bootstrap, seconds=2)
    assert project.notices() == []
    produce(bootstrap, TOPIC, orders(range(300, 600)))
    kafka.kill()
    try:
        signed = "{protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: reader, password: '%s'}"
        for security in ("", f"security: {signed % PASSWORD}"):
            done = project.on(bootstrap, source=security, seconds=2).engine("run", "drain")
            text = done.stdout + done.stderr
            assert done.returncode == 1
            assert clear(text, "kafka", bootstrap, "start the brokers") == []
            assert PASSWORD not in text
    finally:
        kafka.start()
    assert all(PASSWORD.encode() not in file.read_bytes() for file in project.data.rglob("*") if file.is_file())
    assert project.on(bootstrap).notices() == []
    assert [row[2] for row in project.landed()] == list(range(600))
    assert project.notices() == []
