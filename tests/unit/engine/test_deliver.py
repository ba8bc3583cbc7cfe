import io
import os
import re
import shutil
import threading
import time
from datetime import UTC, datetime

import pytest

from destinations import open_destination
from destinations.ducklake import DucklakeWarehouse
from engine.config.load import load_project
from engine.errors import DestinationError
from engine.ledger import Ledger
from engine.locks import hold
from engine.progress import PlainLines, Silent
from engine.query import query
from engine.rebuilding import Rebuilding
from engine.run import Runner

PIPELINES = """
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: .data/lake}
    warehouse: {type: ducklake, path: .data/warehouse}
sources:
  first: {type: files, path: first, settle_seconds: 0, resources: {raw_first: {files: "*.csv"}}}
  second: {type: files, path: second, settle_seconds: 0, resources: {raw_second: {files: "*.csv"}}}
pipelines:
  one: {extract: [first], load: [warehouse]}
  two: {extract: [second], load: [warehouse]}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pipelines.yaml").write_text(PIPELINES)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text(f"x\n{name}\n")
    return load_project(tmp_path / "pipelines.yaml", env={})


def warehouse(project):
    return open_destination("warehouse", project.destinations["warehouse"], project.project_dir, project.data_dir)


def rows(project, table):
    return [row[0] for row in query(warehouse(project), f"SELECT source FROM landing.{table}").rows]


def test_a_replay_that_was_interrupted_is_finished_by_the_next_run_of_any_pipeline(project):
    runner = Runner(project, Silent())
    assert [runner.run(name).status for name in ("one", "two")] == ["ok", "ok"]
    marker = project.data_dir / "state" / "rebuilding-warehouse"
    marker.touch()
    with warehouse(project) as opened:  # what a replay has done when it dies right after it emptied landing
        opened.reset()
        opened.publish()
    report = Runner(project, Silent()).run("one")
    assert report.status == "ok"
    assert rows(project, "raw_first") == ["first"]
    assert rows(project, "raw_second") == ["second"]
    assert not marker.exists()


def test_a_replay_without_a_model_ends(project):
    """With transforms/seeds/assets.csv alone, as of a project that has assets and no models."""
    (project.project_dir / "transforms" / "seeds").mkdir(parents=True)
    (project.project_dir / "transforms" / "seeds" / "assets.csv").write_text("asset_type,asset_symbol\n")
    runner = Runner(project, Silent())
    assert runner.run("one").status == "ok"
    assert runner.replay(None).failures == []
    assert not (project.data_dir / "state" / "rebuilding-warehouse").exists()
    assert runner.run("one").failures == []
    assert rows(project, "raw_first") == ["first"]


def test_an_ordinary_run_loads_only_the_tables_of_its_own_pipeline(project):
    report = Runner(project, Silent()).run("one")
    assert [d.packages for d in report.destinations] == [2]  # the assets come with every pipeline
    assert rows(project, "raw_first") == ["first"]
    assert rows(project, "raw_second") == []


def emptied(project):
    """What a replay leaves when it went as far as emptying the warehouse."""
    return [name for name in ("first", "second") if rows(project, f"raw_{name}") != [name]]


@pytest.fixture
def loaded(project):
    runner = Runner(project, Silent())
    assert [runner.run(name).status for name in ("one", "two")] == ["ok", "ok"]
    return project


def parts(project):
    return sorted((project.project_dir / ".data/lake").glob("*/*/*/*/part-00000.parquet"))


@pytest.mark.parametrize("lost", ["lake", "table"])
def test_a_replay_from_a_lake_that_has_less_is_refused_before_anything_is_emptied(loaded, lost):
    lake = loaded.project_dir / ".data/lake"
    shutil.rmtree(lake if lost == "lake" else lake / "_log" / "raw_second")
    shutil.rmtree(loaded.data_dir / "cache", ignore_errors=True)
    report = Runner(loaded, Silent()).replay(None)
    [line] = report.destinations[0].errors
    assert "holds 1 package of raw_" in line
    assert "only 0" in line
    assert "restore the lake" in line
    with warehouse(loaded) as opened:
        assert {"raw_first", "raw_second"} <= set(opened.cursors())
    assert report.transforms == []
    assert not (loaded.data_dir / "state" / "rebuilding-warehouse").exists()


@pytest.mark.parametrize("damage", [lambda part: part.unlink(), lambda part: part.write_bytes(b"other")])
def test_a_replay_from_a_damaged_lake_is_refused_before_anything_is_emptied(loaded, damage):
    part = next(part for part in parts(loaded) if "raw_second" in part.parts)
    part_copy = part.read_bytes()
    damage(part)
    report = Runner(loaded, Silent()).replay(None)
    assert any("nothing was emptied" in line and "raw_second" in line for line in report.destinations[0].errors)
    with warehouse(loaded) as opened:
        assert {"raw_first", "raw_second"} <= set(opened.cursors())
    part.unlink(missing_ok=True)
    part.write_bytes(part_copy)
    assert Runner(loaded, Silent()).replay(None).status == "ok"
    assert emptied(loaded) == []


def test_a_rebuild_that_cannot_load_everything_is_not_published(loaded):
    marker = loaded.data_dir / "state" / "rebuilding-warehouse"
    marker.touch()
    with warehouse(loaded) as opened:  # a replay died right after it emptied landing, and then a package was lost
        opened.reset()
    part = next(part for part in parts(loaded) if "raw_second" in part.parts)
    aside = part.rename(loaded.project_dir / "aside")
    report = Runner(loaded, Silent()).run("one")
    assert report.destinations[0].errors
    assert report.transforms == []
    assert rows(loaded, "raw_first") == ["first"]  # what readers had before
    assert marker.exists()
    aside.rename(part)
    assert Runner(loaded, Silent()).run("one").status == "ok"
    assert emptied(loaded) == []
    assert not marker.exists()


def test_an_unexpected_exception_is_one_line_of_its_own_destination(project, monkeypatch):
    def odd(*_args, **_kwargs):
        raise AttributeError("no such thing\nand more")

    monkeypatch.setattr("engine.load.catch_up", odd)
    report = Runner(project, Silent()).run("one")
    assert report.destinations[0].errors == [
        "warehouse: AttributeError: no such thing — Run again with --debug for the whole story."
    ]
    assert report.status == "partial"
    assert [run.status for run in Ledger(project.data_dir).last()] == ["partial"]


def test_an_unexpected_exception_of_the_models_leaves_the_load_as_it_is(project, monkeypatch):
    def odd(*_args, **_kwargs):
        raise RuntimeError

    monkeypatch.setattr("engine.models.transform.transform", odd)
    report = Runner(project, Silent()).run("one")
    assert [each.status for each in report.destinations] == ["loaded"]
    [transformed] = report.transforms
    assert (transformed.status, transformed.error) == ("failed", "RuntimeError")
    assert report.failures == ["warehouse: RuntimeError — Run again with --debug for the whole story."]


def test_lines_name_models_without_their_catalog_and_count_one_as_one(project, monkeypatch):
    def one_model(*_args, say, **_kwargs):
        say("lake.stage.company")
        say("planning")
        return 1

    class Updates(PlainLines):
        def update(self, step, text):
            self.say(step, text)

    said = io.StringIO()
    monkeypatch.setattr("engine.models.transform.transform", one_model)
    Runner(project, Updates(said, str)).run("one")
    lines = [line.partition("  [run ")[0] for line in said.getvalue().splitlines()]
    assert "  ... transform warehouse: stage.company" in lines
    assert "  ... transform warehouse: planning" in lines
    assert any(re.fullmatch(r"  ok  transform warehouse: 1 model, [\d.]+ s", line) for line in lines)
    assert any(re.fullmatch(r"  ok  load warehouse: 1 row in 2 packages, [\d.]+ s", line) for line in lines), lines


@pytest.mark.parametrize("lake", ["whole", "gone"])
def test_a_replay_puts_a_catalog_aside_that_cannot_be_opened(loaded, lake):
    folder = loaded.project_dir / ".data/warehouse"
    catalog = folder / "catalog.sqlite"
    catalog.write_bytes(b"no database" * 5000)
    for name in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    assert "damaged" in Runner(loaded, Silent()).run("one").destinations[0].errors[0]
    if lake == "gone":
        shutil.rmtree(loaded.project_dir / ".data/lake")
        shutil.rmtree(loaded.data_dir / "cache", ignore_errors=True)
        assert "damaged" in Runner(loaded, Silent()).replay(None).destinations[0].errors[0]
        assert catalog.read_bytes().startswith(b"no database")
        return
    assert Runner(loaded, Silent()).replay(None).status == "ok"
    assert emptied(loaded) == []
    [kept] = folder.glob("catalog.sqlite.damaged-*")
    assert kept.read_bytes().startswith(b"no database")


@pytest.mark.parametrize("kind", ["ducklake", "duckdb"])
def test_a_second_writer_waits_as_long_as_it_is_told_and_says_so(project, kind):
    folder = project.project_dir
    (folder / "pipelines.yaml").write_text(PIPELINES.replace("type: ducklake", f"type: {kind}"))
    project = load_project(folder / "pipelines.yaml", env={})
    said = io.StringIO()
    with warehouse(project):
        started = time.monotonic()
        report = Runner(project, PlainLines(said, str), wait_seconds=1.0).run("one")
        assert time.monotonic() - started < 30
    [line] = report.destinations[0].errors
    assert f"process {os.getpid()}" in line
    assert "--wait" in line
    waits = [line for line in said.getvalue().splitlines() if "waiting" in line]
    assert len(waits) == 1
    assert re.match(
        rf"  \.\.\. load warehouse: waiting up to 1 s: process {os.getpid()} .* holds destination", waits[0]
    )
    assert Runner(project, Silent(), wait_seconds=0.0).run("one").status == "ok"


def test_a_run_that_queued_begins_when_the_other_has_ended(project):
    held, ended = threading.Event(), []

    def other():
        with hold(project.data_dir / "locks" / "pipeline-one.lock", "pipeline one"):
            held.set()
            time.sleep(1)
            ended.append(datetime.now(UTC))

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    Runner(project, Silent(), wait_seconds=30.0).run("one")
    thread.join()
    [run] = Ledger(project.data_dir).last("one")
    assert datetime.fromisoformat(run.started_at) >= ended[0]
    assert datetime.fromisoformat(run.report["started_at"]) >= ended[0].replace(microsecond=0)


def test_a_replay_that_died_before_anything_was_forgotten_forgets_it_in_the_next_run(loaded, monkeypatch):
    monkeypatch.setattr(DucklakeWarehouse, "reset", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    assert "killed" in " ".join(Runner(loaded, Silent()).replay(None).failures)
    monkeypatch.undo()
    with warehouse(loaded) as opened:  # why somebody asked for a replay: rows are gone, and the cursor does not know
        opened._writer.execute("DELETE FROM landing.raw_first")
        opened.publish()
    assert emptied(loaded) == ["first"]
    assert Runner(loaded, Silent()).run("two").status == "ok"
    assert emptied(loaded) == []
    assert not (loaded.data_dir / "state" / "rebuilding-warehouse").exists()


def test_a_replay_that_is_refused_with_nothing_emptied_holds_up_no_later_run(loaded, monkeypatch):
    def refused(*_):
        raise DestinationError("warehouse", "a view of yours stands on it", "Drop it.")

    monkeypatch.setattr(DucklakeWarehouse, "reset", refused)
    assert "a view of yours" in " ".join(Runner(loaded, Silent()).replay(None).failures)
    assert not (loaded.data_dir / "state" / "rebuilding-warehouse").exists()
    assert Runner(loaded, Silent()).run("two").status == "ok"  # it would be refused as well, if it tried again


def test_a_note_about_another_place_is_none(loaded):
    settings = loaded.destinations["warehouse"]
    note = Rebuilding(loaded.data_dir, "warehouse", settings.model_copy(update={"path": "elsewhere"}))
    note.note(emptied=True)
    assert note.emptied
    assert not Rebuilding(loaded.data_dir, "warehouse", settings).under_way
    assert Runner(loaded, Silent()).run("one").destinations[0].packages == 0


def test_a_replay_into_another_type_is_refused_before_anything_is_emptied(loaded):
    path = loaded.path
    text = path.read_text()
    second = 'raw_second: {files: "*.csv"'
    assert second in text
    path.write_text(text.replace(second, f"{second}, columns: {{x: {{type: bigint}}}}"))
    edited = load_project(path, env={})
    report = Runner(edited, Silent()).replay(None)
    [line] = report.destinations[0].errors
    for word in (
        "nothing was emptied",
        "raw_second",
        "landed as text",
        "declared as bigint",
        "Give the column the type back",
    ):
        assert word in line
    assert emptied(loaded) == []
    assert not (loaded.data_dir / "state" / "rebuilding-warehouse").exists()
    path.write_text(text)
    assert Runner(loaded, Silent()).replay(None).status == "ok"
