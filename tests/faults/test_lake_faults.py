"""Lake faults: each case of group L that concerns the engine, and what is left when only the lake is.

Every test names its case, breaks the lake itself, asserts that it is broken, and looks at what a person is told, at
what the warehouse holds, and at the run after the damage is mended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.doctor import examine
from engine.errors import TickhouseError
from engine.report import RunReport
from tests.faults.many_packages import fill_lake
from tests.faults.small_project import ENGINE, SmallProject, clear, small_project

pytestmark = pytest.mark.faults
PART = "part-00000.parquet"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of one's own needs root")


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    return small_project(tmp_path)


@pytest.fixture(scope="session")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three packages of orders and one of notes, loaded: to be copied, not changed."""
    shop = small_project(tmp_path_factory.mktemp("loaded"))
    for number in (1, 2, 3):
        shop.orders(number)
        shop.deliver("notes1", [{"id": 1, "note": "first"}])
        assert shop.run().failures == []
    return shop.folder


@pytest.fixture
def loaded(loaded_once: Path, tmp_path: Path) -> SmallProject:
    """A copy in which the warehouse's files are the lake's own, as in a project of one disk."""
    subprocess.run(["cp", "-a", f"{loaded_once}/.", str(tmp_path)], check=True)  # -a keeps hard links
    shop = SmallProject(tmp_path)
    for package in shop.packages():
        assert (package / PART).stat().st_nlink == 2
    return shop


def truncated(keep: Callable[[int], int]) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        os.truncate(file, keep(file.stat().st_size))

    return damage


def one_byte_more_at_the_same_time(file: Path) -> None:
    """Somebody writes to a published file and puts its time back."""
    before = file.stat()
    with file.open("ab") as opened:
        opened.write(b"x")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def one_bit_flipped_at_the_same_time(file: Path) -> None:
    """The size stays too."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(before.st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


DAMAGES = [
    pytest.param(truncated(lambda size: size - 8), "truncated", id="L01-8-bytes"),
    pytest.param(truncated(lambda size: size // 2), "truncated", id="L01-half"),
    pytest.param(truncated(lambda _: 0), "truncated", id="L01-empty"),
    pytest.param(Path.unlink, "missing", id="L03-missing"),
    pytest.param(one_byte_more_at_the_same_time, "changed", id="L08-longer"),
    pytest.param(one_bit_flipped_at_the_same_time, "changed", id="L08-bit"),
]


def fails_for(report: RunReport, load_id: str, why: str) -> None:
    """The run has exactly one line of failure, about this package."""
    assert len(report.failures) == 1, report.failures
    assert clear(report.failures[0], load_id, why, "raw_orders", "restore", "backup") == []
    assert "\n" not in report.failures[0]
    assert report.status == "partial"


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_damage_before_the_load(shop: SmallProject, damage: Callable[[Path], None], why: str) -> None:
    """Nothing of the package is loaded, nor what stands behind it; other tables go on; after the restore all is."""
    for number in (1, 2):
        shop.orders(number)
        assert shop.run("land").failures == []
    package = shop.packages()[0]
    whole = (package / PART).read_bytes()
    damage(package / PART)
    shop.deliver("notes1", [{"id": 7, "note": "n"}])

    fails_for(shop.run(), package.name, why)
    assert shop.ids() == []
    assert shop.ids("raw_notes") == [7]
    assert shop.cursor() == (0, 0, 0)

    restore(package / PART, whole)
    assert shop.run().failures == []
    assert shop.ids() == [10, 11, 12, 20, 21, 22]
    assert shop.cursor() == (2, 2, 2)


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_damage_after_the_load(loaded: SmallProject, damage: Callable[[Path], None], why: str) -> None:
    """Said at every run until the package is restored; new rows come in meanwhile; then the warehouse is whole too."""
    package = loaded.packages()[1]
    whole = (package / PART).read_bytes()
    damage(package / PART)

    loaded.orders(4)
    report = loaded.run()
    fails_for(report, package.name, why)
    assert report.destinations[0].rows == 3
    fails_for(loaded.run(), package.name, why)
    wrong = [finding for finding in examine(loaded.project()) if not finding.ok and finding.what != "space"]
    assert [finding.what for finding in wrong] == ["lake"]
    assert clear(f"{wrong[0].detail} {wrong[0].remedy}", package.name, why, "restore") == []

    restore(package / PART, whole)
    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3, 4) for i in range(3)]
    assert loaded.cursor() == (4, 4, 4)
    assert all(finding.ok or finding.what == "space" for finding in examine(loaded.project()))


def restore(file: Path, whole: bytes) -> None:
    """As a backup does: another file under the old name."""
    file.unlink(missing_ok=True)
    file.write_bytes(whole)


def test_a_query_on_a_damaged_file_says_so(loaded: SmallProject) -> None:
    """L01, the reader's side: DuckDB's words, and where to look."""
    os.truncate(loaded.packages()[0] / PART, 100)
    with pytest.raises(TickhouseError) as caught:
        loaded.rows("select sum(price) from landing.raw_orders")
    assert clear(str(caught.value), "engine doctor") == []


def test_a_manifest_that_was_changed(loaded: SmallProject) -> None:
    """L08: the checksum in the log covers the manifest."""
    manifest = loaded.packages()[0] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows":3', '"rows":4').replace('"rows": 3', '"rows": 4'))
    report = loaded.run()
    assert len(report.failures) == 1
    assert clear(report.failures[0], loaded.packages()[0].name, "manifest.json was changed", "restore") == []


def test_stray_files_in_a_package(shop: SmallProject) -> None:
    """L04: what the manifest does not name is neither loaded nor an error, and it stays where it is."""
    shop.orders(1)
    shop.orders(2)
    shop.run("land")
    package = shop.packages()[0]
    shutil.copy(package / PART, package / "part-00001.parquet")
    for name in ("part-00000.parquet.tmp", f".{PART}.crc", f"{PART}~", "quarantine-00000.parquet"):
        (package / name).write_bytes(b"stray")
    assert shop.run().failures == []
    assert shop.ids() == [10, 11, 12, 20, 21, 22]
    assert all(finding.ok or finding.what == "space" for finding in examine(shop.project()))
    assert len(list(package.iterdir())) == 7


def test_packages_of_one_instant_and_an_empty_one(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """L05: a frozen clock names packages apart, and a package without rows moves the cursor like any other."""
    from datetime import UTC, datetime

    from engine import extract

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
            return datetime(2026, 5, 1, tzinfo=UTC)

    monkeypatch.setattr(extract, "datetime", Frozen)
    shop.orders(1)
    assert shop.run().failures == []
    shop.deliver("orders2", [])
    assert shop.run().failures == []
    shop.orders(3)
    assert shop.run().failures == []
    names = [package.name for package in shop.packages()]
    assert len({name.partition("-")[0] for name in names}) == 1  # one instant
    assert len(set(names)) == 3
    assert shop.ids() == [10, 11, 12, 30, 31, 32]
    cursor, arrived, with_rows = shop.cursor()
    assert (cursor, arrived, with_rows) == (3, 3, 2)
    assert len(shop.rows("select distinct arrived_at from landing._packages where table_name = 'raw_orders'")) == 3


IN_MID_RUN = """
import subprocess, sys
from pathlib import Path
from engine import extract
from engine.cli import main

take, lake, real = sys.argv.pop(1), sys.argv.pop(1), extract.extract
def break_then_extract(*words):
    report = real(*words)
    if report.resource == "raw_orders":
        subprocess.run(take, shell=True, check=True)
        Path("fired").touch()
    return report
extract.extract = break_then_extract
import engine.run
engine.run.extract = break_then_extract
main()
"""
TAKE_AWAY = {
    "read-only": "mount --bind {lake} {lake} && mount -o remount,ro,bind {lake}",
    "hidden": "mount -t tmpfs -o size=1m tmpfs {lake}",
}


@as_root
@pytest.mark.parametrize("how", TAKE_AWAY)
def test_the_lake_goes_away_in_mid_run(loaded: SmallProject, how: str) -> None:
    """L06: read-only, or an empty folder in its place, after the first resource of the run was extracted."""
    loaded.orders(4)
    loaded.deliver("notes2", [{"id": 2, "note": "second"}])
    script = loaded.folder / "mid_run.py"
    script.write_text(IN_MID_RUN)
    take = TAKE_AWAY[how].format(lake=loaded.lake)
    python = str(Path(ENGINE).with_name("python"))
    ended = subprocess.run(
        ["unshare", "-m", python, str(script), take, str(loaded.lake), "run", "daily"],
        cwd=loaded.folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (loaded.folder / "fired").exists()
    assert ended.returncode == 1, ended.stdout + ended.stderr
    says = "read-only" if how == "read-only" else "the lake only"
    assert clear(ended.stdout + ended.stderr, "lake", says, "raw_orders") == []
    assert loaded.ids()[:9] == [n * 10 + i for n in (1, 2, 3) for i in range(3)]

    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3, 4) for i in range(3)]
    assert loaded.ids("raw_notes") == [1, 2]


@as_root
def test_the_lake_is_not_mounted_at_all(loaded: SmallProject) -> None:
    """L06: an empty folder where the lake was must not start a second lake under the warehouse's feet."""
    before = loaded.ids()
    loaded.orders(4)
    ended = loaded.engine(
        "run", "daily", wrap=["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', str(loaded.lake)]
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout + ended.stderr, "lake", "raw_orders") == []
    assert loaded.ids() == before
    assert loaded.run().failures == []
    assert loaded.ids() == [*before, 40, 41, 42]


def test_the_lake_moves(loaded: SmallProject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """L10: copied elsewhere with new times, the configuration edited: nothing is loaded or landed again."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
    subprocess.run(["cp", "-r", "--no-preserve=all", str(loaded.lake), str(elsewhere)], check=True)
    shutil.rmtree(loaded.lake)
    yaml = loaded.folder / "pipelines.yaml"
    yaml.write_text(yaml.read_text().replace("path: lake}", f"path: {elsewhere}}}"))
    before = loaded.ids()

    report = loaded.run()
    assert report.failures == []
    assert report.destinations[0].packages == 0
    assert [each.status for each in report.resources] == ["unchanged"] * 3
    assert loaded.ids() == before
    loaded.orders(4)
    assert loaded.run().failures == []
    assert loaded.ids() == [*before, 40, 41, 42]


def test_another_lake(loaded: SmallProject) -> None:
    """L10, the other way round: a lake with a longer log of its own is refused, not loaded behind the old cursor."""
    real = loaded.lake.rename(loaded.folder / "real")
    shutil.rmtree(loaded.data)
    for number in (5, 6, 7, 8):
        loaded.orders(number)
        loaded.run("land")
    assert len(loaded.packages()) == 4
    report = loaded.run()
    assert report.status == "partial"
    assert [clear(line, "another lake", "replay") for line in report.failures] == [[]]
    [found] = [each for each in examine(loaded.project()) if each.what == "destination warehouse: lake"]
    assert not found.ok
    assert f"{found.detail} — {found.remedy}" in report.failures
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3) for i in range(3)]

    shutil.rmtree(loaded.lake)
    real.rename(loaded.lake)
    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3, 5, 6, 7, 8) for i in range(3)]


@pytest.mark.parametrize("lost", ["data", "warehouse", "both"])
def test_everything_but_the_lake_is_lost(loaded: SmallProject, lost: str) -> None:
    """B04, B05, D08: the working folder, the warehouse, or both are gone; one ordinary run and all is there again."""
    before = loaded.ids()
    for folder in {"data": [loaded.data], "warehouse": [loaded.warehouse]}.get(lost, [loaded.data, loaded.warehouse]):
        shutil.rmtree(folder)
    loaded.orders(4)
    started = time.monotonic()
    report = loaded.run()
    assert report.failures == []
    assert time.monotonic() - started < 60
    assert report.destinations[0].rows == (3 if lost == "data" else 13)
    assert loaded.ids() == [*before, 40, 41, 42]
    assert loaded.ids("raw_notes") == [1]
    assert loaded.cursor() == (4, 4, 4)


def test_an_older_warehouse_comes_back(loaded: SmallProject) -> None:
    """D08, B01: the warehouse of yesterday catches up by itself."""
    yesterday = loaded.folder / "yesterday"
    subprocess.run(["cp", "-a", str(loaded.warehouse), str(yesterday)], check=True)
    loaded.orders(4)
    assert loaded.run().failures == []
    shutil.rmtree(loaded.warehouse)
    yesterday.rename(loaded.warehouse)
    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3, 4) for i in range(3)]
    assert loaded.cursor() == (4, 4, 4)


def test_a_half_restored_lake(loaded: SmallProject) -> None:
    """B07: packages missing in the middle are named, all of them; nothing is loaded over them."""
    gone = loaded.packages()[0:2]
    kept = loaded.folder / "kept"
    kept.mkdir()
    for package in gone:
        shutil.move(package, kept / package.name)
    report = loaded.run()
    assert len(report.failures) == 2
    for package, line in zip(gone, sorted(report.failures), strict=True):
        assert clear(line, package.name, "missing", "restore") == []
    assert loaded.cursor() == (3, 3, 3)

    shutil.rmtree(loaded.warehouse)  # a warehouse that has to be filled anew stops before the hole
    report = loaded.run()
    assert report.status == "partial"
    assert all(package.name in " ".join(report.failures) for package in gone)
    assert loaded.ids() == []
    assert loaded.ids("raw_notes") == [1]
    for package in gone:
        shutil.move(kept / package.name, package)
    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3) for i in range(3)]


def test_a_hole_in_the_log(loaded: SmallProject) -> None:
    """B07, the log's side: an entry is gone although later ones exist."""
    shutil.rmtree(loaded.warehouse)
    entry = loaded.lake / "_log" / "raw_orders" / f"{2:020d}.json"
    whole = entry.read_bytes()
    entry.unlink()
    report = loaded.run()
    assert report.status == "partial"
    assert all(clear(line, "entry 2", "raw_orders", "restore") == [] for line in report.failures), report.failures
    assert report.failures
    assert loaded.ids() in ([], [10, 11, 12])
    entry.write_bytes(whole)
    assert loaded.run().failures == []
    assert loaded.ids() == [n * 10 + i for n in (1, 2, 3) for i in range(3)]


def many(shop: SmallProject, packages: int, seconds: float) -> None:
    """Fill the lake, load it all, then measure a run with nothing new and one with one new file."""
    shop.orders(1)
    assert shop.run("land").failures == []
    fill_lake(shop.lake, "shop", "raw_orders", packages)
    assert shop.engine("run", "daily", seconds=3000).returncode == 0
    assert shop.cursor()[0] == packages
    started = time.monotonic()
    idle = shop.engine("run", "daily", wrap=["/usr/bin/env", "python3", "-c", PEAK], seconds=300)
    took = time.monotonic() - started
    assert idle.returncode == 0, idle.stdout + idle.stderr
    assert "unchanged" in idle.stdout
    assert int(idle.stderr.rsplit("peak kB ", 1)[1]) < 1 << 20
    assert took < seconds
    print(f"{packages:,} packages: idle run {took:.1f} s, {idle.stderr.rsplit(chr(10), 2)[-2]}")  # noqa: T201
    shop.orders(2)
    assert shop.run().failures == []
    assert shop.cursor()[0] == packages + 1


PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak kB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def test_five_thousand_packages(shop: SmallProject) -> None:
    """L09, the short one."""
    many(shop, 5_000, seconds=20)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_packages(shop: SmallProject) -> None:
    """L09."""
    many(shop, 100_000, seconds=60)
