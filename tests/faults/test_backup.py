"""Restore from backup: group B, and `engine backup` and `engine restore` as a person uses them."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.lake.lake import open_lake
from engine.ledger import Ledger
from tests.faults.many_packages import fill_lake
from tests.faults.small_project import SmallProject, clear, small_project

pytestmark = [pytest.mark.faults]
THREE = range(3)


def ids_of(*numbers: int) -> list[int]:
    return [number * 10 + i for number in numbers for i in THREE]


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    return small_project(tmp_path / "shop")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir(exist_ok=True)


def gone(shop: SmallProject) -> None:
    """Everything that was landed, loaded or remembered."""
    for folder in (shop.lake, shop.warehouse, shop.data):
        shutil.rmtree(folder)


def test_the_whole_machine_is_lost(shop: SmallProject, tmp_path: Path) -> None:
    """B05 with `engine backup`: two commands, and the machine goes on where the backup ended."""
    backup = tmp_path / "backup"
    for number in (1, 2):
        shop.orders(number)
        assert shop.run().failures == []
        if number == 2:  # another machine's, say, or one that the backup was made beside
            Ledger(shop.data).start("20260101T000000-ffff", "daily", datetime.now(UTC))
        done = shop.engine("backup", str(backup))
        assert done.returncode == 0, done.stderr
        assert ("3 packages new" if number == 1 else "1 package new") in done.stdout  # assets and notes come once
    gone(shop)
    started = time.monotonic()
    restored = shop.engine("restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert "4 packages put back" in restored.stdout
    assert "runs.sqlite" in restored.stdout
    standing = shop.engine("status").stdout
    assert "stopped" in standing
    assert "died" not in standing
    assert "how it ended is not in the backup" in standing
    shop.orders(3)
    again = shop.engine("run", "daily")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - started < 60
    assert shop.ids() == ids_of(1, 2, 3)
    assert shop.cursor() == (3, 3, 3)


def test_packages_missing_in_the_middle_of_many(shop: SmallProject, tmp_path: Path) -> None:
    """B07: 3 of 900 are missing. All are named, nothing is loaded over them, `engine restore` puts them back."""
    shop.orders(1)
    assert shop.run("land").failures == []
    fill_lake(shop.lake, "shop", "raw_orders", 900)
    backup = tmp_path / "backup"
    done = shop.engine("backup", str(backup))
    assert done.returncode == 0, done.stderr
    lost = [shop.packages()[at] for at in (440, 441, 700)]
    before = {package: sorted(path.name for path in package.iterdir()) for package in lost}
    for package in lost:
        shutil.rmtree(package)

    failed = shop.engine("run", "daily")
    assert failed.returncode == 1
    assert clear(failed.stderr + failed.stdout, lost[0].name, "missing", "restore") == []
    doctor = shop.engine("doctor")
    assert [package.name for package in lost if package.name not in doctor.stdout] == []
    entries = [json.loads(path.read_text()) for path in (shop.lake / "_log" / "raw_orders").iterdir()]
    first = min(entry["seq"] for entry in entries if entry["load_id"] in {package.name for package in lost})
    cursor, noted, _ = shop.cursor()
    assert cursor == noted == first - 1

    restored = shop.engine("restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert "3 packages put back" in restored.stdout
    assert "3 of them damaged before" in restored.stdout
    assert {package: sorted(path.name for path in package.iterdir()) for package in lost} == before
    assert shop.run().failures == []
    assert shop.cursor()[:2] == (900, 900)


def test_a_backup_beside_runs(shop: SmallProject, tmp_path: Path) -> None:
    """B06: runs land and load all the while; whatever moment each part is of, the restored project becomes whole."""
    shop.orders(1)
    assert shop.run().failures == []
    backup = tmp_path / "backup"
    ended = threading.Event()
    runs = 0

    def run_on() -> None:
        nonlocal runs
        while not ended.is_set():
            runs += 1
            shop.orders(runs + 1)
            assert shop.run().failures == []

    runner = threading.Thread(target=run_on)
    runner.start()
    taken = []
    try:
        for _ in range(4):
            done = shop.engine("backup", str(backup))
            assert done.returncode == 0, done.stderr
            taken.append(runs)
    finally:
        ended.set()
        runner.join()
    assert taken[0] < taken[-1], "no run landed meanwhile"
    everything = shop.ids()
    gone(shop)
    assert shop.engine("restore", str(backup)).returncode == 0
    report = shop.run()  # files that the backup did not see are delivered again
    assert report.failures == []
    assert shop.ids() == everything


def test_parts_of_different_moments(shop: SmallProject, tmp_path: Path) -> None:
    """B06 by hand: state of Monday, lake of Tuesday, warehouse of Wednesday. Told, and mended by `engine replay`."""
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, part in enumerate((shop.data, shop.lake, shop.warehouse), 1):
        shop.orders(number)
        assert shop.run().failures == []
        subprocess.run(["cp", "-a", str(part), str(parts / part.name)], check=True)
    gone(shop)
    for part in (shop.data, shop.lake, shop.warehouse):
        (parts / part.name).rename(part)

    refused = shop.engine("run", "daily")
    assert refused.returncode == 1
    assert clear(refused.stdout + refused.stderr, "warehouse", "replay") == []
    replayed = shop.engine("replay")
    assert replayed.returncode == 0, replayed.stderr
    assert shop.run().failures == []
    assert shop.ids() == ids_of(1, 2, 3)
    assert shop.cursor() == (3, 3, 3)


def test_a_backup_of_a_damaged_lake_says_so_and_keeps_the_rest(shop: SmallProject, tmp_path: Path) -> None:
    shop.orders(1)
    shop.deliver("notes1", [{"id": 1, "note": "first"}])
    assert shop.run("land").failures == []
    (package,) = shop.packages()
    (package / "part-00000.parquet").unlink()
    done = shop.engine("backup", str(tmp_path / "backup"))
    assert done.returncode == 1
    assert clear(done.stderr, package.name, "missing", "restore") == []
    with open_lake(
        shop.project().profile.lake.model_copy(update={"path": "lake"}), tmp_path / "backup", tmp_path
    ) as lake:
        assert lake.tables() == ["raw_assets", "raw_notes"]
        assert lake.verify() == []


@pytest.mark.parametrize("where", [".", "lake", "lake/inside", ".data"])
def test_a_backup_inside_of_what_it_keeps_is_refused(shop: SmallProject, where: str) -> None:
    shop.orders(1)
    assert shop.run("land").failures == []
    done = shop.engine("backup", where)
    assert done.returncode == 2
    assert clear(done.stderr, "name a folder of its own") == []


def test_a_folder_without_a_backup_is_refused(shop: SmallProject, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = shop.engine("restore", str(tmp_path / "empty"))
    assert done.returncode == 2
    assert clear(done.stderr, "no finished backup", "engine backup") == []
