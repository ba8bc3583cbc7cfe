"""Writers that meet: a stalled one and its successor, several at once, a replay beside a run, readers beside both."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from destinations import postgres_session, trino_lease
from engine.errors import BusyError, TickhouseError
from engine.lake.package import Package
from engine.load import catch_up, refuse_another_lake
from engine.table import Column, Table
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.conformance.targets import EMBEDDED, EVERY, LANDED, SERVERS, SWIFT, SWIFT_SERVERS, Target, in_mid_load

pytestmark = pytest.mark.faults
ALONE = {"ducklake", "duckdb", "postgres"}
"""Where a stalled writer keeps others out, on whatever machine they are: by the file's lock, or by its session."""
WRITERS = {"ducklake": 8, "duckdb": 8, "postgres": 8}
"""At once on a destination that nobody has made yet; fewer where a load takes seconds."""

A_DAY = 288
"""Runs of a day, one every five minutes."""


def behind_its_look(opened: object, patch: pytest.MonkeyPatch, action: object) -> None:
    """Stall between the look at the cursor and the load's transaction."""
    landing = opened._landing  # type: ignore[attr-defined]
    looked = landing._check_sequence

    def look(*given: object) -> None:
        looked(*given)
        action()  # type: ignore[operator]

    patch.setattr(landing, "_check_sequence", look)


@pytest.mark.parametrize("target", EVERY, indirect=True)
def test_a_stalled_old_worker_behind_its_successor_doubles_nothing(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two loads: the old one, where it keeps others out; else the new one, and the old one is refused."""
    packages, said = six_packages.packages["raw_prices"], []
    monkeypatch.setattr(trino_lease, "LEASE_SECONDS", 1)  # over before the successor comes

    def successor() -> None:
        with target.opened(machine="there", wait_seconds=20.0 if target.kind == "trino" else 0.0) as new:
            said.append(new.load("raw_prices", packages[:3]).seq)

    def meanwhile() -> None:
        try:
            successor()
        except BusyError as error:
            said.append(error.line)

    with target.opened() as old:
        old.ensure([PRICES])
        # the stand-in of TimescaleDB has one session: inside a transaction nobody else gets a word in
        stall = behind_its_look if target.kind == "timescaledb" else in_mid_load
        stall(old, monkeypatch, meanwhile)
        if target.kind in ALONE:
            assert old.load("raw_prices", packages[:2]).seq == 2
            assert "busy" in str(said[0])
        else:
            with pytest.raises(TickhouseError):
                old.load("raw_prices", packages[:2])
            assert said == [3]
    assert len(said) == 1, "nobody came while it stalled"
    target.recovers(six_packages)


@pytest.mark.parametrize("target", EVERY, indirect=True)
def test_writers_at_once_on_a_new_destination(target: Target, six_packages: FolderLake) -> None:
    """X01, D14, D21: each is told of another, or waits, or is refused by the cursor; together they load each row once.

    The stand-in of TimescaleDB is what a pooler in transaction mode is: one session for all, whose advisory lock is
    everyone's.
    """
    count = WRITERS.get(target.kind, 3)
    ready, outcomes = threading.Barrier(count), []

    def write(number: int) -> None:
        ready.wait()
        try:
            with target.opened(machine=f"machine-{number}", wait_seconds=60.0) as opened:
                opened.ensure([PRICES])
                outcomes.append(catch_up(opened, six_packages, [PRICES]).packages)
        except TickhouseError as error:
            outcomes.append(error.line)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == count
    assert all(isinstance(outcome, int) or outcome.startswith("warehouse: ") for outcome in outcomes), outcomes
    target.recovers(six_packages)


@pytest.mark.parametrize("target", [*EMBEDDED, "postgres", *SWIFT_SERVERS[2:]], indirect=True)
def test_a_replay_beside_a_run(target: Target, six_packages: FolderLake) -> None:
    """X02: both want the same packages; the one that comes second waits.

    Not on the stand-in of TimescaleDB: it has one session for all, and with it one lock and one transaction.
    """
    assert target.run(six_packages).errors == []
    for start in range(60, 100, 10):
        six_packages.land(price_rows(start, 10))
    ready, reports, refused = threading.Barrier(2), [], []

    def write(*, replay: bool) -> None:
        ready.wait()
        try:
            with target.opened(wait_seconds=60.0) as opened:
                if replay:
                    opened.reset()
                opened.ensure([PRICES])
                reports.append(catch_up(opened, six_packages, [PRICES]))
                opened.publish()
        except TickhouseError as error:
            refused.append(error.line)

    threads = [threading.Thread(target=write, kwargs={"replay": replay}) for replay in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) + len(refused) == 2
    assert [report.errors for report in reports] == [[], []]
    assert sum(report.packages for report in reports) in {10, 14}, "one waited for the other"
    assert target.findings(six_packages) == []


@pytest.mark.parametrize("target", SWIFT, indirect=True)
def test_a_replay_leaves_tables_alone_that_it_does_not_fill(target: Target, six_packages: FolderLake) -> None:
    assert target.run(six_packages).errors == []
    with target.opened() as opened:
        opened.ensure([Table("notes_of_mine", (Column("note", "text"),))])
        opened.reset()
        assert opened.cursors() == {}
        opened.ensure([PRICES])
        assert catch_up(opened, six_packages, [PRICES]).errors == []
        opened.publish()
    assert target.ask("select count(*) from landing.notes_of_mine") == [(0,)]
    assert target.findings(six_packages) == []


@pytest.mark.parametrize("target", SERVERS, indirect=True)
def test_a_reader_beside_a_writer_sees_whole_packages(target: Target, six_packages: FolderLake) -> None:
    """X05: a package's rows are all there or none is, and none goes away. The embedded warehouses have more of this."""
    with target.opened() as opened:
        opened.ensure([PRICES])
    samples, wrong, looked, done = [], [], threading.Event(), threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                samples.append(Counter(load_id for _, load_id in target.ask(LANDED)))
            except Exception as error:  # whatever a reader would meet
                wrong.append(error)
            looked.set()

    reader = threading.Thread(target=read)
    reader.start()
    with target.opened() as opened:
        for package in six_packages.packages["raw_prices"]:
            opened.load("raw_prices", [package])
            for _ in range(2):  # the first may have looked before
                looked.clear()
                assert looked.wait(60)
    done.set()
    reader.join()
    assert wrong == []
    assert {count for sample in samples for count in sample.values()} <= {10}
    assert all(set(before) <= set(after) for before, after in pairwise(samples))
    assert any(0 < len(sample) < 6 for sample in samples), "the writer was never caught at work"


@pytest.mark.parametrize("target", EVERY, indirect=True)
def test_what_another_lake_filled_is_told_before_it_is_changed(
    target: Target, six_packages: FolderLake, tmp_path: Path
) -> None:
    """Where nothing fits. A table that fits, or that nobody has loaded, is no reason to refuse all of it."""
    other = FolderLake(tmp_path / "other")
    other.land(price_rows(0, 1))
    with target.opened() as opened:
        refuse_another_lake(opened, other)
        opened.load("raw_prices", six_packages.packages["raw_prices"])
        refuse_another_lake(opened, six_packages)
        with pytest.raises(TickhouseError, match="holds 6 packages of raw_prices, the lake only 1"):
            refuse_another_lake(opened, other)
        entry = replace(six_packages.packages["raw_prices"][5].entry, load_id="raw_prices-of-another")
        mixed = FolderLake(tmp_path, dict(six_packages.packages))
        mixed.packages["raw_prices"] = [*mixed.packages["raw_prices"][:5], Package(entry, None, ())]
        with pytest.raises(TickhouseError, match="the lake has raw_prices-of-another") as raised:
            refuse_another_lake(opened, mixed)
        assert "This is another lake" in raised.value.remedy


def dropped(target: Target, folder: Path) -> None:
    """Remove everything that the destination is."""
    if target.kind in {"ducklake", "duckdb"}:
        import shutil

        for path in folder.glob("warehouse*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif target.kind in {"postgres", "timescaledb"}:
        import psycopg

        with psycopg.connect(target.extra["dsn"], autocommit=True, prepare_threshold=None) as connection:
            connection.execute("DROP SCHEMA landing CASCADE")
    else:
        target.ask("DROP SCHEMA landing CASCADE")


@pytest.mark.parametrize("target", SWIFT, indirect=True)
def test_a_destination_dropped_and_made_anew_is_filled_from_the_lake(
    target: Target, six_packages: FolderLake, tmp_path: Path
) -> None:
    """D08: one ordinary run, no hand on it."""
    assert target.run(six_packages).errors == []
    dropped(target, tmp_path)
    with pytest.raises(Exception, match=r"(?i)landing|published|not exist|catalog"):
        target.ask(LANDED)
    target.recovers(six_packages)


@pytest.mark.parametrize("target", ["postgres", "timescaledb"], indirect=True)
def test_a_row_that_breaks_a_constraint_leaves_nothing_of_its_package(target: Target, six_packages: FolderLake) -> None:
    """D05: the packages before it are loaded, it is named, nothing of it stays."""
    import psycopg

    with target.opened() as opened:
        opened.ensure([PRICES])
    with psycopg.connect(target.extra["dsn"], autocommit=True, prepare_threshold=None) as connection:
        connection.execute("ALTER TABLE landing.raw_prices ADD CONSTRAINT odd CHECK (trades <> 38)")
        report = target.run(six_packages)
        [line] = report.errors
        assert "raw_prices-000004" in line
        assert "check constraint" in line
        assert report.tables[0].seq == 3
        assert target.ask("select count(*), max(trades) from landing.raw_prices") == [(30, 29)]
        connection.execute("ALTER TABLE landing.raw_prices DROP CONSTRAINT odd")
    target.recovers(six_packages)


@pytest.mark.parametrize("target", ["postgres"], indirect=True)
def test_a_right_revoked_between_two_packages(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D06: said in a line; once it is granted again the next run goes on."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from tests.conformance import targets

    dsn = target.extra["dsn"]
    name = f"poor_{conninfo_to_dict(dsn)['dbname']}"
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'never-shown'".encode())
        owner.execute(f"GRANT CREATE ON DATABASE {conninfo_to_dict(dsn)['dbname']} TO {name}".encode())
        poor = targets.postgres(make_conninfo(dsn, user=name, password="never-shown"))  # noqa: S106
        monkeypatch.setattr("engine.load.BATCH_PACKAGES", 1)
        with poor.opened() as opened:
            opened.ensure([PRICES])
            report = catch_up(
                opened,
                six_packages,
                [PRICES],
                lambda _: owner.execute(f"REVOKE INSERT ON landing.raw_prices FROM {name}".encode()),
            )
        [line] = report.errors
        assert "permission denied" in line
        assert "it has to own schemas landing and timeseries and their tables" in line
        assert "never-shown" not in line
        assert report.tables[0].seq == 1
        owner.execute(f"GRANT INSERT ON landing.raw_prices TO {name}".encode())
        poor.recovers(six_packages)
        owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


@pytest.mark.parametrize("target", SWIFT_SERVERS, indirect=True)
def test_down_for_many_runs_then_it_catches_up(target: Target, tmp_path: Path) -> None:
    """D09: each run costs one line, the lake and another destination go on, then one run brings all.

    As many runs as a day has of five minutes on one of them; the clients of others try again for seconds.
    """
    from tests.conformance import targets
    from tests.conformance.loopback_proxy import Proxy

    runs = A_DAY if target.kind == "postgres" else 6
    lake = FolderLake(tmp_path / "lake")
    (tmp_path / "other").mkdir()
    other = targets.duckdb(tmp_path / "other", tmp_path / "data")
    with Proxy(target.port) as proxy:
        proxy.refuse()
        for number in range(runs):
            lake.land(price_rows(2 * number, 2))
            with pytest.raises(TickhouseError, match="warehouse: "), target.opened(proxy.port):
                pass
            assert other.run(lake).packages == 1
    report = target.run(lake)
    assert report.packages == runs
    assert target.findings(lake) == []
    assert other.findings(lake) == []


@pytest.mark.parametrize("target", ["postgres"], indirect=True)
def test_no_connection_left_and_a_statement_timeout(
    target: Target, six_packages: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D04, R04: the role may have one connection and it is taken; its statement_timeout is not ours."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from tests.conformance import targets

    dsn = target.extra["dsn"]
    name = f"few_{conninfo_to_dict(dsn)['dbname']}"
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS", 5)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'never-shown' CONNECTION LIMIT 1".encode())
        owner.execute(f"ALTER ROLE {name} SET statement_timeout = '200ms'".encode())
        owner.execute(f"GRANT CREATE ON DATABASE {conninfo_to_dict(dsn)['dbname']} TO {name}".encode())
        few = targets.postgres(make_conninfo(dsn, user=name, password="never-shown"))  # noqa: S106
        with few.opened(), pytest.raises(TickhouseError, match="no connection left") as raised, few.opened():
            pass
        assert "max_connections" in raised.value.line
        owner.execute(f"ALTER ROLE {name} CONNECTION LIMIT -1".encode())
        with few.opened() as opened:
            assert opened._writer.execute("SELECT pg_sleep(0.5)")
        few.recovers(six_packages)
        owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
