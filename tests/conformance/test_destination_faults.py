"""Kills, locks, full disks, damaged files and readers beside a writer, for both embedded warehouses."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from destinations import ducklake
from destinations.duckdb import DuckdbWarehouse
from destinations.ducklake import DucklakeWarehouse
from engine.errors import BusyError, DestinationError
from engine.load import catch_up
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.load_until_killed import WAITS_AFTER

Warehouse = DuckdbWarehouse | DucklakeWarehouse
ROOT = Path(__file__).parents[2]
EXACTLY_ONCE = """
    select count(*), count(distinct symbol), (select count(*) from landing._packages),
        (select count(distinct _load_id) from landing._packages), (select max(seq) from landing._cursor)
    from landing.raw_prices
"""


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(params=["ducklake", "duckdb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


@pytest.fixture
def build(kind: str, tmp_path: Path, data_dir: Path) -> Callable[..., Warehouse]:
    path = tmp_path / ("warehouse" if kind == "ducklake" else "warehouse.duckdb")
    made = DucklakeWarehouse if kind == "ducklake" else DuckdbWarehouse
    return lambda **settings: made("warehouse", path, data_dir, **settings)


def loading(kind: str, data_dir: Path, lake: FolderLake, jobs: list[dict[str, object]]) -> subprocess.Popen[str]:
    """Start load_until_killed.py and wait until its imports are done."""
    (lake.root / "lake.pickle").write_bytes(pickle.dumps(lake))
    (lake.root / "jobs.json").write_text(json.dumps(jobs))
    files = [str(data_dir), str(lake.root / "lake.pickle"), str(lake.root / "jobs.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.load_until_killed", kind, *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def signals(process: subprocess.Popen[str]) -> list[int]:
    """Wait for the jobs; return the signal that ended each (9: the kill came in time)."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    ended: list[int] = json.loads(output.splitlines()[-1])["signals"]
    return ended


def everything(kind: str, count: int, packages: int, warehouse: Warehouse, lake: FolderLake) -> None:
    """Finish the load in this process: every row exactly once, the lake untouched, nothing left lying about."""
    with warehouse as opened:
        assert catch_up(opened, lake, [PRICES]).errors == []
        opened.publish()
        assert opened._writer.execute(EXACTLY_ONCE).fetchall() == [(count, count, packages, packages, packages)]
    if kind == "ducklake":
        assert not (warehouse.path / "loading.json").exists()
        assert len(list((warehouse.path / "data" / "landing" / "raw_prices").iterdir())) == packages
        assert not list(warehouse.path.glob(".creating-*"))
    else:
        beside = {path.name.partition(".duckdb.")[2].partition("-")[0] for path in warehouse.path.parent.iterdir()}
        assert beside <= {"", "published", "published.json", "writer.lock"}


POINTS = {
    "ducklake": [
        ("destinations.ducklake:link", 2),
        ("destinations.landing:Landing._advance", 2),
        ("destinations.landing:Landing._arrive", 1),
        ("destinations.ducklake:DucklakeWarehouse._settle", 2),
        ("destinations.ducklake_housekeeping:as_text", 1),
        ("destinations.ducklake:sync_file", 1),
        ("destinations.ducklake:sync_directory", 1),
    ],
    "duckdb": [
        ("destinations.landing:Landing._advance", 2),
        ("destinations.landing:Landing._arrive", 1),
        ("destinations.landing:Landing.cursors", 3),
        ("destinations.duckdb:replace_text", 1),
        ("destinations.duckdb:sync_file", 1),
        ("destinations.duckdb:sync_file", 2),
        ("destinations.duckdb:sync_directory", 1),
    ],
}


@pytest.mark.faults
def test_a_kill_at_any_point_then_one_more_run_holds_every_row_once(
    kind: str, build: Callable[..., Warehouse], tmp_path: Path, data_dir: Path, lake: FolderLake
) -> None:
    """K01, K04, K07, K18: each point on a warehouse of its own; some of them lie where it is being made."""
    for start in range(0, 60, 10):
        lake.land(price_rows(start, 10))
    folders = [tmp_path / f"point{number}" for number, _ in enumerate(POINTS[kind])]
    for folder in folders:
        folder.mkdir()
    paths = [folder / build().path.name for folder in folders]
    jobs = [{"path": str(path), "at": point} for path, point in zip(paths, POINTS[kind], strict=True)]
    assert signals(loading(kind, data_dir, lake, jobs)) == [signal.SIGKILL] * len(jobs)
    for path in paths:
        everything(kind, 60, 6, type(build())("warehouse", path, data_dir), lake)


@pytest.mark.faults
def test_kills_at_random_instants_of_the_first_run(
    kind: str, build: Callable[..., Warehouse], data_dir: Path, lake: FolderLake
) -> None:
    """K18 by the clock: the same warehouse is killed again and again, from before it exists."""
    for start in range(0, 400, 10):
        lake.land(price_rows(start, 10))
    seed = 20260501
    chance = random.Random(seed)
    instants = sorted(chance.uniform(0.0, 0.9) for _ in range(6))
    jobs: list[dict[str, object]] = [{"path": str(build().path), "after": seconds} for seconds in instants]
    assert signal.SIGKILL in signals(loading(kind, data_dir, lake, jobs)), f"no kill came in time (seed {seed})"
    everything(kind, 400, 40, build(), lake)


@pytest.mark.faults
def test_readers_beside_a_writer_see_whole_packages_and_no_error(
    kind: str, build: Callable[..., Warehouse], data_dir: Path, lake: FolderLake
) -> None:
    """X05: connections that stay and connections that come and go, while another process loads and publishes."""
    size = 50
    for start in range(0, 16 * size, size):
        lake.land(price_rows(start, size))
    with build() as opened:
        opened.ensure([PRICES])
        opened.publish()
    count = "select count(*), (select coalesce(sum(rows), 0) from landing._packages) from landing.raw_prices"
    seen = [0]
    midway = lake.root / "seen"
    with build().reader() as first:
        writer = loading(kind, data_dir, lake, [{"path": str(build().path), "seen": str(midway)}])
        while writer.poll() is None or seen[-1] < 16 * size:
            with build().reader() as reader:
                for _ in range(3):
                    rows, noted = reader.execute(count).fetchall()[0]
                    assert rows == noted
                    assert rows % (2 * size) == 0
                    assert rows >= seen[-1]
                    seen.append(rows)
                    if rows >= WAITS_AFTER * 2 * size:
                        midway.touch()
            assert first.execute(count).fetchall() == [(0, 0)]
    assert signals(writer) == [0]
    assert {0, WAITS_AFTER * 2 * size, 16 * size} <= set(seen), "the writer was never caught at work"


def test_a_second_writer_is_told_who_is_first(build: Callable[..., Warehouse]) -> None:
    with build(), pytest.raises(BusyError, match=f"process {os.getpid()}"), build(wait_seconds=0.1):
        pass
    with build():
        pass


def test_a_dead_writers_lock_is_gone_whatever_its_pid_is_now(
    kind: str, build: Callable[..., Warehouse], tmp_path: Path, lake: FolderLake
) -> None:
    """X09: the file names a living process that is not the holder."""
    with build():
        pass
    lock = build().path / "writer.lock" if kind == "ducklake" else Path(f"{build().path}.writer.lock")
    lock.write_text(f'{{"pid": {os.getppid()}, "since": "2026-01-01T00:00:00+00:00"}}')
    with build(wait_seconds=0.0) as opened:
        opened.load("raw_prices", [lake.land(price_rows(0, 1))])


def test_a_duckdb_file_that_another_program_holds(tmp_path: Path, data_dir: Path) -> None:
    """D16."""
    warehouse = DuckdbWarehouse("warehouse", tmp_path / "warehouse.duckdb", data_dir)
    with warehouse as opened:
        opened.publish()
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(warehouse.path)!r}); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DestinationError, match=rf"duckdb.*process {holder.pid}.*lock") as raised, warehouse:
            pass
        assert "Close that program" in raised.value.remedy
        with warehouse.reader() as reader:
            assert reader.execute("select count(*) from landing._packages").fetchall() == [(0,)]
    finally:
        holder.communicate()
    with warehouse:
        pass


def test_damaged_databases_say_so(kind: str, build: Callable[..., Warehouse]) -> None:
    with build():
        pass
    path = build().path / "catalog.sqlite" if kind == "ducklake" else build().path
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(DestinationError, match=rf"the {kind} warehouse .* damaged") as raised, build():
        pass
    assert "engine replay" in raised.value.remedy
    build().set_aside()
    with build() as warehouse:
        assert warehouse.cursors() == {}
    [kept] = path.parent.glob(f"{path.name}.damaged-*")
    assert kept.read_bytes().startswith(b"not a database")


def test_a_full_disk_leaves_nothing_of_the_load(
    tmp_path: Path, data_dir: Path, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [lake.land(price_rows(0, 3)), lake.land(price_rows(3, 3))]
    original = ducklake.link
    calls = []

    def full(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        original(source, target)

    with DucklakeWarehouse("warehouse", tmp_path / "warehouse", data_dir) as opened:
        monkeypatch.setattr(ducklake, "link", full)
        with pytest.raises(DestinationError, match="no space left on the disk"):
            opened.load("raw_prices", packages)
        assert opened.cursors() == {}
        assert not [path for path in (opened.path / "data").rglob("*") if path.is_file()]
        assert opened.load("raw_prices", packages).rows == 6
