"""Whole runs into servers: beside a warehouse, catching up, replayed, looked at; nothing secret is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from destinations.postgres import PostgresDestination
from engine.cli import cli
from engine.config.load import load_project
from engine.config.problems import ConfigError
from engine.config.project import Project
from engine.doctor import examine
from engine.errors import UsageError
from engine.progress import Silent
from engine.run import Runner
from engine.status import status
from tests.servers.databases import Dsn
from tests.servers.postgres_server import PostgresServer

pytestmark = pytest.mark.xdist_group("timescale")  # one of its server is enough
PIPELINES = """
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: .data/lake}
    timeseries: {type: timescaledb, dsn: "${TIMESCALE_DSN}"}
    plain: {type: postgres, dsn: "${POSTGRES_DSN}"}
    warehouse: {type: ducklake, path: .data/warehouse}
sources:
  history:
    type: files
    path: history
    settle_seconds: 0
    resources:
      raw_history:
        files: "*.csv"
        primary_key: [symbol, at]
        columns:
          symbol: {}
          at: {type: timestamp, timezone: UTC}
          price: {type: decimal}
        timeseries: {hypertable: at, chunk: 7d, candles: [1d]}
pipelines:
  daily: {extract: [history], load: [warehouse, timeseries, plain], transform: false}
"""
DAYS = ["symbol,at,price"] + [
    f"{symbol},2026-05-{day:02} {hour:02}:00:00,{day}.{hour:02}"
    for day in range(1, 11)
    for hour in range(0, 24, 6)
    for symbol in ("AAA", "BBB")
]
Make = Callable[..., Project]


@pytest.fixture
def make(tmp_path: Path, timescale: Dsn, database: Dsn) -> Make:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "one.csv").write_text("\n".join(DAYS) + "\n")

    def build(**env: str) -> Project:
        (tmp_path / "pipelines.yaml").write_text(PIPELINES)
        known = {"TIMESCALE_DSN": timescale(), "POSTGRES_DSN": database(), **env}
        return load_project(tmp_path / "pipelines.yaml", env=known)

    return build


def asked(project: Project, name: str, sql: str) -> list[tuple[Any, ...]]:
    from destinations import open_destination

    opened = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    with opened.reader() as connection:
        found: list[tuple[Any, ...]] = connection.execute(sql.encode()).fetchall()
        return found


def test_a_run_fills_every_destination_and_replay_a_new_one(make: Make, database: Dsn) -> None:
    project = make()
    report = Runner(project, Silent()).run("daily")
    assert report.failures == []
    assert {d.name: (d.status, d.rows) for d in report.destinations} == {
        "warehouse": ("loaded", 80),
        "timeseries": ("loaded", 80),
        "plain": ("loaded", 80),
    }
    candles = "select symbol, bucket::date::text, open, high, low, close from timeseries.raw_history_1d order by 1, 2"
    first = asked(project, "timeseries", candles)
    assert len(first) == 20
    assert [str(value).rstrip("0") for value in first[0][2:]] == ["1.", "1.18", "1.", "1.18"]
    assert Runner(project, Silent()).run("daily").failures == []

    moved = make(POSTGRES_DSN=database("another"))
    report = Runner(moved, Silent()).replay("plain")
    assert [(d.name, d.status, d.rows) for d in report.destinations] == [("plain", "loaded", 80)]
    assert asked(moved, "plain", "select count(*), max(price)::text from landing.raw_history")[0][0] == 80
    report = Runner(moved, Silent()).replay("timeseries")
    assert report.failures == []
    assert asked(moved, "timeseries", candles) == first


GONE = "postgresql://who:hidden-word@127.0.0.1:1/x"


def test_a_destination_that_is_down_holds_up_no_other_and_catches_up(
    make: Make, postgres_server: PostgresServer
) -> None:
    gone = make(POSTGRES_DSN="postgresql://who:hidden-word@127.0.0.1:1/x")
    report = Runner(gone, Silent()).run("daily")
    assert report.status == "partial"
    [line] = report.failures
    assert line.startswith("plain: PostgreSQL at 127.0.0.1:1/x cannot be reached: nothing listens there")
    assert "hidden-word" not in json.dumps(report.as_json())
    assert "hidden-word" not in repr(gone.destinations)
    assert {d.name: d.status for d in report.destinations if d.name != "plain"} == {
        "warehouse": "loaded",
        "timeseries": "loaded",
    }
    back = make()
    report = Runner(back, Silent()).run("daily")
    assert {d.name: d.rows for d in report.destinations} == {"warehouse": 0, "timeseries": 0, "plain": 80}


def test_another_projects_databases_stay_as_they_are(make: Make, tmp_path: Path) -> None:
    """A file that names them by mistake has another lake, other columns and other chunks: refused before any change."""
    project = make()
    assert Runner(project, Silent()).run("daily").failures == []
    looks = {
        "timeseries": "select settings, filled from timeseries._settings",
        "plain": "select table_name, column_name from information_schema.columns where table_schema <> 'pg_catalog'",
    }
    before = {name: sorted(asked(project, name, sql)) for name, sql in looks.items()}
    (tmp_path / ".data").rename(tmp_path / "the-other-project")
    more = "volume: {type: decimal}\n          price: {type"
    project.path.write_text(PIPELINES.replace("chunk: 7d", "chunk: 1d").replace("price: {type", more))
    mistaken = load_project(project.path, env=dsns(project))
    report = Runner(mistaken, Silent()).run("daily")
    assert {d.name: d.status for d in report.destinations} == {
        "warehouse": "loaded", "timeseries": "failed", "plain": "failed",
    }  # fmt: skip
    assert ["another lake" in line for line in report.failures] == [True, True]
    assert all("give each project a database" in line for line in report.failures)
    assert {name: sorted(asked(project, name, sql)) for name, sql in looks.items()} == before


def dsns(project: Project) -> dict[str, str]:
    """Return the variables of the file as they were."""
    named = {"TIMESCALE_DSN": "timeseries", "POSTGRES_DSN": "plain"}
    return {name: project.destinations[which].dsn.get_secret_value() for name, which in named.items()}


def test_doctor_and_status_know_servers(make: Make) -> None:
    project = make()
    Runner(project, Silent()).run("daily")
    found = {each.what: each for each in examine(project) if each.what.startswith("destination ")}
    assert {what: each.detail for what, each in found.items() if not each.ok} == {}
    assert "version 18" in found["destination plain: server"].detail
    assert found["destination timeseries: timescaledb"].detail.startswith("version 2")
    assert {"destination plain: rights", "destination plain: clock", "destination plain: space"} <= set(found)
    assert found["destination warehouse: rows"].detail == "1 table with every row that was loaded"
    with PostgresDestination("plain", project.destinations["plain"].dsn.get_secret_value()) as opened:
        opened._writer.execute("DROP TABLE landing.raw_history")
    [bad] = [each for each in examine(project) if not each.ok and each.what.startswith("destination")]
    assert (bad.what, bad.detail) == (
        "destination plain: rows",
        "landing.raw_history is gone (80 rows had been loaded)",
    )
    again = "plain: landing.raw_history is gone, though packages of it were loaded: it is filled from the lake again"
    assert Runner(project, Silent()).run("daily").told_notices == [again]
    assert asked(project, "plain", "select count(*) from landing.raw_history") == [(80,)]
    tables = [row for row in status(project)["tables"] if row["table"] == "raw_history"]
    assert [(row["destination"], row["rows"], row["packages_behind"]) for row in tables] == [
        ("timeseries", 80, 0),
        ("plain", 80, 0),
        ("warehouse", 80, 0),
    ]
    (project.data_dir / "lake").rename(project.data_dir / "elsewhere")
    told = {each.what: each.detail for each in examine(project) if not each.ok and each.what.endswith(": lake")}
    assert set(told) == {f"destination {name}: lake" for name in ("timeseries", "plain", "warehouse")}
    assert all("the lake only 0" in detail for detail in told.values())
    (project.data_dir / "elsewhere").rename(project.data_dir / "lake")
    gone = make(POSTGRES_DSN=GONE)
    tables = {row["destination"]: row for row in status(gone)["tables"] if row["table"] == "raw_history"}
    assert (tables["plain"]["rows"], tables["plain"]["packages_behind"]) == (None, None), "not known, and not none"
    assert tables["timeseries"]["rows"] == 80
    shown = CliRunner().invoke(
        cli, ["status", "-f", str(gone.path)], env={"POSTGRES_DSN": GONE, "TIMESCALE_DSN": "x=y"}
    )
    assert "?" in shown.output
    [bad] = [each for each in examine(gone) if not each.ok and each.what.startswith("destination")]
    assert (bad.what, bool(bad.remedy)) == ("destination plain", True)
    assert bad.detail.startswith("PostgreSQL at 127.0.0.1:1/x cannot be reached"), "without its name once more"


def test_doctor_tells_bookkeeping_that_is_gone(make: Make) -> None:
    """The next run has a line for it, never a traceback."""
    project, books = make(), {"timeseries": ["_packages"], "plain": ["_cursor", "_quarantine"]}
    Runner(project, Silent()).run("daily")
    for name, dropped in books.items():
        with PostgresDestination(name, project.destinations[name].dsn.get_secret_value()) as opened:
            for book in dropped:
                opened._writer.execute(f"DROP TABLE landing.{book}")
    bad = [each for each in examine(project) if not each.ok and each.what.startswith("destination")]
    assert [(each.what, each.detail) for each in bad] == [
        ("destination timeseries: books", "gone: landing._packages"),
        ("destination plain: books", "gone: landing._cursor, landing._quarantine"),
    ]
    assert "`engine replay --destination plain`" in bad[1].remedy
    assert {row["destination"] for row in status(project)["tables"]} == {"timeseries", "plain", "warehouse"}
    failures = Runner(project, Silent()).run("daily").failures
    assert {line.partition(":")[0] for line in failures} == set(books)
    assert all("`engine replay --destination" in line for line in failures)
    assert Runner(project, Silent()).replay(None).failures == []
    assert [each for each in examine(project) if not each.ok and each.what.startswith("destination")] == []


def test_queries_go_to_the_warehouse_wherever_it_stands(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make()
    Runner(project, Silent()).run("daily")
    monkeypatch.setenv("TIMESCALE_DSN", "postgresql://nobody@127.0.0.1:1/x")
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/y")
    sql = "select count(*) from landing.raw_history"
    done = CliRunner().invoke(cli, ["query", sql, "--json", "-f", str(project.path)])
    assert json.loads(done.output)["rows"] == [[80]]
    done = CliRunner().invoke(cli, ["query", sql, "--on", "plain", "-f", str(project.path)])
    assert isinstance(done.exception, UsageError)
    assert "no warehouse 'plain'" in str(done.exception)


SECOND = PIPELINES[PIPELINES.index("        files:") : PIPELINES.index("pipelines:")]
WRONG = [
    ("hypertable: at, chunk", "hypertable: when, chunk", "the column 'when' is not declared"),
    ("hypertable: at, chunk", "hypertable: price, chunk", "is of type decimal, not a timestamp"),
    ("primary_key: [symbol, at]", "primary_key: [symbol]", "not part of the primary_key"),
    ("candles: [1d]", "candles: [1d, 7m]", "7m"),
    ("candles: [1d]}", f"candles: [1d]}}\n      raw_history_1d:\n{SECOND}", "as the table of line 30"),
    ("      raw_history:\n", f"      {'r' * 61}:\n", "PostgreSQL takes 63 bytes"),
    ("chunk: 7d", "chunk: 7 days", "is no duration"),
    ("price: {type: decimal}", "price: {type: double}", "the table has no prices"),
    ("chunk: 7d", "chunk: 7d, compress_after: 30d, retain: 30d", "rows would go before they are compressed"),
    ("chunk: 7d", "chunk: 7d, retain: 24h", "Retain at least 48h: the longest candle and a day"),
    ("chunk: 7d", "chunk: 7d, compres_after: 30d", "compres_after"),
    ('"${POSTGRES_DSN}"', "just-a-word", "this is no dsn"),
    ('"${POSTGRES_DSN}"', '"${TIMESCALE_DSN}"', "is at the same database"),
    ('"${POSTGRES_DSN}"', "postgresql://b:hidden-word@H:5432/x?connect_timeout=5", "is at the same database"),
]


@pytest.mark.parametrize(("old", "new", "reason"), WRONG, ids=[case[2][:30] for case in WRONG])
def test_what_is_wrong_in_the_file_is_said_with_its_line(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert PIPELINES.count(old) == 1
    (tmp_path / "pipelines.yaml").write_text(PIPELINES.replace(old, new))
    (tmp_path / "history").mkdir()
    env = {"TIMESCALE_DSN": "postgresql://a:hidden-word@h/x", "POSTGRES_DSN": "postgresql://b:hidden-word@h/y"}
    with pytest.raises(ConfigError) as raised:
        load_project(tmp_path / "pipelines.yaml", env=env)
    said = str(raised.value)
    assert reason in said
    assert "pipelines.yaml:" in said
    assert "hidden-word" not in said
