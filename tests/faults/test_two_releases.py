"""U04: workers of two releases on one project at the same time. Nothing is lost or doubled.

While both write one format both work. Once a later one has written, the earlier one is refused: a clear line a table.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.lake.codec import VERSION
from tests.faults.model_project import ROOT, YAML, ModelProject
from tests.faults.old_release import LAND
from tests.faults.small_project import clear, small_project

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
CODEC = Path("engine/lake/codec.py")
NEWER = VERSION + 1
COMMAND = "from engine.cli import main; main()"
SECONDS = 60.0
REFUSED = f"was written by a newer Tickhouse (version {NEWER} of its format; this one reads {VERSION})"


@dataclass(frozen=True)
class Ran:
    """One run of a release; times as of time.time()."""

    release: str
    began: float
    ended: float
    code: int
    text: str


@dataclass(frozen=True)
class Release:
    """The folder of a release's code."""

    name: str
    folder: Path

    def engine(self, project: Path, *words: str) -> Ran:
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *words],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        return Ran(self.name, began, time.time(), done.returncode, done.stdout + done.stderr)


def later_release(folder: Path, written: int) -> Release:
    """Copy today's code as the next release, which writes this version of the lake's format and reads all before."""
    for package in ("engine", "sources", "destinations"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    about = folder / "tickhouse-99.1.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: tickhouse\nVersion: 99.1.0\n")
    text = (folder / CODEC).read_text()
    for old, new in (
        (f"\nVERSION = {VERSION}\n", f"\nVERSION = {written}\n"),
        ("VERSION) != VERSION:", f"VERSION) not in range({VERSION}, {written + 1}):"),
    ):
        assert text.count(old) == 1, f"{CODEC} has changed: say anew what a later format is"
        text = text.replace(old, new)
    (folder / CODEC).write_text(text)
    later = Release("later", folder)
    assert "99.1.0" in later.engine(folder, "--version").text
    return later


EARLIER = Release("earlier", ROOT)


def side_by_side(
    releases: tuple[Release, Release], project: Path, deliver: Callable[[], None], rounds: int, seconds: float
) -> list[Ran]:
    """Let both run again and again, each a pipeline drawn by lot, with a file delivered before every run."""
    delivering = threading.Lock()
    until = time.monotonic() + seconds

    def work(release: Release) -> list[Ran]:
        draw = random.Random(release.name)
        ran: list[Ran] = []
        while len(ran) < rounds or time.monotonic() < until:
            with delivering:
                deliver()
            ran.append(release.engine(project, "run", draw.choice(["daily", "land"]), "--wait", "120"))
        return ran

    with ThreadPoolExecutor(len(releases)) as threads:
        return [ran for both in threads.map(work, releases) for ran in both]


def unclear(ran: list[Ran], lake: Path, written: int) -> list[str]:
    """Runs that failed otherwise than refused, in one clear line a table, or that should have been and were not."""
    first = [p.stat().st_mtime for p in lake.glob("_log/*/*.json") if f'"version":{written}' in spelled(p)]
    wrong = []
    for one in ran:
        refusals = [line for line in one.text.splitlines() if line.startswith("FAILED")]
        refused = refusals and all(REFUSED in line and "Update Tickhouse" in line for line in refusals)
        if one.code and (one.release == "later" or not refused or clear(one.text)):
            wrong.append(f"{one.release} ended with {one.code}: {one.text[-1500:]}")
        elif not one.code and written != VERSION and one.release == "earlier" and first and one.began > min(first):
            wrong.append(f"an earlier release was not refused {one.began - min(first):.1f} s after a later one wrote")
    return wrong


def spelled(entry: Path) -> str:
    return re.sub(r"\s", "", entry.read_text(encoding="utf-8"))


def test_a_later_release_at_once(tmp_path: Path) -> None:
    """Two runs of each, without models, and a last one."""
    (tmp_path / "shop").mkdir()
    shop = small_project(tmp_path / "shop")
    later = later_release(tmp_path / "later", NEWER)
    delivered: list[int] = []

    def deliver() -> None:
        delivered.append(len(delivered) + 1)
        shop.orders(delivered[-1])

    ran = side_by_side((EARLIER, later), shop.folder, deliver, rounds=2, seconds=0)
    assert unclear(ran, shop.lake, NEWER) == []
    after = EARLIER.engine(shop.folder, "run", "daily")
    assert after.code == 1
    assert unclear([after], shop.lake, NEWER) == []
    done = later.engine(shop.folder, "run", "daily")
    assert done.code == 0, done.text
    assert shop.ids() == sorted(number * 10 + i for number in delivered for i in range(3))


@pytest.mark.chaos
@pytest.mark.parametrize("written", [VERSION, NEWER], ids=["same format", "newer format"])
def test_two_releases_at_once_for_a_minute(tmp_path: Path, written: int) -> None:
    """With models: every price is there once, and the marts are those of a rebuild."""
    project = ModelProject.made(tmp_path / "project")
    (project.folder / "pipelines.yaml").write_text(YAML + LAND)
    later = later_release(tmp_path / "later", written)
    delivered: list[str] = []

    def deliver() -> None:
        number = len(delivered)
        at = f"2026-05-01T{number // 60:02d}:{number % 60:02d}:00+00:00"
        project.price(str(number), str(number + 1), at)
        delivered.append(at)

    ran = side_by_side((EARLIER, later), project.folder, deliver, rounds=3, seconds=SECONDS)
    assert unclear(ran, project.folder / "lake", written) == []
    refusals = [one for one in ran if one.code]
    assert bool(refusals) == (written != VERSION)
    done = later.engine(project.folder, "run", "daily")
    assert done.code == 0, done.text
    assert project.prices() == [("BTC", str(number + 1), at) for number, at in enumerate(delivered)]
    if written == VERSION:
        assert project.rebuilds_equal(tmp_path / "fresh") == []
