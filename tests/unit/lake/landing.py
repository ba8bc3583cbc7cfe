"""Lands numbered rows in a lake, resuming from the state it left there. Run by the tests as a process of its own.

    python -m tests.unit.lake.landing SETTINGS_JSON CACHE_DIR SOURCE UP_TO [TABLE]

Each package holds one row {n} and leaves {"done": n}, so a lake in which every source's rows are 1, 2, ... UP_TO got
every package exactly once.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from engine.config.models import FilesystemLake, S3Lake
from engine.lake.lake import Lake, new_load_id, open_lake
from engine.table import Column, Table

NUMBERS = (Column("n", "bigint"), Column("who", "text"))


def settings_of(text: str) -> FilesystemLake | S3Lake:
    record = json.loads(text)
    return S3Lake(**record) if record["type"] == "s3" else FilesystemLake(**record)


def land(lake: Lake, source: str, up_to: int, table: str = "raw_numbers") -> None:
    """Land what is missing up to `up_to`, one package a number."""
    while True:
        state, seq = lake.state(source, "numbers", table)
        number = state.get("done", 0) + 1
        if number > up_to:
            return
        now = datetime.now(UTC)
        with lake.writer(
            source=source,
            resource="numbers",
            table=Table(table, NUMBERS),
            run_id="run",
            load_id=new_load_id(now),
            since_seq=seq,
        ) as writer:
            writer.write(pa.table({"n": [number], "who": [source]}))
            writer.publish(NUMBERS, {"done": number}, now, now)


if __name__ == "__main__":
    with open_lake(settings_of(sys.argv[1]), Path("/"), Path(sys.argv[2])) as opened:
        land(opened, sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
