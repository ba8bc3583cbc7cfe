"""What only a local lake has: locks, links, modes, moving, and very many packages."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from engine.config.models import FilesystemLake
from engine.errors import LakeError
from engine.lake.codec import entry_bytes
from engine.lake.lake import Lake, new_load_id, open_lake
from engine.lake.scratch import Intent, Scratch
from engine.table import Table
from tests.unit.lake.landing import NUMBERS, land

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def lake_at(folder: Path, cache: str = "cache", path: str = "lake") -> Lake:
    return open_lake(FilesystemLake(type="filesystem", path=path), folder, folder / cache)


def test_a_package_is_not_writable_by_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        land(lake_at(tmp_path), "s", 1)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "lake").rglob("*")}
    assert modes
    assert all(not mode & 0o027 for mode in modes.values()), modes


def test_a_live_writer_is_left_alone_and_a_dead_one_is_swept(tmp_path: Path) -> None:
    staging = tmp_path / "lake" / "_staging"
    land(lake_at(tmp_path), "s", 1)
    live = Scratch(staging)
    program = (
        "import sys; from pathlib import Path; from engine.lake.scratch import Scratch; Scratch(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(staging)], check=True)
    assert len(list(staging.glob("*.lock"))) == 2
    land(lake_at(tmp_path), "s", 2)
    assert [path.name for path in staging.glob("*.lock")] == [f"{live.folder.name}.lock"]
    assert live.folder.is_dir()
    live.discard()
    assert list(staging.iterdir()) == []


def test_an_orphan_of_a_dead_writer_is_removed_but_never_a_landed_package(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    land(lake, "s", 1)
    landed = lake.head("raw_numbers")
    assert landed is not None
    orphan = tmp_path / "lake/s/raw_numbers/2026-05-01/dead"
    orphan.mkdir(parents=True)
    (orphan / "part-00000.parquet").write_bytes(b"half")
    for path in ("s/raw_numbers/2026-05-01/dead", landed.path):
        scratch = Scratch(tmp_path / "lake/_staging")
        scratch.intend(Intent(path, "raw_numbers", path.rsplit("/", 1)[1], 0))
        scratch.release()
    land(lake, "s", 2)
    assert not orphan.exists()
    assert lake.verify() == []


def test_links_inside_the_lake_are_refused(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    land(lake, "s", 1)
    entry = lake.head("raw_numbers")
    assert entry is not None
    day = (tmp_path / "lake" / entry.path).parent
    day.rename(tmp_path / "elsewhere")
    day.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LakeError, match="symbolic link"):
        lake.open(entry)


def test_an_entry_that_points_out_of_the_lake_is_refused(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    land(lake, "s", 1)
    entry = lake.head("raw_numbers")
    assert entry is not None
    with pytest.raises(LakeError, match="cannot name"):
        lake.open(dataclasses.replace(entry, path="s/../../etc"))


@pytest.mark.faults
def test_a_moved_lake_is_the_same_lake(tmp_path: Path) -> None:
    """L10: another path, other mtimes, the old cache."""
    land(lake_at(tmp_path), "s", 3)
    before = list(lake_at(tmp_path).entries("raw_numbers"))
    shutil.copytree(tmp_path / "lake", tmp_path / "moved", copy_function=shutil.copyfile)
    shutil.rmtree(tmp_path / "lake")
    moved = lake_at(tmp_path, path="moved")
    assert list(moved.entries("raw_numbers")) == before
    assert moved.verify() == []
    land(moved, "s", 4)
    assert [entry.seq for entry in moved.entries("raw_numbers")] == [1, 2, 3, 4]


@pytest.mark.faults
@pytest.mark.parametrize("lost", ["everything", "an entry"])
def test_a_lake_that_is_unmounted_or_replaced_in_the_middle(tmp_path: Path, lost: str) -> None:
    """L06: an empty mount point, or an older copy in its place, must not become a second lake."""
    lake = lake_at(tmp_path)
    land(lake, "s", 2)
    writer = lake.writer(
        source="s", resource="r", table=Table("raw_numbers", NUMBERS), run_id="r", load_id="x", since_seq=0
    )
    writer.write(pa.table({"n": [1]}))
    if lost == "everything":
        (tmp_path / "lake").rename(tmp_path / "unmounted")
        (tmp_path / "lake").mkdir()
    else:
        (tmp_path / "lake/_log/raw_numbers/00000000000000000002.json").unlink()
    with pytest.raises(LakeError, match=r"vanished|ended at 2 when this run began and ends at 1 now") as caught:
        writer.publish(NUMBERS, {}, NOW, NOW)
    assert "mounted" in caught.value.remedy
    landed = sorted(path.name for path in (tmp_path / "lake/_log").rglob("*.json"))
    assert landed == ([] if lost == "everything" else ["00000000000000000001.json"])


@pytest.mark.parametrize("hint", ['{"seq": 99}', '{"seq": -1}', '{"seq": "x"}', "[]", "not json", '{"seq": 1}'])
def test_a_wrong_hint_costs_nothing_but_time(tmp_path: Path, hint: str) -> None:
    land(lake_at(tmp_path), "s", 3)
    (tmp_path / "cache/hints/head-raw_numbers.json").write_text(hint)
    head = lake_at(tmp_path).head("raw_numbers")
    assert head is not None
    assert head.seq == 3


def test_a_lake_works_without_a_writable_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    land(lake_at(tmp_path), "s", 2)
    head = lake_at(tmp_path).head("raw_numbers")
    assert head is not None
    assert head.seq == 2


def test_a_page_of_another_type_is_refused(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    table = Table("raw_numbers", NUMBERS)
    for rows, says in (
        (pa.table({"n": ["text"]}), "column n is int64 in one page and string"),
        (pa.table({"n": pa.array([None])}), "column n has the type null"),
        (pa.table([[1], [2]], names=["n", "n"]), "same name"),
    ):
        writer = lake.writer(source="s", resource="r", table=table, run_id="r", load_id=new_load_id(NOW), since_seq=0)
        writer.write(pa.table({"n": [1]}))
        with pytest.raises(LakeError, match=says):
            writer.write(rows)
    assert list((tmp_path / "lake/_staging").iterdir()) == []


def test_a_big_package_streams(tmp_path: Path) -> None:
    """Five million rows (200 MB in memory) pass through without being held; files are cut at their bound."""
    lake = lake_at(tmp_path)
    table = Table("raw_numbers", NUMBERS)
    page = pa.table({"n": pa.array(range(100_000), pa.int64()), "who": pa.array([os.urandom(16).hex()] * 100_000)})
    writer = lake.writer(source="s", resource="r", table=table, run_id="r", load_id="big", since_seq=0)
    writer._rows._file_bytes = 1 << 20
    writer.write(page)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(49):
        writer.write(page)
    entry = writer.publish(NUMBERS, {}, NOW, NOW)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert entry is not None
    assert entry.rows == 5_000_000
    assert grown < 150_000, f"{grown} KB"
    assert len(lake.open(entry).local_files) > 1


@pytest.mark.slow
@pytest.mark.faults
def test_a_hundred_thousand_packages(tmp_path: Path) -> None:
    """L09: the head, what is new, and the next package are found in well under a second."""
    count = 100_000
    land(lake_at(tmp_path), "s", 1)
    first = lake_at(tmp_path).head("raw_numbers")
    assert first is not None
    log = tmp_path / "lake/_log/raw_numbers"
    for seq in range(2, count + 1):
        entry = dataclasses.replace(first, seq=seq, last_by_source={"s/numbers": seq})
        (log / f"{seq:020d}.json").write_bytes(entry_bytes(entry))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    head = lake_at(tmp_path, "cold").head("raw_numbers")
    cold = time.monotonic() - started
    assert head is not None
    assert head.seq == count
    started = time.monotonic()
    lake = lake_at(tmp_path, "cold")
    assert list(lake.entries("raw_numbers", after=count)) == []
    land(lake, "other", 1)
    assert [entry.seq for entry in lake.entries("raw_numbers", after=count)] == [count + 1]
    warm = time.monotonic() - started
    assert cold < 2, f"{cold:.2f} s without a hint"
    assert warm < 1, f"{warm:.2f} s with one"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000
