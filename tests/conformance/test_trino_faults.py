"""Trino's own faults: a compaction beside loads, two commits at one moment, a catalog whose last commits are gone."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engine.errors import BusyError, DestinationError
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


def test_two_commits_at_one_moment(target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines that both have the lease: both have looked, both send their MERGE at once; one of them counts."""
    packages = six_packages.packages["raw_prices"][:2]
    with target.opened() as opened:
        opened.ensure([PRICES])
    monkeypatch.setattr("destinations.trino_lease.Lease.take", lambda _: None)
    added, together, outcomes = threading.Event(), threading.Barrier(2), []

    def write(machine: str) -> None:
        with target.opened(machine=machine) as opened:
            arrive, add = opened._arrive, opened._add

            def at_once(*given: Any) -> None:
                added.set()
                together.wait(60)
                arrive(*given)

            def behind(*given: Any) -> None:
                assert added.wait(60)
                add(*given)

            opened._arrive, opened._add = at_once, add if machine == "here" else behind
            try:
                outcomes.append(opened.load("raw_prices", packages).seq)
            except DestinationError as error:
                outcomes.append(error.line)

    threads = [threading.Thread(target=write, args=(machine,)) for machine in ("here", "there")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [outcome for outcome in outcomes if outcome != 2]
    assert len(lines) == 1, outcomes
    assert "Run again" in lines[0]
    target.recovers(six_packages)


def test_no_package_arrives_behind_the_fence_of_another_machines_models(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in an interval that is finished, and no run would read it: lease and MERGE both see to that."""
    packages = six_packages.packages["raw_prices"]
    with target.opened() as here, target.opened(machine="there", wait_seconds=0.0) as there:
        here.load("raw_prices", packages[:1])
        with pytest.raises(BusyError, match="another machine"):
            there.begin_models()
        monkeypatch.setattr("destinations.trino_lease.Lease.take", lambda _: None)  # as one that was stalled too long
        arrive = here._arrive

        def fenced(*given: Any) -> None:
            assert there.begin_models() is not None
            arrive(*given)

        here._arrive = fenced
        with pytest.raises(DestinationError, match="Run again"):
            here.load("raw_prices", packages[1:2])
        here._arrive = arrive
        here.load("raw_prices", packages[1:2])
        [(behind,)] = target.ask(
            "SELECT COUNT(*) FROM landing._packages WHERE arrived_at > (SELECT MIN(until) FROM landing._model_runs)"
        )
        assert behind == 1, "it arrived after the fence, so that the next run reads it"
    target.recovers(six_packages)


def test_the_lease_keeps_another_machine_out(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is given back or over; a writer of the same machine that was killed leaves it to its successor."""
    packages, told = six_packages.packages["raw_prices"], []
    with target.opened() as here:
        here.load("raw_prices", packages[:1])
        with (
            target.opened(machine="there", wait_seconds=0.0, waiting=told.append) as there,
            pytest.raises(BusyError, match="another machine"),
        ):
            there.load("raw_prices", packages[1:2])
        here._lease._taken = None  # as after a kill: it is not given back
    assert told
    with target.opened() as again:
        again.load("raw_prices", packages[1:2])
    with target.opened(machine="there", wait_seconds=0.0) as there:
        there.load("raw_prices", packages[2:3])
        there._lease._taken = None
    monkeypatch.setattr("destinations.trino_lease.LEASE_SECONDS", 1)
    target.ask("UPDATE landing._lease SET until = current_timestamp + INTERVAL '1' SECOND")
    with target.opened(wait_seconds=30.0) as waits:
        waits.load("raw_prices", packages[3:4])
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
