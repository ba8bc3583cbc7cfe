"""Trino's own faults: a compaction beside loads, two commits at one moment, a catalog whose last commits are gone."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BusyError, DestinationError
from engine.load import catch_up
from tests.conformance import targets
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.targets import Target, in_mid_load
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


def test_two_commits_at_one_moment(
    target: Target, trino: TrinoServer, six_packages: FolderLake, tmp_path: Path
) -> None:
    """Two machines that both have the lease, for one is a copy of the other; one of them counts.

    Both have sent their MERGE before either commits: the catalog's row of that table is held until then.
    """
    import psycopg

    packages, outcomes = six_packages.packages["raw_prices"][:2], []
    with target.opened() as opened:
        opened.ensure([PRICES])
    shutil.copytree(tmp_path / "here", tmp_path / "there")

    def write(machine: str) -> None:
        with target.opened(machine=machine) as opened:
            try:
                outcomes.append(opened.load("raw_prices", packages).seq)
            except DestinationError as error:
                outcomes.append(error.line)

    with psycopg.connect(trino.postgres.dsn("catalog")) as catalog:
        catalog.execute("SELECT 1 FROM iceberg_tables WHERE table_name = '_packages' FOR UPDATE")
        threads = []
        for machine in ("here", "there"):
            threads.append(threading.Thread(target=write, args=(machine,)))
            threads[-1].start()
            waits_until(lambda: committing(trino) == len(threads) or outcomes)
        assert not outcomes
        catalog.rollback()
    for thread in threads:
        thread.join()
    lines = [outcome for outcome in outcomes if outcome != 2]
    assert len(lines) == 1, outcomes
    assert "same moment" in lines[0]
    assert "Run again" in lines[0]
    target.recovers(six_packages)


def committing(trino: TrinoServer) -> int:
    """How many commits of Iceberg wait for the catalog."""
    waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE 'UPDATE%'"
    return int(trino.postgres.execute(waiting, "catalog")[0][0])


def waits_until(true: Callable[[], Any]) -> None:
    """Look every 50 ms; give up after a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_load_counts_for_the_holder_of_the_lease_alone(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stalled for longer than the lease does not know what its successor made of the table meanwhile."""
    packages = six_packages.packages["raw_prices"][:2]
    monkeypatch.setattr("destinations.trino_lease.LEASE_SECONDS", 1)
    with target.opened() as here, target.opened(machine="there", wait_seconds=20.0) as there:

        def successor() -> None:
            there._opened.tables.alone()

        in_mid_load(here, monkeypatch, successor)
        with pytest.raises(DestinationError, match="another program's load"):
            here.load("raw_prices", packages)
        assert here.cursors() == {}
        assert there.load("raw_prices", packages).seq == 2
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
        arrive = here._opened.loads._arrive

        def fenced(*given: Any) -> None:
            assert there.begin_models() is not None
            arrive(*given)

        here._opened.loads._arrive = fenced
        with pytest.raises(DestinationError, match="Run again"):
            here.load("raw_prices", packages[1:2])
        here._opened.loads._arrive = arrive
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
            target.opened(machine="there", wait_seconds=5.0, waiting=told.append) as there,
            pytest.raises(BusyError, match="another machine"),
        ):
            there.load("raw_prices", packages[1:2])
        here._opened.lease._taken = None  # as after a kill: it is not given back
    assert told
    with target.opened() as again:
        again.load("raw_prices", packages[1:2])
    with target.opened(machine="there", wait_seconds=0.0) as there:
        there.load("raw_prices", packages[2:3])
        there._opened.lease._taken = None
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


EVERYTHING = ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"]


@pytest.mark.chaos
def test_a_right_revoked_between_two_packages(
    target: Target, trino: TrinoServer, six_packages: FolderLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D06: said in a line; once it is granted again the next run goes on."""
    poor = targets.trino(target.extra["settings"].model_copy(update={"user": "poor"}), tmp_path)
    others = {"privileges": EVERYTHING}
    monkeypatch.setattr("engine.load.BATCH_PACKAGES", 1)

    def denied() -> bool:
        try:
            poor.ask("DELETE FROM landing.raw_prices WHERE symbol = 'none'")
        except DestinationError:
            return True
        return False

    def revoke(_: str) -> None:
        trino.allow({"user": "poor", "schema": "landing", "table": "raw_prices", "privileges": ["SELECT"]}, others)
        waits_until(denied)

    try:
        with poor.opened() as opened:
            opened.ensure([PRICES])
            report = catch_up(opened, six_packages, [PRICES], revoke)
    finally:
        trino.allow()
    [line] = report.errors
    assert "a permission is missing" in line
    assert "Grant it" in line
    assert report.tables[0].seq == 1
    waits_until(lambda: not denied())
    poor.recovers(six_packages)


@pytest.mark.chaos
def test_housekeeping_beside_a_slow_reader(target: Target, trino: TrinoServer, six_packages: FolderLake) -> None:
    """X08: small files are merged and nothing goes that is younger than a week; without that it would not be read."""
    from trino.dbapi import connect

    for package in six_packages.packages["raw_prices"]:
        with target.opened() as opened:
            opened.load("raw_prices", [package])
    [(snapshot,)] = target.ask(
        'SELECT snapshot_id FROM landing."raw_prices$snapshots" ORDER BY committed_at DESC LIMIT 1'
    )
    old = f"SELECT COUNT(*), COUNT(DISTINCT symbol) FROM landing.raw_prices FOR VERSION AS OF {snapshot}"
    files = 'SELECT COUNT(*) FROM landing."raw_prices$files"'
    many = "SELECT r.symbol FROM landing.raw_prices AS r CROSS JOIN UNNEST(SEQUENCE(1, 5000)) AS n"
    with connect(host="127.0.0.1", port=trino.port, user="tests", catalog="lake") as connection:
        slow = connection.cursor().execute(many)
        seen = Counter(row[0] for row in slow.fetchmany(10))
        with target.opened() as opened:
            opened.maintenance()
        assert target.ask(files) == [(1,)], "nothing was tidied up"
        while rows := slow.fetchmany(50_000):
            seen.update(row[0] for row in rows)
        assert target.ask(old) == [(60, 60)]
        at_once = connection.cursor()
        at_once.execute("SET SESSION lake.expire_snapshots_min_retention = '0s'").fetchall()
        at_once.execute(
            "ALTER TABLE landing.raw_prices EXECUTE expire_snapshots(retention_threshold => '0s')"
        ).fetchall()
    assert seen == Counter({f"S{number}": 5000 for number in range(60)})
    with pytest.raises(DestinationError, match="Iceberg snapshot ID does not exist"):
        target.ask(old)
    assert target.findings(six_packages) == []
