"""Scrubbing with more tables than one call can look at."""

from __future__ import annotations

from engine.config.models import FilesystemLake
from engine.lake.lake import open_lake
from tests.unit.lake.landing import land

TABLES = [f"raw_t{number}" for number in range(6)]


def test_no_package_waits_for_ever_behind_the_newest_ones(tmp_path):
    settings = FilesystemLake(type="filesystem", path="lake")
    lake = open_lake(settings, tmp_path, tmp_path / "cache")
    for table in TABLES:
        land(lake, "src", 4, table)
    seen = set()
    for _ in range(20):  # 24 packages, four a call, half of them newest ones
        seen |= {(entry.table, entry.seq) for entry in lake.scrub(4).sound}
    assert seen == {(table, seq) for table in TABLES for seq in range(1, 5)}
