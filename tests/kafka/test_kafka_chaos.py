"""A stream of trades while engine, broker and PostgreSQL are killed at random: each message lands once, sums agree.

Every run loads the embedded warehouse, on which the models are, and PostgreSQL; both are compared with the topics.

FAULTS_SEED repeats the instants of the kills as far as processes repeat themselves. The long one is `make chaos`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")
pytest.importorskip("psycopg")

from engine.config.load import load_project
from sources.faker.stream import KEYS
from tests.kafka import brokers
from tests.kafka.brokers import Broker
from tests.kafka.chaos import Kills, Producing, Runs, Victim
from tests.kafka.chaos_compare import Compared
from tests.servers.postgres_server import PostgresServer
from tests.vault.adapter import project_at

ALL, LAND = "trino-incremental-dbt-5min", "land"
ONLY_LAND = f"\n  {LAND}: {{extract: [kafka], load: [warehouse, timeseries], transform: false}}\n"
SERVER = '    timeseries: {type: postgres, dsn: "${POSTGRES_DSN}"}\n'
RUNS_AT_MOST = 20
"""Until the last message is landed, after the stream has ended."""


@dataclass(frozen=True)
class Storm:
    """How long and how dense. Ranges are seconds, from which every instant is drawn."""

    seconds: float
    rate: float
    pipeline: str
    run_killed_after: tuple[float, float]
    server_killed_every: tuple[float, float]
    server_down: tuple[float, float] = (0.2, 3.0)


SHORT = Storm(20, 1_000, LAND, (0.3, 5.0), (3.0, 9.0))
LONG = Storm(600, 5_000, ALL, (0.5, 60.0), (10.0, 50.0))


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One that nobody else's test needs alive."""
    with Broker("kafka-4", tmp_path / "broker") as started:
        yield started


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """As the broker."""
    with PostgresServer() as started:
        yield started


@pytest.mark.slow
@pytest.mark.xdist_group(brokers.GROUP)
@pytest.mark.timeout(600)
def test_a_short_storm_of_kills_loses_and_doubles_nothing(
    broker: Broker, postgres: PostgresServer, tmp_path: Path, seed: int
) -> None:
    weather(SHORT, broker, postgres, tmp_path, seed)


@pytest.mark.chaos
@pytest.mark.xdist_group(brokers.GROUP)
@pytest.mark.timeout(3600)
def test_ten_minutes_of_kills_lose_and_double_nothing(
    broker: Broker, postgres: PostgresServer, tmp_path: Path, seed: int
) -> None:
    weather(LONG, broker, postgres, tmp_path, seed)


def weather(storm: Storm, broker: Broker, postgres: PostgresServer, folder: Path, seed: int) -> None:
    """Send through the storm, let the engine catch up, and compare."""
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    project_at(folder / "project", "ducklake")
    path = folder / "project" / "pipelines.yaml"
    profile, head = path.read_text(), "  local:\n"
    path.write_text(profile.replace(head, head + SERVER, 1) + ONLY_LAND)
    servers = {"KAFKA_BROKERS": broker.bootstrap, "POSTGRES_DSN": postgres.dsn()}
    project = load_project(path, profile="local", env=servers)
    away = [f"kafka at {broker.bootstrap}", f"127.0.0.1:{postgres.port.number}"]
    runs = Runs(project.project_dir, servers, away, random.Random(seed))
    with Producing(project, storm.rate) as producing:
        kills = {
            name: Kills(victim, random.Random(seed + number), storm.server_killed_every, storm.server_down)
            for number, (name, victim) in enumerate(
                {"broker": Victim.broker(broker), "PostgreSQL": Victim.postgres(postgres)}.items(), 1
            )
        }
        with kills["broker"], kills["PostgreSQL"]:
            runs.until(time.monotonic() + storm.seconds, storm.pipeline, storm.run_killed_after)
    sent, told = producing.sent, sum(map(sum_of, producing.acknowledged.values()))
    print(f"{sent:,} messages sent, {told:,} acknowledged")  # noqa: T201
    for name, each in kills.items():
        print(f"{name} killed {len(each.times)} times, back after {', '.join(each.times)}")  # noqa: T201
    print(f"runs by code: {dict(runs.codes)}; killed after {runs.killed_after} s")  # noqa: T201
    assert all(each.times for each in kills.values())
    assert runs.killed_after
    assert sent == told >= storm.rate * storm.seconds * 0.9, "the stream outlived its broker"
    caught_up(runs)
    compared = Compared(project, broker.bootstrap, postgres.dsn(), folder)
    for topic in KEYS:
        assert not any((wrong := compared.landing(topic)).values()), f"{topic}: {wrong}"
        assert not producing.acknowledged[topic] - compared.keys(), f"{topic}: acknowledged, and not there"
    found = compared.marts(producing.trades)
    compared.close()
    trades = found.pop("trades")
    assert trades == sum(table.num_rows for table in producing.trades) > 0
    assert not any(found.values()), found


def sum_of(counts: dict[bytes, int]) -> int:
    return sum(counts.values())


def caught_up(runs: Runs) -> None:
    """Run all until nothing is left."""
    for _ in range(RUNS_AT_MOST):
        code, text = runs.once(ALL)
        assert code == 0, text
        if "messages are left" not in text:
            return
    raise AssertionError(f"messages are left after {RUNS_AT_MOST} runs:\n{text}")
