"""Writers on an S3 server that ignores If-None-Match take turns."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.errors import LakeError
from engine.lake import lease
from engine.lake.lease import create_in_turn


class PlainServer:
    """Objects with the server's own times; each request takes a moment, as on a network."""

    where = "lake s3://b"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.written: list[tuple[str, bytes]] = []

    def put(self, path: str, data: bytes) -> None:
        time.sleep(random.uniform(0, 0.002))
        self.objects[path] = (data, datetime.now(UTC))
        self.written.append((path, data))
        time.sleep(random.uniform(0, 0.002))

    def read(self, path: str) -> bytes | None:
        time.sleep(random.uniform(0, 0.002))
        found = self.objects.get(path)
        return found[0] if found else None

    def list(self, folder: str) -> Iterator[dict[str, Any]]:
        time.sleep(random.uniform(0, 0.002))
        found = [(path, when) for path, (_, when) in list(self.objects.items()) if path.startswith(f"{folder}/")]
        yield from ({"path": path, "modified": when} for path, when in found)

    def remove_object(self, path: str) -> None:
        self.objects.pop(path, None)


def test_each_entry_is_written_by_one_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: random.random() * 0.004)
    server = PlainServer()
    won: list[tuple[str, bytes]] = []

    def write(name: str) -> None:
        for seq in range(1, 6):
            path = f"_log/raw_t/{seq}.json"
            if create_in_turn(server, path, name.encode()):  # type: ignore[arg-type]
                won.append((path, name.encode()))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [(path, data) for path, data in server.written if path.startswith("_log/")]
    assert sorted(path for path, _ in entries) == [f"_log/raw_t/{seq}.json" for seq in range(1, 6)]
    assert sorted(won) == sorted(entries)
    assert not [path for path in server.objects if path.startswith("_leases/")]


def test_a_dead_writers_lease_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PlainServer()
    server.objects["_leases/raw_t/dead"] = (b"", datetime.now(UTC) - timedelta(seconds=61))
    assert create_in_turn(server, "_log/raw_t/1.json", b"x")  # type: ignore[arg-type]


def test_a_live_lease_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 0.2)
    server = PlainServer()
    server.objects["_leases/raw_t/live"] = (b"", datetime.now(UTC))
    with pytest.raises(LakeError, match="other writers held the log"):
        create_in_turn(server, "_log/raw_t/1.json", b"x")  # type: ignore[arg-type]
    assert list(server.objects) == ["_leases/raw_t/live"]
