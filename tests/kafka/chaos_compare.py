"""What is in a topic, in each `landing` and in the marts, side by side in a DuckDB file: rows that differ are counted.

A message is typed here by DuckDB's casts of its JSON text, not by the engine; a row is compared in every column.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from destinations import open_destination
from engine.config.project import Project
from engine.table import LINEAGE_COLUMNS
from tests.kafka.topics import QUIET, SECONDS

BULK = 50_000
MARTS = "SELECT transaction_id, transaction_amount FROM marts.fct_transactions"
READING_SECONDS = 600.0
LINEAGE = {column.name for column in LINEAGE_COLUMNS}
PLACE = '_kafka_partition = partition AND _kafka_offset = "offset"'


class Compared:
    """One project's warehouse beside the brokers' topics; everything is read once."""

    def __init__(self, project: Project, bootstrap: str, dsn: str, folder: Path) -> None:
        """Compare the embedded warehouse, and PostgreSQL's database at `dsn`; what is read goes into `folder`."""
        self._bootstrap, self._dsn, self._folder = bootstrap, dsn, folder
        settings = project.destinations["warehouse"]
        self._warehouse: Any = open_destination("warehouse", settings, project.project_dir, project.data_dir)
        self._here = duckdb.connect(str(folder / "compared.duckdb"))
        self._here.execute("SET TimeZone = 'UTC'; SET memory_limit = '2GB'; SET preserve_insertion_order = false")

    def close(self) -> None:
        self._here.close()

    def landing(self, topic: str) -> dict[str, int]:
        """Count what is wrong with the landed rows of a topic; nothing but zeros where each message landed once."""
        self._read_topic(topic)
        self._take("landed", f"SELECT * FROM landing.{topic}")
        columns = dict(
            self._here.sql("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'landed'").fetchall()
        )
        wrong = {f"warehouse, {what}": rows for what, rows in self._landed(topic, columns).items()}
        self._take_from_postgres(topic, columns)
        return wrong | {f"PostgreSQL, {what}": rows for what, rows in self._landed(topic, columns).items()}

    def _landed(self, topic: str, columns: Mapping[str, str]) -> dict[str, int]:
        """Compare table `landed` with table `sent`."""
        payload = [name for name in columns if not name.startswith("_") and name not in LINEAGE]
        equal = [
            f"landed.\"{name}\" IS NOT DISTINCT FROM CAST(value ->> '{name}' AS {columns[name]})" for name in payload
        ]
        equal += ["_kafka_key IS NOT DISTINCT FROM decode(key)", f"_kafka_topic = '{topic}'"]
        names = ", ".join(f"'{name}'" for name in payload)
        return {
            "missing": self._count(f"sent ANTI JOIN landed ON {PLACE}"),
            "never sent": self._count(f"landed ANTI JOIN sent ON {PLACE}"),
            "twice": self._count("(SELECT 1 FROM landed GROUP BY _kafka_partition, _kafka_offset HAVING count(*) > 1)"),
            "different": self._count(f"sent JOIN landed ON {PLACE} WHERE NOT ({' AND '.join(equal)})"),
            "without a column": self._count(
                f"(SELECT unnest(json_keys(value)) AS f FROM sent) WHERE f NOT IN ({names})"
            ),
        }

    def keys(self) -> Counter[bytes]:
        """Keys of the topic that was read last, and how often each is there."""
        return Counter(dict(self._here.sql("SELECT key, count(*) FROM sent GROUP BY key").fetchall()))

    def marts(self, ledger: Sequence[pa.Table]) -> dict[str, int]:
        """Count transactions whose number of rows or sum of amounts is not the ledger's."""
        self._here.execute("CREATE OR REPLACE TABLE ledger (transaction_id VARCHAR, amount DECIMAL(38, 18))")
        for trades in ledger:
            self._here.register("trades", trades)
            self._here.execute("INSERT INTO ledger SELECT * FROM trades")
        self._take("mart", MARTS)
        summed = "(SELECT transaction_id, count(*) AS n, sum({}) AS total FROM {} GROUP BY ALL)"
        sums = f"{summed.format('amount', 'ledger')} AS l", f"{summed.format('transaction_amount', 'mart')} AS m"
        return {
            "trades": self._count("ledger"),
            "missing": self._count(f"{sums[0]} ANTI JOIN {sums[1]} USING (transaction_id)"),
            "never sent": self._count(f"{sums[1]} ANTI JOIN {sums[0]} USING (transaction_id)"),
            "different": self._count(
                f"{sums[0]} JOIN {sums[1]} USING (transaction_id) WHERE l.n <> m.n OR l.total <> m.total"
            ),
        }

    def _count(self, rows: str) -> int:
        return int(self._here.sql(f"SELECT count(*) FROM {rows}").fetchall()[0][0])

    def _take(self, name: str, sql: str) -> None:
        """Copy what a reader of the warehouse sees."""
        with closing(self._warehouse.reader()) as reader:
            found = reader.sql(sql).to_arrow_reader(BULK)
            self._here.register("found", found)
            self._here.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM found")
            self._here.unregister("found")

    def _take_from_postgres(self, table: str, columns: Mapping[str, str]) -> None:
        """Copy a landed table by way of a CSV, in which NULL is nothing and an empty text is quoted."""
        file, names = self._folder / f"{table}.csv", ", ".join(f'"{name}"' for name in columns)
        with psycopg.connect(self._dsn, options="-c timezone=UTC") as connection, file.open("wb") as out:
            copy = f"COPY (SELECT {names} FROM landing.{table}) TO STDOUT (FORMAT csv)"
            with connection.cursor().copy(copy.encode()) as pieces:
                for piece in pieces:
                    out.write(piece)
        self._here.execute(
            f"CREATE OR REPLACE TABLE landed AS SELECT * FROM read_csv('{file}', header = false, columns = {columns}, "
            "delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, auto_detect = false)"
        )
        file.unlink()

    def _read_topic(self, topic: str) -> None:
        self._here.execute('CREATE OR REPLACE TABLE sent (partition BIGINT, "offset" BIGINT, key BLOB, value VARCHAR)')
        for batch in committed(self._bootstrap, topic):
            columns = {
                "partition": pa.array([message.partition() for message in batch], pa.int64()),
                "offset": pa.array([message.offset() for message in batch], pa.int64()),
                "key": pa.array([message.key() for message in batch], pa.binary()),
                "value": pa.array([message.value() for message in batch], pa.string()),
            }
            self._here.register("batch", pa.table(columns))
            self._here.execute("INSERT INTO sent SELECT * FROM batch")


def committed(bootstrap: str, topic: str) -> Iterator[list[Any]]:
    """Read a topic from its beginning to its end, as any consumer of committed messages would."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "a reader without positions",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        **QUIET,
    }
    with closing(Consumer(settings)) as consumer:
        left = set(consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in left])
        deadline = time.monotonic() + READING_SECONDS
        while left:
            assert time.monotonic() < deadline, f"partitions {sorted(left)} of {topic} did not end"
            found = consumer.consume(BULK, 0.5)
            good = [message for message in found if message.error() is None]
            for message in found:
                if (error := message.error()) is not None and error.name() == "_PARTITION_EOF":
                    left.discard(message.partition())
                elif error is not None and not error.retriable():
                    raise KafkaException(error)
            if good:
                yield good
