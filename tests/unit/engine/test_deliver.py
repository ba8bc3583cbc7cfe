import pytest

from destinations import open_destination
from engine.config.load import load_project
from engine.progress import Silent
from engine.query import query
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


def test_an_ordinary_run_loads_only_the_tables_of_its_own_pipeline(project):
    report = Runner(project, Silent()).run("one")
    assert [d.packages for d in report.destinations] == [1]
    assert rows(project, "raw_first") == ["first"]
    assert rows(project, "raw_second") == []
