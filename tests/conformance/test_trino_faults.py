"""Trino's own faults: a compaction beside loads, two commits at one moment, a catalog whose last commits are gone."""

from __future__ import annotations

import threading

import pytest

from engine.errors import DestinationError
from engine.load import catch_up
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.targets import Target
from tests.servers.trino_server import GROUP, TrinoServer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.xdist_group(GROUP),
    pytest.mark.parametrize("target", ["trino"], indirect=True),
]


def test_a_compaction_beside_loads(target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """D13: Iceberg refuses the later of two commits that touch the same files; loads lose nothing by it."""
    monkeypatch.setattr("engine.load.BATCH_PACKAGES", 1)
    with target.opened() as opened:
        opened.ensure([PRICES])
        opened.load("raw_prices", six_packages.packages["raw_prices"][:2])
    compacted, refused, done = [], [], threading.Event()

    def compact() -> None:
        while not done.is_set():
            for table in ("raw_prices", "_packages"):
                try:
                    target.ask(f"ALTER TABLE landing.{table} EXECUTE optimize(file_size_threshold => '16MB')")
                    compacted.append(table)
                except DestinationError as error:
                    refused.append(error.line)

    compacting = threading.Thread(target=compact)
    compacting.start()
    with target.opened() as opened:
        report = catch_up(opened, six_packages, [PRICES])
    done.set()
    compacting.join()
    assert compacted, refused
    assert all("run again" in line.lower() for line in report.errors)
    target.recovers(six_packages)


def test_the_last_commits_of_the_catalog_are_gone(target: Target, trino: TrinoServer, six_packages: FolderLake) -> None:
    """D19: the catalog's database is a replica that was promoted too early; the next run brings what it lacks."""
    whole = six_packages.packages["raw_prices"]
    six_packages.packages["raw_prices"] = whole[:3]
    assert target.run(six_packages).errors == []
    trino.postgres.execute("CREATE TABLE kept AS SELECT * FROM iceberg_tables", "catalog")
    six_packages.packages["raw_prices"] = whole
    assert target.run(six_packages).packages == 3
    trino.postgres.execute("DELETE FROM iceberg_tables; INSERT INTO iceberg_tables SELECT * FROM kept", "catalog")
    trino.postgres.execute("DROP TABLE kept", "catalog")
    assert target.ask("select count(*) from landing._packages") == [(3,)], "nothing is gone"
    six_packages.land(price_rows(60, 10))
    target.recovers(six_packages)


def test_no_space_for_its_files(target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """R01: where the files are put; nothing of the load counts."""
    import errno
    import os
    from pathlib import Path

    from destinations import trino_files

    put, plain = [], trino_files.link

    def full(source: Path, target: Path) -> None:
        put.append(target)
        if len(put) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        plain(source, target)

    with target.opened() as opened:
        opened.ensure([PRICES])
        monkeypatch.setattr(trino_files, "link", full)
        with pytest.raises(DestinationError, match="No space left"):
            opened.load("raw_prices", six_packages.packages["raw_prices"])
        assert opened.cursors() == {}
    target.recovers(six_packages)
