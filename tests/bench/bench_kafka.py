"""1,000,000 messages from a topic of a real Kafka 4 to `landing`, and how soon a new one is seen in a mart.

    python -m tests.bench.bench_kafka [MESSAGES]

Messages are trades as `engine produce` sends them, in the four partitions of the project's own broker settings. Each
figure is taken in a process of its own, after a small run in it: process start and imports are left out, unless the
line says so.

Topic to landing (drain, land, load into the embedded warehouse, no models) stands beside a bare confluent-kafka
consumer that reads the same topic by consume() with the same settings and drops what it reads, and beside a dlt
resource that consumes and yields dicts into a DuckDB file (fewer messages, as rows a second). Targets: half of the bare
consumer's speed, 20 times dlt with dicts, peak memory below 800 MB. On a machine that others use as well, the
processor's time of a message says more than the clock.

Then all topics flow through all models: after a history of so many trades, 5,000 new messages are produced and the
pipeline is run in the same process until the newest trade is in marts.fct_transactions, three times. Target: the median
run below 8 s. The same in a new process, `engine run`, is printed too.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from destinations import open_destination
from engine.cli import GARBAGE
from engine.config.load import load_project
from engine.config.project import Project
from engine.produce import Bounds, produce
from engine.progress import Silent
from engine.query import query
from engine.run import Runner
from sources.faker.stream import Stream
from sources.kafka.client import reader_settings
from sources.kafka.describe import describe
from sources.kafka.sending import Sender, create_topics
from tests.faults.small_project import ENGINE
from tests.kafka.brokers import Broker
from tests.kafka.jars import MissingError, jars
from tests.vault.adapter import project_at

MESSAGES = 1_000_000
DICTS = 50_000
WARM = 2_000
NEW = 5_000
RUNS = 3
HALF, TIMES, MEMORY_MB, SECONDS = 0.5, 20.0, 800, 8.0
BULK = 20_000
TRADES = "raw_transaction_personal"
ALL, LAND = "trino-incremental-dbt-5min", "land"
ONLY_LAND = f"\n  {LAND}: {{extract: [kafka.{TRADES}], load: [warehouse], transform: false}}\n"
BROKERS = 'brokers: "${KAFKA_BROKERS}"'
NEWEST = "SELECT count(*) FROM marts.fct_transactions WHERE transaction_id IN ({})"
CHILD_SECONDS = 1_500


def project_on(folder: Path, bootstrap: str, at_most: int | None = None) -> Project:
    """Read the project of a folder, for these brokers; where there is none, write this repository's there."""
    path = folder / "pipelines.yaml"
    if not path.exists():
        project_at(folder, "ducklake")
        text = path.read_text()
        bound = "" if at_most is None else f"\n    max_messages: {at_most}"
        path.write_text(text.replace(BROKERS, BROKERS + bound) + ONLY_LAND)
    return load_project(path, profile="local", env={"KAFKA_BROKERS": bootstrap})


def ran(project: Project, pipeline: str) -> tuple[float, int]:
    """Run a pipeline; return seconds and the trades of persons that it landed."""
    started = time.perf_counter()
    report = Runner(project, Silent()).run(pipeline)
    seconds = time.perf_counter() - started
    if report.failures:
        raise SystemExit(report.failures[0])
    return seconds, sum(each.rows for each in report.resources if each.table == TRADES)


def fill(project: Project, messages: int) -> None:
    """Send so many trades of persons, and nothing else."""
    assets = [asset for listed in project.assets.values() for asset in listed]
    stream, now, sent = Stream(project.sources["faker"], assets, {}), datetime.now(UTC), 0
    create_topics(project.sources["kafka"], "kafka", [TRADES])
    with Sender(project.sources["kafka"], "kafka") as sender:
        while sent < messages:
            for table, rows in stream.pages(stream.reserve(BULK), now - timedelta(days=30), now):
                if table.name == TRADES:
                    some = rows.slice(0, messages - sent)
                    sender.send(TRADES, "transaction_id", some)
                    sent += some.num_rows


def consumed(project: Project, at_most: int | None = None) -> Iterator[list[Any]]:
    """Read the topic in bulk with the settings of the source, from its beginning to its end or to so many messages."""
    from confluent_kafka import Consumer, TopicPartition

    source = project.sources["kafka"]
    held = describe(source, "kafka", TRADES).held
    with closing(Consumer(reader_settings(source))) as consumer:
        consumer.assign([TopicPartition(TRADES, partition, there.low) for partition, there in held.items()])
        left = min(sum(there.high - there.low for there in held.values()), at_most or sys.maxsize)
        while left > 0:
            batch = [each for each in consumer.consume(min(BULK, left), 0.2) if each.error() is None]
            left -= len(batch)
            yield batch


def processor() -> float:
    """Return the processor's seconds that this process has used, in all of its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bare(folder: Path, bootstrap: str, _messages: int) -> dict[str, float]:
    """Read and drop."""
    project = project_on(folder, bootstrap)
    sum(map(len, consumed(project, WARM)))
    used, started = processor(), time.perf_counter()
    count = sum(map(len, consumed(project)))
    return {"messages": count, "seconds": time.perf_counter() - started, "processor": processor() - used}


def dicts(folder: Path, bootstrap: str, messages: int) -> dict[str, float]:
    """Consume in a dlt resource that yields pages of dicts, into a DuckDB file."""
    import dlt

    project = project_on(folder, bootstrap)

    def load(name: str, count: int) -> float:
        def trades() -> Iterator[Any]:
            for batch in consumed(project, count):
                yield [json.loads(message.value()) for message in batch]

        pipeline = dlt.pipeline(
            name,
            destination=dlt.destinations.duckdb(str(folder / f"{name}.duckdb")),
            pipelines_dir=str(folder / "dlt"),
            dataset_name="landing",
        )
        started = time.perf_counter()
        pipeline.run(dlt.resource(trades, name=TRADES))
        return time.perf_counter() - started

    load("warm", WARM)
    count = min(messages, DICTS)
    return {"messages": count, "seconds": load("dicts", count)}


def land(folder: Path, bootstrap: str, _messages: int) -> dict[str, float]:
    """Run the pipeline that stops at `landing`, after one of a few messages into another lake."""
    ran(project_on(folder / "warm", bootstrap, WARM), LAND)
    whole = project_on(folder / "whole", bootstrap)
    used = processor()
    seconds, rows = ran(whole, LAND)
    return {
        "messages": rows,
        "seconds": seconds,
        "processor": processor() - used,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def seen(folder: Path, bootstrap: str, messages: int) -> dict[str, Any]:
    """Build all models over a history of so many trades; then from messages to rows of a mart, again and again."""
    project = project_on(folder, bootstrap)
    produce(project, Bounds(rate=0, messages=messages * 100 // 95, people=True))  # five of a hundred are of people
    found: dict[str, Any] = {"built": ran(project, ALL)[0], "runs": [], "cold": 0.0}
    for _ in range(RUNS):
        ids = produced(project)
        seconds, _ = ran(project, ALL)
        visible(project, ids)
        found["runs"].append(seconds)
    ids = produced(project)
    started = time.perf_counter()
    done = subprocess.run(
        [ENGINE, "run", ALL],
        cwd=folder,
        env={**os.environ, "KAFKA_BROKERS": bootstrap},
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_SECONDS,
    )
    found["cold"] = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    visible(project, ids)
    return found


def produced(project: Project) -> list[str]:
    """Send new messages; return the ids of the trades among them, each acknowledged."""
    ids: list[str] = []

    def told(topic: str, key: bytes) -> None:
        if topic.startswith("raw_transaction"):
            ids.append(key.decode())

    produce(project, Bounds(rate=0, messages=NEW), told=told)
    return ids


def visible(project: Project, ids: list[str]) -> None:
    """Ask the mart as a reader does."""
    settings = project.destinations["warehouse"]
    warehouse = open_destination("warehouse", settings, project.project_dir, project.data_dir)
    [(count,)] = query(warehouse, NEWEST.format(", ".join(f"'{each}'" for each in ids))).rows
    if count != len(ids):
        raise SystemExit(f"{count:,} of {len(ids):,} new trades are in marts.fct_transactions")


MEASURES: dict[str, Callable[[Path, str, int], dict[str, Any]]] = {
    "bare": bare,
    "dicts": dicts,
    "land": land,
    "seen": seen,
}


def measured(name: str, folder: Path, bootstrap: str, messages: int) -> dict[str, Any]:
    """Measure in a process of its own: what one imports and keeps does not count for the next."""
    command = [sys.executable, "-m", "tests.bench.bench_kafka", name, str(folder / name), bootstrap, str(messages)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=CHILD_SECONDS)
    if done.returncode:
        raise SystemExit(f"{name} failed")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def speeds(folder: Path, bootstrap: str, messages: int) -> bool:
    """Print how fast messages come to `landing`, beside the others; return whether all is as aimed at."""
    fill(project_on(folder / "bare", bootstrap), messages)
    by = {name: measured(name, folder, bootstrap, messages) for name in ("bare", "land", "dicts")}
    if by["land"]["messages"] != messages:
        raise SystemExit(f"{by['land']['messages']:,} of {messages:,} messages landed")
    rate = {name: figures["messages"] / figures["seconds"] for name, figures in by.items()}
    half, times, memory = rate["land"] / rate["bare"], rate["land"] / rate["dicts"], by["land"]["memory"]
    print(f"engine: topic to lake and DuckLake {rate['land']:>10,.0f} messages/s  {by['land']['seconds']:.2f} s")
    print(f"bare consumer, reads and drops     {rate['bare']:>10,.0f} messages/s  {by['bare']['seconds']:.2f} s")
    print(f"dlt with dicts ({by['dicts']['messages']:,} messages)   {rate['dicts']:>10,.0f} messages/s")
    each = {name: by[name]["processor"] * 1e6 / by[name]["messages"] for name in ("bare", "land")}
    print(f"processor's time of a message      {each['land']:>10.2f} us, of the bare consumer {each['bare']:.2f} us")
    print(f"of the bare consumer               {half:>10.2f} x           (target {HALF})")
    print(f"of dlt with dicts                  {times:>10.0f} x           (target {TIMES:.0f})")
    print(f"peak memory                        {memory:>10,.0f} MB          (target {MEMORY_MB})", flush=True)
    return bool(half >= HALF and times >= TIMES and memory < MEMORY_MB)


def freshness(folder: Path, bootstrap: str, messages: int) -> bool:
    """Print how soon a message is a row of a mart; return whether that is as aimed at."""
    by = measured("seen", folder, bootstrap, messages)
    median = statistics.median(by["runs"])
    runs = ", ".join(f"{seconds:.2f}" for seconds in by["runs"])
    print(f"all models over {messages:,} trades built in {by['built']:.1f} s")
    print(f"{NEW:,} new messages to rows of marts.fct_transactions, warm: {runs} s")
    print(f"median                             {median:>10.2f} s           (target {SECONDS:.0f})")
    print(f"in a new process (engine run)      {by['cold']:>10.2f} s           (for comparison)", flush=True)
    return bool(median < SECONDS)


def main(messages: int = MESSAGES) -> int:
    """Measure and print; 1 when a target is missed."""
    try:
        jars("kafka-4")
    except MissingError as error:
        print(f"not measured: {error}")
        return 0
    met = []
    for part in (speeds, freshness):
        with tempfile.TemporaryDirectory() as name, Broker("kafka-4", Path(name) / "broker") as broker:
            met.append(part(Path(name), broker.bootstrap, messages))
    return 0 if all(met) else 1


if __name__ == "__main__":
    gc.set_threshold(*GARBAGE)  # as the command does
    if sys.argv[1:2] and sys.argv[1] in MEASURES:
        _, name, folder, bootstrap, messages = sys.argv
        print(json.dumps(MEASURES[name](Path(folder), bootstrap, int(messages))))
        sys.exit(0)
    sys.exit(main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else MESSAGES))
