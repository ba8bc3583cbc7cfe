"""Resources run out: space, inodes, file size, file descriptors, the temp folder, another program's lock, many runs.

Each test names its case. A run that fails says so in one clear error and loses nothing: the ordinary run after it is
whole.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.fake_api import FakeApi, Reply
from tests.faults.rest_project import RestProject, engine
from tests.faults.small_project import SMALL, SmallProject, clear, small_project

pytestmark = pytest.mark.faults
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of one's own needs root")


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    """Loaded once, and about a megabyte of new orders that compress badly."""
    made = small_project(tmp_path)
    made.orders(1)
    assert made.run().failures == []
    made.deliver("orders2", [{"id": 100 + n, "price": "1.5", "note": os.urandom(1000).hex()} for n in range(2000)])
    return made


def whole(shop: SmallProject) -> None:
    """The ordinary run after the fault."""
    assert shop.run().failures == []
    assert shop.ids() == [10, 11, 12, *range(100, 2100)]
    assert shop.cursor() == (2, 2, 2)
    assert not [path for path in (shop.lake / "_staging").iterdir() if path.is_dir()]


def mounted(options: str, folder: Path) -> list[str]:
    """A small file system over a folder with the folder's own content; what the run leaves there is put back."""
    script = (
        'kept=$(mktemp -d) && mount --bind "$0" "$kept" && mount -t tmpfs -o "$1" tmpfs "$0" && '
        'cp -a "$kept/." "$0" && shift && { "$@"; code=$?; '
        'find "$kept" -mindepth 1 -delete; cp -a "$0/." "$kept/"; umount "$kept"; rmdir "$kept"; exit $code; }'
    )
    return ["unshare", "-m", "sh", "-c", script, str(folder), options]


@as_root
@pytest.mark.parametrize("where", ["lake", "warehouse", ".data"])
def test_a_full_disk(shop: SmallProject, where: str) -> None:
    """R01: the lake's, the warehouse's and the data folder's disk, each alone."""
    folder = shop.folder / where
    if where == ".data":
        for extension in (folder / "duckdb").rglob("*.duckdb_extension"):
            extension.unlink()  # 70 MB that a small disk has no room for: that is the fault here
    ended = shop.engine("run", "daily", wrap=mounted("size=1500k", folder))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "space") == []
    whole(shop)


@as_root
def test_a_full_disk_under_a_duckdb_file(shop: SmallProject) -> None:
    """R01, for the other embedded warehouse: what is left of its file opens, and takes the load once there is room."""
    one = shop.folder / "one"
    yaml = SMALL.replace("type: ducklake, path: warehouse", "type: duckdb, path: one/one.duckdb")
    shop.write(yaml)
    new = shop.folder / "in" / "orders2.jsonl"
    new.rename(shop.folder / "orders2.jsonl")
    assert shop.run().failures == []
    (shop.folder / "orders2.jsonl").rename(new)
    used = sum(path.stat().st_size for path in one.rglob("*") if path.is_file())
    ended = shop.engine("run", "daily", wrap=mounted(f"size={(used >> 10) + 1000}k", one))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "space") == []
    whole(shop)


@as_root
def test_no_inodes(shop: SmallProject) -> None:
    """R02: space is free, inodes are not."""
    used = sum(1 for _ in shop.lake.rglob("*")) + 1
    ended = shop.engine("run", "daily", wrap=mounted(f"size=64m,nr_inodes={used + 2}", shop.lake))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "inode", "lake") == []
    whole(shop)


def test_a_limit_of_the_file_size(shop: SmallProject) -> None:
    """R03: no file may grow beyond 1 MB."""
    ended = shop.engine("run", "daily", wrap=["prlimit", f"--fsize={1 << 20}", "--"])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "limit") == []
    whole(shop)


def test_few_file_descriptors(shop: SmallProject) -> None:
    """R04: with forty a run works; with nine it says that there are too few."""
    for most in (9, 40):
        ended = shop.engine("run", "daily", wrap=["prlimit", f"--nofile={most}", "--"])
        assert ended.returncode == (1 if most == 9 else 0), ended.stdout + ended.stderr
        if ended.returncode:
            assert clear(ended.stdout + ended.stderr, "open files") == []
    whole(shop)


ONE_BIG = {"a row of 80 MB": 80, "a field of 40 MB": 40}


@pytest.mark.parametrize("what", ONE_BIG)
def test_a_huge_row(tmp_path: Path, what: str) -> None:
    """R06: within the limit of an answer it lands or is set aside, beyond it the source fails; memory is bounded."""
    size = ONE_BIG[what] * 1_000_000
    with FakeApi(tmp_path / "ledger.jsonl", lambda _: Reply(body=[{"id": 1, "name": "x" * size}])) as api:
        made = RestProject(tmp_path / "project", api.url, {"columns": {"id": {"type": "bigint"}}}, load=["warehouse"])
        ended = SmallProject(made.folder).engine("run", "pull", wrap=[sys.executable, "-c", PEAK])
        assert api.asked
        assert int(ended.stderr.rsplit("peak kB ", 1)[1]) < 2 << 20
        if size > 64 << 20:
            assert ended.returncode == 1
            assert clear(ended.stdout, "more than 64 MiB") == []
        else:
            assert ended.returncode == 0, ended.stderr
            landed = made.ask("select count(*) as n from landing.raw_rows")[0]["n"]
            aside = made.ask("select count(*) as n from landing._quarantine")[0]["n"]
            assert landed + aside == 1


PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak kB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@as_root
@pytest.mark.parametrize("how", ["full", "read-only", "missing"])
def test_the_temp_folder(shop: SmallProject, how: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """R10: a temp folder that is full, read-only or not there: the run needs none, or says so."""
    folder = tmp_path_factory.mktemp("temporary")
    wrap = {
        "full": ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4k tmpfs "$0"; exec "$@"', str(folder)],
        "read-only": ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$0"; exec "$@"', str(folder)],
        "missing": ["env"],
    }[how]
    place = folder / "no" if how == "missing" else folder
    ended = shop.engine("run", "daily", wrap=wrap, env={"TMPDIR": str(place)})
    if ended.returncode:
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert clear(ended.stdout + ended.stderr, "tmp") == []
    whole(shop)


HOLDER = """
import sys, duckdb
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_duckdb_file_held_by_another_program(tmp_path: Path) -> None:
    """D16: named, nothing lost, and loaded by the next run."""
    shop = SmallProject(tmp_path)
    shop.write(SMALL.replace("type: ducklake, path: warehouse", "type: duckdb, path: warehouse/one.duckdb"))
    shop.orders(1)
    assert shop.run().failures == []
    files = list(shop.warehouse.rglob("*.duckdb"))
    assert files
    shop.orders(2)
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for file in files
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
        ended = engine("run", "daily", "--file", str(shop.folder / "pipelines.yaml"))
        assert ended.code == 1, ended.text
        assert clear(ended.text, "duckdb", "lock") == []
    finally:
        for holder in holders:
            holder.communicate()
    assert shop.run().failures == []
    assert shop.ids() == [10, 11, 12, 20, 21, 22]


def test_many_runs_in_one_process(shop: SmallProject) -> None:
    """R11, the short one: twenty runs neither keep files open nor memory, nor does the state grow with them."""
    for _ in range(5):
        assert shop.run().failures == []
    before = len(list(Path("/proc/self/fd").iterdir()))
    state = sum(path.stat().st_size for path in (shop.data / "state").rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        assert shop.run().failures == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 << 10
    after = sum(path.stat().st_size for path in (shop.data / "state").rglob("*") if path.is_file())
    assert after - state < 512 << 10
