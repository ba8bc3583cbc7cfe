"""Faults while models are built: kills between statements, runs beside plans, and time that does odd things.

Every case ends in the same tables as a rebuild from the lake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.fake_clock import clock_env, seconds_until
from tests.faults.model_project import ModelProject, ended

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("model faults"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ModelProject:
    """A project after its first run: BTC at 1."""
    project = ModelProject.made(tmp_path_factory.mktemp("models") / "project")
    project.price("first", "1")
    first = project.engine()
    assert first.code == 0, first.text
    return project


@pytest.fixture
def project(built: ModelProject, tmp_path: Path) -> ModelProject:
    """A copy of it."""
    return built.copy(tmp_path / "project")


KILLS = {
    "a staged package is not in yet": r"INSERT INTO .*stage__price_crypto",
    "a satellite's version is not in yet": r"INSERT INTO .*sat_asset_price_crypto",
    "a fact is deleted, and its correction not in yet": r"INSERT INTO .*fct_asset_prices",
    "rows are in, SQLMesh does not know yet (K10)": r"INSERT INTO .*_intervals",
}
ALWAYS = ("a satellite's version is not in yet", "rows are in, SQLMesh does not know yet (K10)")


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(statement, id=name, marks=() if name in ALWAYS else pytest.mark.chaos)
        for name, statement in KILLS.items()
    ],
)
def test_a_kill_between_two_statements(project: ModelProject, tmp_path: Path, statement: str) -> None:
    """K09, K10: the fact of an instant is corrected (its row is deleted, then inserted) while the process is killed."""
    project.price("corrected", "2")
    project.price("new", "3", "2026-05-02T00:00:00Z")
    killed = project.killed_before(statement)
    assert killed.code == -9, f"the kill did not fire: {killed.text}"
    assert project.prices() == [("BTC", "1", "2026-05-01T00:00:00+00:00")], "readers keep the last whole state"
    again = project.engine()
    assert again.code == 0, again.text
    assert project.prices() == [("BTC", "2", "2026-05-01T00:00:00+00:00"), ("BTC", "3", "2026-05-02T00:00:00+00:00")]
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_a_kill_in_the_middle_of_a_promotion(project: ModelProject, tmp_path: Path) -> None:
    """K11: the plan of an edit is killed before its third view; no reader and no later run sees two plans mixed."""
    for model in ("vault/sat_asset_price_crypto", "marts/fct_asset_prices", "stage/price_crypto"):
        project.edit("allow_partials TRUE", "allow_partials TRUE, owner quants", Path(f"transforms/models/{model}.sql"))
    project.edit("  price,\n  volume,", "  price,\n  price * 2 AS doubled,\n  volume,")
    project.price("new", "3", "2026-05-02T00:00:00Z")
    killed = project.killed_before(r"CREATE OR REPLACE VIEW", nth=3)
    assert killed.code == -9, f"the kill did not fire: {killed.text}"
    assert len(project.prices()) == 1
    assert "doubled" not in project.query("SELECT * FROM marts.fct_asset_prices")[0]
    again = project.engine()
    assert again.code == 0, again.text
    assert {row["doubled"] == 2 * row["price"] for row in project.query("SELECT * FROM marts.fct_asset_prices")} == {
        True
    }
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_runs_beside_plans(project: ModelProject, tmp_path: Path) -> None:
    """X03, Z09: a breaking edit is planned by one of two runs that start at once, again and again, while data comes."""
    plain = "  price,\n  volume,"
    for turn in range(3):
        project.edit(plain, plain := f"  price,\n  price * {turn + 2} AS multiple,\n  volume,")
        project.price(f"turn{turn}", str(turn + 5), f"2026-05-0{turn + 2}T00:00:00Z")
        both = [project.start("run", "daily", "--wait", "240"), project.start("run", "daily", "--wait", "240")]
        results = [ended(process) for process in both]
        assert [result.code for result in results] == [0, 0], [result.text for result in results]
    found = project.query("SELECT price, multiple FROM marts.fct_asset_prices ORDER BY observed_at")
    assert [(row["price"], row["multiple"]) for row in found] == [(price, price * 4) for price in (1, 5, 6, 7)]
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_two_runs_of_one_empty_interval(project: ModelProject, tmp_path: Path) -> None:
    """X04: two runs want the same new rows; one has them, the other waits or is told, and nothing is doubled."""
    project.price("new", "3", "2026-05-02T00:00:00Z")
    results = [ended(process) for process in (project.start(), project.start())]
    assert sorted(result.code for result in results) in ([0, 0], [0, 1]), [result.text for result in results]
    for result in results:
        assert result.code == 0 or "is run by process" in result.text or "holds" in result.text, result.text
        assert "Traceback" not in result.text
    assert project.engine().code == 0
    assert len(project.prices()) == 2
    assert project.rebuilds_equal(tmp_path / "fresh") == []


@pytest.mark.chaos
def test_a_migration_while_a_plan_is_applied(project: ModelProject, tmp_path: Path) -> None:
    """X11: while a process builds models , SQLMesh's own `migrate` is told who that is."""
    project.edit("  price,\n  volume,", "  price,\n  price * 2 AS doubled,\n  volume,")
    project.price("new", "3", "2026-05-02T00:00:00Z")
    sqlmesh = [str(Path(sys.executable).with_name("sqlmesh")), "-p", "transforms", "migrate"]
    with project.writing():
        migration = subprocess.run(
            sqlmesh, cwd=project.folder, capture_output=True, text=True, timeout=280, check=False
        )
    told = migration.stdout + migration.stderr
    assert migration.returncode != 0, "it migrated beside a writer"
    assert f"process {os.getpid()}" in told, told
    assert "Traceback" not in told, told
    assert subprocess.run(sqlmesh, cwd=project.folder, capture_output=True, timeout=280, check=False).returncode == 0
    assert project.engine().code == 0
    assert len(project.prices()) == 2
    assert project.rebuilds_equal(tmp_path / "fresh") == []


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", "2026-03-29T00:56:00+00:00"),
        pytest.param("America/New_York", "2026-11-01T05:56:00+00:00", marks=pytest.mark.chaos),
    ],
)
def test_the_hours_that_summer_time_takes_and_gives(tmp_path: Path, zone: str, change: str) -> None:
    """T01: runs before, in and after the hour in which local clocks jump build each 5-minute interval of UTC once."""
    project = ModelProject.made(tmp_path / "project")
    start = datetime.fromisoformat(change).timestamp()
    for number, minutes in enumerate((0, 9, 70)):
        project.price(f"{number}", str(number + 1), f"2026-03-0{number + 1}T00:00:00Z")
        env = {**clock_env(seconds=seconds_until(start + 60 * minutes)), "TZ": zone}
        run = project.engine(env=env)
        assert run.code == 0, run.text
    assert [price for _, price, _ in project.prices()] == ["1", "2", "3"]
    arrivals = [row["arrived_at"] for row in project.query("SELECT arrived_at FROM landing._packages ORDER BY 1")]
    assert [round((at.timestamp() - start) / 60) for at in (arrivals[0], arrivals[-1])] == [0, 70], "no fake clock"
    intervals = built_intervals(project, "fct_asset_prices")
    assert all(end > begin for begin, end in intervals)
    assert all(later == earlier for (_, earlier), (later, _) in pairwise(intervals)), intervals
    newest = arrivals[-1].astimezone(UTC).timestamp() * 1000
    assert intervals[-1][1] > newest


def built_intervals(project: ModelProject, model: str) -> list[tuple[int, int]]:
    """What SQLMesh has built of a model, merged, in milliseconds since 1970."""
    import duckdb

    with duckdb.connect(str(project.state), read_only=True) as connection:
        rows = connection.execute(
            "SELECT start_ts, end_ts FROM sqlmesh._intervals WHERE name LIKE ? AND NOT is_removed ORDER BY start_ts",
            [f"%{model}%"],
        ).fetchall()
    merged: list[tuple[int, int]] = []
    for begin, end in rows:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def test_data_that_is_three_days_late(project: ModelProject, tmp_path: Path) -> None:
    """T05: three days late, and three days late across the end of a month."""
    for name, at in (
        ("now", "2026-05-08T12:00:00Z"),
        ("late", "2026-05-05T12:00:00Z"),
        ("month", "2026-04-29T12:00:00Z"),
    ):
        project.price(name, "7", at)
        assert project.engine().code == 0
    assert sorted(at[:10] for _, _, at in project.prices()) == ["2026-04-29", "2026-05-01", "2026-05-05", "2026-05-08"]
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_events_and_arrivals_on_the_edge_of_an_interval(project: ModelProject, tmp_path: Path) -> None:
    """T06: events at 12:05:00 and a microsecond before, in packages that arrive at such instants: each counts once."""
    for name, at in (("before", "2026-05-01T12:04:59.999999Z"), ("at", "2026-05-01T12:05:00Z")):
        project.price(name, "7", at)
    assert project.engine("run", "daily").code == 0
    edge = datetime.now(UTC).replace(hour=12, minute=5, second=0, microsecond=0)
    meant = {edge + timedelta(days=2 + apart, microseconds=apart) for apart in (-1, 0, 1)}  # ahead of the clock
    for instant in sorted(meant):
        # the next package arrives a microsecond behind the fence
        fence = f"TIMESTAMPTZ '{instant - timedelta(microseconds=1)}'"
        project.write(f"UPDATE landing._model_runs SET until = {fence}")
        project.price(f"{instant:day %d}", "8", f"2026-06-{instant:%d}T12:05:00Z")
        assert project.engine("run", "daily").code == 0
    arrived = {row["arrived_at"] for row in project.query("SELECT arrived_at FROM landing._packages")}
    assert meant <= arrived, arrived
    assert len(project.prices()) == 6
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_an_event_of_the_future_hides_nothing(project: ModelProject, tmp_path: Path) -> None:
    """T07: a price ten years ahead moves no watermark: what comes after it is not missed."""
    project.price("future", "9", "2036-05-01T00:00:00Z")
    assert project.engine().code == 0
    project.price("after", "2", "2026-05-02T00:00:00Z")
    assert project.engine().code == 0
    assert [price for _, price, _ in project.prices()] == ["1", "2", "9"]
    assert project.rebuilds_equal(tmp_path / "fresh") == []


@pytest.mark.parametrize("state", ["older", "lost"])
def test_the_state_of_the_models_is_older_or_lost(project: ModelProject, tmp_path: Path, state: str) -> None:
    """B03: the marts are what a rebuild makes of them."""
    yesterday = project.state.read_bytes()
    project.price("corrected", "2")
    project.price("new", "3", "2026-05-02T00:00:00Z")
    assert project.engine().code == 0
    if state == "older":
        assert project.state.read_bytes() != yesterday
        project.state.write_bytes(yesterday)
    else:
        project.state.unlink()
    project.price("later", "4", "2026-05-03T00:00:00Z")
    again = project.engine()
    assert again.code == 0, again.text
    assert [price for _, price, _ in project.prices()] == ["2", "3", "4"]
    assert project.rebuilds_equal(tmp_path / "fresh") == []
