"""Files of sound packages put back under their names in the warehouse, at a cost that does not grow with its size."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from destinations import links
from destinations.ducklake import DucklakeWarehouse
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows

REASON: dict[str, object] = {
    "table_name": "raw_prices",
    "column_name": "price",
    "reason": "not a number",
    "value": "n/a",
    "row": "{}",
}


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


def linked(folder: Path, lake: FolderLake) -> list[Path]:
    """Link every landed file as a load does."""
    targets = []
    for packages in lake.packages.values():
        for package in packages:
            for file, path in zip(package.manifest.files, package.local_files, strict=True):
                table = "_quarantine" if file.quarantine else package.entry.table
                targets.append(folder / table / f"{package.entry.load_id}.0a1b2c3d.{file.name}")
                targets[-1].parent.mkdir(parents=True, exist_ok=True)
                os.link(path, targets[-1])
    return targets


def test_only_files_that_differ_are_put_back(tmp_path: Path, lake: FolderLake) -> None:
    packages = [lake.land(price_rows(start, 2), quarantined=[REASON]) for start in range(0, 6, 2)]
    targets = linked(tmp_path / "landing", lake)
    contents = {target: target.read_bytes() for target in targets}
    assert links.put_back(tmp_path / "landing", packages) == 0
    for target in targets[1:3]:  # a quarantine file of the first package, the rows of the second
        target.unlink()
        target.write_bytes(b"damaged")
    assert links.put_back(tmp_path / "landing", packages[2:]) == 0
    assert links.put_back(tmp_path / "landing", packages) == 2
    assert {target: target.read_bytes() for target in targets} == contents
    assert sorted(path for path in (tmp_path / "landing").rglob("*") if path.is_file()) == sorted(targets)


def test_a_link_of_another_package_costs_the_same_however_many_packages_are_sound(
    tmp_path: Path, lake: FolderLake
) -> None:
    """Counted in calls, not in seconds: with 400 other links, 20 sound packages may not look at each 20 times."""
    packages = [lake.land(price_rows(start, 1)) for start in range(20)]
    [first, *_] = linked(tmp_path / "landing", lake)
    for number in range(400):
        os.link(first, first.with_name(f"other-{number:06}.0a1b2c3d.part-00000.parquet"))
    calls = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        assert links.put_back(tmp_path / "landing", packages) == 0
    finally:
        sys.setprofile(None)
    assert calls < 10 * 400


def test_a_load_that_committed_asks_the_catalog_nothing_about_its_links(
    tmp_path: Path, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DucklakeWarehouse("warehouse", tmp_path / "warehouse", tmp_path / "data") as opened:
        opened.ensure([PRICES])
        swept: list[bool] = []
        monkeypatch.setattr(opened, "_sweep", lambda: swept.append(True))
        opened.load("raw_prices", [lake.land(price_rows(0, 3))])
        assert swept == []
        assert not (opened.path / "loading.json").exists()
        assert opened._writer.execute("select count(*) from landing.raw_prices").fetchall() == [(3,)]
