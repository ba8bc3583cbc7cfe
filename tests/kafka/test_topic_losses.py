"""Topics that lose messages, and runs that die: what can be read is read once, and what cannot be is told."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from engine.extract import pages
from sources.protocol import SetAside, SourceContext
from tests.faults.small_project import ENGINE
from tests.kafka import brokers, jars
from tests.kafka.brokers import Broker
from tests.kafka.topic_project import TOPIC, TopicProject, orders
from tests.kafka.topics import (
    create_topic,
    delete_records,
    delete_topic,
    produce,
)

pytestmark = [pytest.mark.xdist_group(brokers.GROUP), pytest.mark.timeout(400)]
both = pytest.mark.parametrize("kafka", jars.KINDS, indirect=True)
"""For a test that runs against each kind of broker; the others have Kafka 4."""


@both
def test_what_retention_deleted_is_told_with_its_offsets(topic: Callable[..., str], project: TopicProject) -> None:
    """F02: it overtook the consumer at 200, up to 500."""
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(200)))
    project.on(bootstrap)
    project.notices()
    produce(bootstrap, TOPIC, orders(range(200, 600)))
    delete_records(bootstrap, TOPIC, 0, 500)
    (notice,) = project.notices()
    assert "offsets 200 to 500" in notice
    assert [offset for _, offset, _ in project.landed()] == [*range(200), *range(500, 600)]
    ((reason, at),) = project.set_aside()
    assert (reason.split(":")[0], at["start"], at["end"]) == ("kafka_gap", 200, 500)
    assert project.notices() == []


def test_a_topic_made_again_is_read_from_its_beginning(topic: Callable[..., str], project: TopicProject) -> None:
    """F06: it is told once, and every message of both topics lands."""
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(200)))
    project.on(bootstrap)
    project.notices()
    delete_topic(bootstrap, TOPIC)
    create_topic(bootstrap, TOPIC, 1)
    produce(bootstrap, TOPIC, orders(range(1000, 1300)))
    (notice,) = project.notices()
    assert "topic_recreated" in notice
    ((reason, at),) = project.set_aside()
    assert (reason.split(":")[0], at["start"]) == ("topic_recreated", 200)
    assert sorted(row[2] for row in project.landed()) == [*range(200), *range(1000, 1300)]


def test_the_end_of_a_log_that_its_leader_lost_is_told_and_what_came_instead_is_read(
    kafka: Broker, topic: Callable[..., str], project: TopicProject
) -> None:
    """F10: an unclean election; the log has grown past the position by the time it is read again."""
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(10)))
    project.on(bootstrap)
    state: dict[str, Any] = {}
    assert extracted(project, state)[0] == list(range(10))
    (epoch,) = [epoch for _, epoch in state["marks"].values()]
    state |= {"next": {"0": 15}, "marks": {"0": [15, epoch]}}  # it had five more when it was read
    kafka.restart()  # a new leader, by its epoch
    produce(bootstrap, TOPIC, orders(range(100, 120)))
    ids, holes = extracted(project, state)
    assert [(hole["reason"].split(":")[0], hole["start"], hole["end"]) for hole in holes] == [
        ("kafka_truncated", 10, 15)
    ]
    assert ids == list(range(100, 120)), "the log has grown beyond the position, and nothing of it is passed over"
    assert extracted(project, state) == ([], [])


@pytest.mark.parametrize("marked", [True, False])
def test_a_log_that_is_shorter_than_what_was_read_is_told(
    topic: Callable[..., str], project: TopicProject, *, marked: bool
) -> None:
    bootstrap = topic()
    produce(bootstrap, TOPIC, orders(range(10)))
    project.on(bootstrap)
    state: dict[str, Any] = {}
    extracted(project, state)
    state |= {"next": {"0": 300}, "marks": {"0": [300, 0]} if marked else {}}
    ids, holes = extracted(project, state)
    assert ids == []
    assert [(hole["reason"].split(":")[0], hole["start"], hole["end"]) for hole in holes] == [
        ("kafka_truncated", 10, 300)
    ]
    produce(bootstrap, TOPIC, orders([10]))
    assert extracted(project, state) == ([10], [])


def extracted(project: TopicProject, state: dict[str, Any]) -> tuple[list[int], list[dict[str, Any]]]:
    """Read the topic from a state of the test's own, which moves on; return ids in order, and what is told as lost."""
    loaded = project.project()
    (resource,) = loaded.resources["stream"]
    context = SourceContext("stream", {}, datetime.now(UTC), project.folder, project.data, lambda *_, **__: None)
    ids: list[int] = []
    holes: list[dict[str, Any]] = []
    for page in pages(resource.build(context), "stream", state):
        if isinstance(page, SetAside):
            holes += [{"reason": reason, **row} for reason, _, row in page.rows]
        else:
            ids += [int(row["id"]) for row in (page if isinstance(page, list) else page.to_pylist())]
    return ids, holes


def test_a_run_that_is_killed_again_and_again_lands_every_message_once(
    topic: Callable[..., str], project: TopicProject
) -> None:
    bootstrap = topic(2)
    produce(bootstrap, TOPIC, [one for partition in range(2) for one in orders(range(4_000), partition)])
    project.on(bootstrap, source="max_messages: 1000")
    packages, commits = "lake/**/manifest.json", "lake/_log/**/*"
    begun = [killed_at(project, pattern) for pattern in (commits, packages, packages, commits, packages)]
    assert begun == [True] * 5, "each run was killed while it worked"
    assert project.on(bootstrap).notices() == []
    expected = [(partition, number, number) for partition in range(2) for number in range(4_000)]
    assert project.landed() == expected
    assert project.notices() == []


def killed_at(project: TopicProject, pattern: str) -> bool:
    """Start a run, and SIGKILL it as soon as a file of this pattern is new; False if the run was over before."""

    def there() -> set[Path]:
        found: set[Path] = set()
        with suppress(FileNotFoundError):  # a staging folder that goes while it is looked through
            found.update(project.folder.glob(pattern))
        return found

    before = there()
    running = subprocess.Popen(
        [ENGINE, "run", "drain"], cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while running.poll() is None and there() <= before:
        time.sleep(0.001)
    running.kill()
    return running.wait(30) == -signal.SIGKILL
