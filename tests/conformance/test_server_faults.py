"""PostgreSQL 18 under fault: killed, gone, full, read-only, wrongly named; a lost COMMIT answer, a stalled worker."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from psycopg.errors import UniqueViolation

from destinations import postgres_copy, postgres_session
from destinations.postgres import PostgresDestination
from destinations.postgres_doctor import examine
from destinations.postgres_session import PostgresSession, connect
from engine.errors import BusyError, DestinationError, GoneError
from engine.load import catch_up, prepare
from engine.table import Column, Table
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows
from tests.servers.databases import Dsn
from tests.servers.postgres_server import PostgresServer

WRONG = "not-the-one"
ROOT = Path(__file__).parents[2]
EXACTLY_ONCE = """
    select count(*), count(distinct symbol), (select count(*) from landing._packages),
        (select count(distinct _load_id) from landing._packages), (select max(seq) from landing._cursor)
    from landing.raw_prices
"""


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    made = FolderLake(tmp_path / "lake")
    for start in range(0, 60, 10):
        made.land(price_rows(start, 10))
    return made


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with PostgresDestination("asked", dsn).reader() as connection:
        return connection.execute(sql.encode()).fetchall()


def finished(dsn: str, lake: FolderLake, count: int = 60, packages: int = 6) -> None:
    """One more run: every row exactly once."""
    with PostgresDestination("warehouse", dsn) as opened:
        assert catch_up(opened, lake, [PRICES]).errors == []
    assert ask(dsn, EXACTLY_ONCE) == [(count, count, packages, packages, packages)]


POINTS = [
    ("destinations.postgres_copy:_copied", 2),
    ("destinations.landing:Landing._advance", 2),
    ("destinations.landing:Landing._arrive", 1),
    ("destinations.landing:Landing.cursors", 3),
    ("destinations.landing:creation", 1),
]


@pytest.mark.faults
def test_a_client_killed_at_any_point_then_one_more_run_holds_every_row_once(database: Dsn, lake: FolderLake) -> None:
    """K01, K04, K07: a killed client's session ends with it, and its transaction and lock with the session."""
    (lake.root / "lake.pickle").write_bytes(pickle.dumps(lake))
    jobs: list[dict[str, object]] = [{"path": database(f"point{n}"), "at": at} for n, at in enumerate(POINTS)]
    jobs += [{"path": database(f"after{n}"), "after": 0.02 + 0.04 * n} for n in range(3)]
    (lake.root / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.conformance.load_until_killed", "postgres", str(lake.root)),
            *(str(lake.root / "lake.pickle"), str(lake.root / "jobs.json")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ended = json.loads(done.stdout.splitlines()[-1])["signals"]
    assert ended[: len(POINTS)] == [signal.SIGKILL] * len(POINTS)
    for job in jobs:
        finished(str(job["path"]), lake)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with PostgresServer() as server:
        yield server


@pytest.mark.faults
def test_a_server_killed_in_mid_load_costs_one_line_and_nothing_else(
    own_server: PostgresServer, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D: killed during COPY and before COMMIT; down for a run; back again."""
    dsn, loaded = own_server.dsn(), 0
    copied = postgres_copy._copied

    def killing(*args: Any) -> int:
        nonlocal loaded
        loaded += 1
        rows = copied(*args)
        if loaded == 3:
            own_server.kill()
        return rows

    other = lake.land([{"symbol": "x"}], type(PRICES)("raw_other", PRICES.columns))
    tables = [PRICES, type(PRICES)("raw_other", PRICES.columns)]
    monkeypatch.setattr("engine.load.BATCH_PACKAGES", 1)
    with PostgresDestination("warehouse", dsn) as opened:
        opened.ensure(tables)
        monkeypatch.setattr(postgres_copy, "_copied", killing)
        report = catch_up(opened, lake, tables)
    [line] = report.errors
    assert "warehouse: " in line
    assert "Run again" in line
    assert [(table.table, table.packages) for table in report.tables] == [("raw_prices", 2)]
    monkeypatch.setattr(postgres_copy, "_copied", copied)
    with pytest.raises(GoneError, match="cannot be reached: nothing listens there"), PostgresDestination("w", dsn):
        pass
    own_server.restart()
    finished(dsn, lake)
    with PostgresDestination("warehouse", dsn) as opened:
        assert opened.load("raw_other", [other]).rows == 1


@contextmanager
def proxy(port: int) -> Iterator[tuple[int, threading.Event]]:
    """Forward one port to the server; once the event is set, the server's answers are thrown away."""
    deaf, closed = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening, closing(socket.socket()):

        def pump(source: socket.socket, target: socket.socket, *, answers: bool) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    if answers and deaf.is_set():
                        target.shutdown(socket.SHUT_RDWR)
                        return
                    target.sendall(data)
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        def serve() -> None:
            while not closed.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port))
                for pair, answers in (((client, server), False), ((server, client), True)):
                    threading.Thread(target=pump, args=pair, kwargs={"answers": answers}, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1], deaf
        closed.set()


@pytest.mark.faults
def test_a_lost_answer_to_commit_doubles_nothing(
    postgres_server: PostgresServer, database: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits, and nobody hears it."""
    dsn = database()
    with proxy(postgres_server.port.number) as (port, deaf):
        through = dsn.replace(f":{postgres_server.port.number}/", f":{port}/")
        with PostgresDestination("warehouse", through) as opened:
            opened.ensure([PRICES])
            execute = opened._writer.connection.execute

            def at_commit(statement: Any, *args: Any) -> Any:
                if statement == "COMMIT":
                    deaf.set()
                return execute(statement, *args)

            monkeypatch.setattr(opened._writer.connection, "execute", at_commit)
            packages = lake.packages["raw_prices"][:3]
            with pytest.raises(GoneError, match="lost while a load was being committed") as raised:
                opened.load("raw_prices", packages)
            assert "nothing is lost or doubled" in raised.value.remedy
    deadline = time.monotonic() + 10
    while ask(dsn, "select count(*) from landing.raw_prices") != [(30,)]:
        assert time.monotonic() < deadline, "the fault did not fire: the server did not commit"
        time.sleep(0.05)
    finished(dsn, lake)


@pytest.mark.faults
def test_a_stalled_old_worker_keeps_others_out_and_cannot_commit_afterwards(
    database: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session holds the lock while it lives; the server ends it, and its transaction with it."""
    dsn, packages = database(), lake.packages["raw_prices"]
    monkeypatch.setattr(postgres_session, "IDLE_SECONDS", 3)
    old = PostgresDestination("warehouse", dsn)
    with old:
        old.ensure([PRICES])
        advanced = old._opened._advance
        told: list[str] = []

        def stalled(*args: Any) -> None:
            advanced(*args)
            with pytest.raises(BusyError, match=f"process {os.getpid()}"):
                PostgresDestination("warehouse", dsn, wait_seconds=0).__enter__()
            with PostgresDestination("warehouse", dsn, wait_seconds=30, waiting=told.append) as new:
                assert new.load("raw_prices", packages[:2]).rows == 20

        monkeypatch.setattr(old._opened, "_advance", stalled)
        with pytest.raises(DestinationError):
            old.load("raw_prices", packages[:1])
    assert [line for line in told if "waiting up to 30 s" in line] == told != []
    finished(dsn, lake)


@pytest.mark.faults
def test_a_worker_behind_a_pooler_that_shares_sessions_still_loads_nothing_twice(
    database: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lock is nobody's, the cursor's compare-and-swap decides: the second waits, then is refused."""
    monkeypatch.setattr("destinations.postgres.take_writer_lock", lambda *_, **__: None)
    dsn, packages = database(), lake.packages["raw_prices"]
    with PostgresDestination("warehouse", dsn) as first, PostgresDestination("warehouse", dsn) as second:
        first.ensure([PRICES])
        second._opened._check_sequence("raw_prices", packages[:1])
        first.load("raw_prices", packages[:1])
        monkeypatch.setattr(second._opened, "_check_sequence", lambda *_: None)
        with pytest.raises(DestinationError, match="no longer at 0"):
            second.load("raw_prices", packages[:1])
    finished(dsn, lake)


@pytest.mark.faults
def test_readers_beside_a_writer_see_whole_loads_and_no_error(database: Dsn, lake: FolderLake) -> None:
    """X05: several connections, long ones and short ones, while packages are loaded."""
    dsn = database()
    for start in range(60, 600, 10):
        lake.land(price_rows(start, 10))
    with PostgresDestination("warehouse", dsn) as opened:
        opened.ensure([PRICES])
    count = "select count(*), (select coalesce(sum(rows), 0) from landing._packages) from landing.raw_prices"
    seen: list[int] = []
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            with PostgresDestination("reader", dsn).reader() as connection:
                for _ in range(5):
                    [(rows, noted)] = connection.execute(count.encode()).fetchall()
                    connection.rollback()
                    seen.append(rows)
                    if rows != noted or rows % 10:
                        wrong.append((rows, noted))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with PostgresDestination("warehouse", dsn) as opened:
        for package in lake.packages["raw_prices"]:
            opened.load("raw_prices", [package])
    while 600 not in seen:
        time.sleep(0.01)
    done.set()
    for reader in readers:
        reader.join(10)
    assert wrong == []
    assert len(set(seen)) > 3, "the writer was never caught at work"


CASES: list[tuple[str, Callable[[PostgresServer, str], str], str, str]] = [
    ("wrong password", lambda s, d: s.dsn(d, password=WRONG), "password is wrong", "Correct user and password"),
    ("no such user", lambda s, d: s.dsn(d, user="nobody_here"), "password is wrong", "Correct user and password"),
    ("no database", lambda s, _: s.dsn("not_there"), "database does not exist", "CREATE DATABASE"),
    ("TLS", lambda s, d: s.dsn(d) + "?sslmode=require", "no TLS", "sslmode"),
    ("unknown host", lambda _, d: f"postgresql://u:pass-word@no.such.host.invalid/{d}", "not known", "correct the DSN"),
    ("not a dsn", lambda *_: "postgresql://user:pass-word@[::1/x", "cannot be read", "postgresql://USER"),
]


@pytest.mark.parametrize(("dsn_of", "reason", "remedy"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_connection_that_fails_says_why_and_no_secret(
    postgres_server: PostgresServer, database: Dsn, dsn_of: Callable[..., str], reason: str, remedy: str
) -> None:
    name = database().rpartition("/")[2]
    dsn = dsn_of(postgres_server, name)
    with pytest.raises(DestinationError) as raised:
        PostgresDestination("warehouse", dsn).__enter__()
    assert reason in raised.value.reason
    assert remedy in raised.value.remedy
    for secret in (postgres_server.password, WRONG, "pass-word"):
        assert secret not in str(raised.value)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.monotonic()
        with pytest.raises(GoneError, match="does not answer in time"):
            PostgresDestination("warehouse", dsn).__enter__()
        assert time.monotonic() - started < 10


def test_two_cursors_of_one_table_are_one_again(database: Dsn, lake: FolderLake) -> None:
    """As an older release may have left them behind a pooler, which kept two writers from seeing each other's lock."""
    dsn = database()
    with PostgresDestination("warehouse", dsn) as opened:
        opened.ensure([PRICES])
    with connect(dsn) as admin:
        admin.execute("DROP INDEX landing._cursor_of_table")
        admin.execute("INSERT INTO landing._cursor VALUES ('raw_prices', 0)")
    finished(dsn, lake)
    with connect(dsn) as admin, pytest.raises(UniqueViolation):
        admin.execute("INSERT INTO landing._cursor VALUES ('raw_prices', 0)")


def test_a_user_without_rights_and_a_read_only_server_say_so(
    postgres_server: PostgresServer, database: Dsn, lake: FolderLake
) -> None:
    dsn = database()
    name = dsn.rpartition("/")[2]
    postgres_server.execute(f"CREATE ROLE poor_{name} LOGIN PASSWORD '{WRONG}'")
    poor = postgres_server.dsn(name, user=f"poor_{name}", password=WRONG)
    with pytest.raises(DestinationError, match="may not write there") as raised:
        PostgresDestination("warehouse", poor).__enter__()
    assert "GRANT CREATE" in raised.value.remedy
    found = {each.what: each for each in PostgresDestination("warehouse", poor).examine()}
    assert not found["rights"].ok
    postgres_server.execute(f"ALTER ROLE poor_{name} SET default_transaction_read_only = on")
    postgres_server.execute(f"GRANT CREATE ON DATABASE {name} TO poor_{name}")
    with pytest.raises(DestinationError, match="read-only"):
        PostgresDestination("warehouse", poor).__enter__()
    postgres_server.execute(f"ALTER ROLE poor_{name} RESET default_transaction_read_only")
    finished(poor, lake)
    found = {each.what: each for each in PostgresDestination("warehouse", poor).examine()}
    assert [each for each in found.values() if not each.ok] == []
    assert "version 18" in found["server"].detail
    with connect(dsn) as admin:
        admin.execute(f"CREATE SCHEMA timeseries AUTHORIZATION poor_{name}")  # type: ignore[arg-type]
        admin.execute("CREATE TABLE timeseries.raw_prices ()")
    with connect(poor) as connection:
        session = PostgresSession(connection)
        assert {each.what for each in examine(session, "warehouse", "x", timescale=False) if not each.ok} == set()
        [rights] = [each for each in examine(session, "warehouse", "x", timescale=True) if each.what == "rights"]
    assert (rights.ok, "timeseries.raw_prices belongs to" in rights.detail) == (False, True)
    with connect(dsn) as admin:
        admin.execute(rights.remedy.partition(": ")[2].partition(";")[0].encode())
    with connect(poor) as connection:
        [rights] = [
            each
            for each in examine(PostgresSession(connection), "warehouse", "x", timescale=True)
            if each.what == "rights"
        ]
    assert rights.ok


def test_a_full_disk_leaves_nothing_of_the_load(database: Dsn, lake: FolderLake) -> None:
    """The server's own error, raised by a trigger: its disk is everyone's here."""
    dsn = database()
    with PostgresDestination("warehouse", dsn) as opened:
        opened.ensure([PRICES])
        opened._writer.execute(
            "create function full_disk() returns trigger language plpgsql as $$ begin raise disk_full"
            " using message = 'could not extend file \"base/1/2\": No space left on device'; end $$"
        )
        opened._writer.execute(
            "create trigger no_space before insert on landing.raw_prices execute function full_disk()"
        )
        with pytest.raises(DestinationError, match="no space left on the server's disk") as raised:
            opened.load("raw_prices", lake.packages["raw_prices"][:2])
        assert "Free some space" in raised.value.remedy
        assert opened.cursors() == {}
        opened._writer.execute("drop trigger no_space on landing.raw_prices")
    finished(dsn, lake)


def test_a_table_that_someone_holds_is_not_waited_for_for_ever(
    database: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = database()
    finished(dsn, lake)
    package = lake.land(price_rows(60, 1))
    monkeypatch.setattr(postgres_session, "LOCK_SECONDS", 1)
    holder = postgres_session.connect(dsn)
    with closing(holder), PostgresDestination("warehouse", dsn) as opened:
        holder.execute("begin")
        holder.execute("lock table landing.raw_prices")
        with pytest.raises(DestinationError, match="holds a table or row"):
            opened.load("raw_prices", [package])
        holder.execute("rollback")
        assert opened.load("raw_prices", [package]).rows == 1


def test_declared_columns_of_many_tables_that_are_read_share_one_wait(
    database: Dsn, lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, seconds = database(), 2
    read = [Table(f"raw_{number}", PRICES.columns) for number in range(4)]
    wider = [Table(table.name, (*table.columns, Column("note", "text"))) for table in (*read, PRICES)]
    finished(dsn, lake)
    monkeypatch.setattr(postgres_session, "LOCK_SECONDS", seconds)
    with PostgresDestination("warehouse", dsn) as opened, PostgresDestination("dashboard", dsn).reader() as long:
        opened.ensure(read)
        for table in read:
            long.execute(f"select count(*) from landing.{table.name}".encode()).fetchall()
        started = time.monotonic()
        refused = prepare(opened, lake, wider).refused
        assert time.monotonic() - started < 2 * seconds + 0.5 * len(read)
        assert sorted(refused) == [table.name for table in read]
        assert "holds a table or row" in refused["raw_0"].reason
        assert "note" in opened.columns()["raw_prices"]


@pytest.mark.faults
@pytest.mark.parametrize("declared", [False, True], ids=["delivered", "declared"])
def test_a_new_column_behind_a_long_reader_does_not_hold_up_the_others(
    database: Dsn, lake: FolderLake, *, declared: bool
) -> None:
    """X12: the ALTER waits for the long reader in moments; readers that come meanwhile wait for moments at most.

    A column that pipelines.yaml declares comes before any package, by `ensure`.
    """
    dsn = database()
    finished(dsn, lake)
    wider = (*PRICES.columns, Column("note", "text"))
    package = lake.land([{**price_rows(60, 1)[0], "note": "new"}], columns=wider)
    waits: list[float] = []
    loaded: list[int] = []

    def load() -> None:
        with PostgresDestination("warehouse", dsn) as opened:
            if declared:
                opened.ensure([Table("raw_prices", wider)])
            loaded.append(opened.load("raw_prices", [package]).rows)

    with PostgresDestination("dashboard", dsn).reader() as long:
        long.execute(b"select count(*) from landing.raw_prices").fetchall()
        loading = threading.Thread(target=load)
        loading.start()
        deadline = time.monotonic() + 20
        with PostgresDestination("dashboard", dsn).reader() as other:
            while len(waits) < 50 or max(waits) < 0.1:
                assert time.monotonic() < deadline, "nobody ever waited behind the ALTER"
                started = time.monotonic()
                assert other.execute(b"select count(*) from landing.raw_prices").fetchall() == [(60,)]
                waits.append(time.monotonic() - started)
                other.rollback()
                time.sleep(0.03)
        assert loaded == []
    loading.join(30)
    assert loaded == [1]
    assert max(waits) < 3
