"""kill -9 at the system calls of a publish, then an ordinary run: every package is landed exactly once."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.config.models import FilesystemLake
from engine.lake.lake import open_lake
from tests.unit.lake.landing import land

CALLS = ("rename,renameat,renameat2", "link,linkat", "unlink,unlinkat", "mkdir", "fsync", "write", "pwrite64", "flock")
PACKAGES = 2
SEED = 20_261_123

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def run(folder: Path, *before: str) -> int:
    """Land up to PACKAGES in folder/lake as another process, under strace if `before` says so."""
    settings = json.dumps({"type": "filesystem", "path": str(folder / "lake")})
    command = [sys.executable, "-m", "tests.unit.lake.landing", settings, str(folder / "cache"), "s", str(PACKAGES)]
    return subprocess.run([*before, *command], cwd=Path.cwd(), check=False, capture_output=True).returncode


def numbers(folder: Path) -> list[int]:
    """The rows that a reader without any cache sees; every package is checked against its checksums."""
    with open_lake(FilesystemLake(type="filesystem", path="lake"), folder, folder / "other-cache") as lake:
        files = [file for entry in lake.entries("raw_numbers") for file in lake.open(entry).local_files]
        return [row["n"] for file in files for row in pq.read_table(file).to_pylist()]


def survive(folder: Path, calls: str, nth: int) -> bool:
    """Kill a run at its nth call of each kind on the lake; return whether the fault fired."""
    folder.mkdir()
    lake = folder / "lake"
    lake.mkdir()
    strace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}")
    killed = run(folder, *strace, "-e", f"inject={calls}:signal=SIGKILL:when={nth}")
    seen = numbers(folder)
    assert seen == list(range(1, len(seen) + 1)), f"half a lake after {calls} {nth}"
    with open_lake(FilesystemLake(type="filesystem", path="lake"), folder, folder / "cache") as opened:
        land(opened, "s", PACKAGES + 1)
        assert numbers(folder) == list(range(1, PACKAGES + 2)), f"after {calls} {nth} and another run"
        assert opened.verify() == [], f"leftovers after {calls} {nth}"
    assert list((lake / "_staging").iterdir()) == [], f"scratch left after {calls} {nth}"
    shutil.rmtree(folder)
    return killed != 0


def sweep(tmp_path: Path, calls: str, points: list[int]) -> int:
    """Try every point, two at a time; return how many fired."""
    with ThreadPoolExecutor(2) as pool:
        name = calls.split(",", maxsplit=1)[0]
        return sum(pool.map(lambda nth: survive(tmp_path / f"{name}-{nth}", calls, nth), points))


@pytest.mark.parametrize("calls", ["rename,renameat,renameat2", "link,linkat"])
def test_killed_at_every_rename_and_link(tmp_path: Path, calls: str) -> None:
    """K01. Renames: the package's folder and the note of the head; links: the log entries."""
    points = list(range(1, 2 * PACKAGES + 1)) if calls.startswith("rename") else list(range(1, PACKAGES + 1))
    fired = sweep(tmp_path, calls, points)
    assert fired >= PACKAGES


def test_killed_at_some_syncs_and_removals(tmp_path: Path) -> None:
    """K02, a seeded sample; the whole of it is the chaos test below."""
    points = sorted(random.Random(SEED).sample(range(1, 20), 4))
    assert sweep(tmp_path, "fsync", points) == len(points)
    assert sweep(tmp_path, "unlink,unlinkat", [1, 2, 5]) >= 2


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("calls", CALLS)
def test_killed_at_every_call(tmp_path: Path, calls: str) -> None:
    """K02 in full: go on until nothing is killed any more."""
    start, fired = 1, 0
    while batch := sweep(tmp_path, calls, list(range(start, start + 4))):
        fired += batch
        start += 4
        if batch < 4:
            break
    assert fired
