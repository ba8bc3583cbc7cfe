"""Ten minutes of a stream whose engine, broker and PostgreSQL are killed at random: who sends, who kills, who runs.

Nothing of the engine is asked what it has done: the ledger is kept by the sender, the topics are read by a plain
consumer, and DuckDB types their messages once more, from the text.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from engine.config.project import Project
from sources.faker.stream import KEYS, Stream
from sources.kafka.sending import Sender, create_topics
from tests.faults.small_project import ENGINE
from tests.kafka.brokers import Broker
from tests.kafka.processes import Port
from tests.servers.postgres_server import PostgresServer

TICK = 0.2
LARGEST = 20_000
ENOUGH = 120.0
"""Seconds that a message may take: a broker that was killed is back within a tenth of them."""
GONE_WITHIN = 10.0
ENDED = {0, 1, -signal.SIGKILL}
"""How a run may end: well, without a server, or killed."""


@dataclass
class Producing:
    """A stream of simulated rows at a rate, in a thread, and the ledger of what was sent and what was acknowledged."""

    project: Project
    rate: float
    acknowledged: dict[str, Counter[bytes]] = field(default_factory=dict)
    trades: list[pa.Table] = field(default_factory=list)
    """transaction_id and transaction_amount of every trade, as it was sent."""
    sent: int = 0
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        kafka = self.project.sources["kafka"].model_copy(update={"timeout_seconds": ENOUGH})
        create_topics(kafka, "kafka", list(KEYS))
        self.acknowledged = {topic: Counter() for topic in KEYS}
        self._thread = threading.Thread(target=self._run, args=(kafka,), name="producing")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * ENOUGH)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def _run(self, kafka: Any) -> None:
        try:
            assets = [asset for listed in self.project.assets.values() for asset in listed]
            stream = Stream(self.project.sources["faker"], assets, {})
            with Sender(kafka, "kafka", self._told) as sender:
                for table, rows in stream.population(datetime.now(UTC)):
                    self._send(sender, table.name, rows)
                began, flowed, since = time.monotonic(), 0, datetime.now(UTC) - timedelta(seconds=1)
                while not self._stop.wait(TICK):
                    block = min(LARGEST, int((time.monotonic() - began) * self.rate) - flowed)
                    now = datetime.now(UTC)
                    for table, rows in stream.pages(stream.reserve(block), since, now):
                        self._send(sender, table.name, rows)
                    since, flowed = now, flowed + block
        except BaseException as error:
            self.error = error

    def _send(self, sender: Sender, topic: str, rows: pa.Table) -> None:
        self.sent += rows.num_rows
        if "transaction_amount" in rows.column_names:
            self.trades.append(rows.select(["transaction_id", "transaction_amount"]))
        sender.send(topic, KEYS[topic], rows)

    def _told(self, topic: str, key: bytes) -> None:
        self.acknowledged[topic][key] += 1


@dataclass(frozen=True, slots=True)
class Victim:
    """A server that can be killed in mid-air and started again, over the same data, where it was."""

    port: Port
    process: Callable[[], subprocess.Popen[bytes] | None]
    kill: Callable[[], None]
    start: Callable[[], None]

    @classmethod
    def broker(cls, broker: Broker) -> Victim:
        return cls(broker._server.ports[0], lambda: broker._process, broker.kill, broker.start)

    @classmethod
    def postgres(cls, server: PostgresServer) -> Victim:
        return cls(server.port, lambda: server.process, server.kill, server.restart)


@dataclass
class Kills:
    """Kills a server at random instants and starts it again, in a thread."""

    victim: Victim
    seeded: random.Random
    every: tuple[float, float]
    down: tuple[float, float]
    times: list[str] = field(default_factory=list)
    """When a kill hit, and for how long nobody answered."""
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="killing")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(ENOUGH)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.wait(self.seeded.uniform(*self.every)):
                self._once()
        except BaseException as error:
            self.error = error

    def _once(self) -> None:
        process = self.victim.process()
        assert process is not None
        assert self.victim.port.answers(), "the server is there before it is killed"
        began = time.monotonic()
        self.victim.kill()
        assert process.returncode == -signal.SIGKILL
        while self.victim.port.answers():  # a child that was just made has the socket still, until it looks
            assert time.monotonic() - began < GONE_WITHIN, "nobody answers in its place"
            time.sleep(0.05)
        time.sleep(self.seeded.uniform(*self.down))
        self.victim.start()
        self.times.append(f"{time.monotonic() - began:.1f} s")


@dataclass
class Runs:
    """Runs a pipeline as a command of its own, again and again, and kills most of the runs."""

    folder: Path
    servers: Mapping[str, str]
    """Variables of the environment that say where the servers are, for pipelines.yaml."""
    unreachable: Sequence[str]
    """Of a run that failed, one of these is in the text: a server was away, as is told."""
    seeded: random.Random
    codes: Counter[int] = field(default_factory=Counter)
    killed_after: list[float] = field(default_factory=list)

    def until(self, deadline: float, pipeline: str, killed: tuple[float, float]) -> None:
        """Run until an instant; two runs of three are to be killed after some seconds, and all until one was."""
        while time.monotonic() < deadline:
            after = self.seeded.uniform(*killed) if self.seeded.random() < 2 / 3 or not self.killed_after else None
            began = time.monotonic()
            code, text = self.once(pipeline, after)
            self.codes[code] += 1
            assert code in ENDED, text
            assert code != 1 or any(server in text for server in self.unreachable), text
            assert "Traceback" not in text, text
            if code == -signal.SIGKILL:
                self.killed_after.append(round(time.monotonic() - began, 2))

    def once(self, pipeline: str, kill_after: float | None = None) -> tuple[int, str]:
        """Run once; return code and text."""
        with subprocess.Popen(
            [ENGINE, "run", pipeline],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200", **self.servers},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                text, _ = running.communicate(timeout=kill_after or 2 * ENOUGH)
            except subprocess.TimeoutExpired:
                running.kill()
                text, _ = running.communicate()
                assert kill_after is not None, f"a run did not end:\n{text}"
            return running.returncode, text
