"""A run has each source's first file begun before dlt is there, lands what it holds once, and goes on without it."""

import subprocess
import sys

import pytest

from engine.config.load import load_project
from engine.progress import Silent
from engine.run import Runner
from sources.files import resource as files
from sources.files.ahead import Reading

PIPELINES = """
profiles:
  local: {data: .data, lake: {type: filesystem, path: .data/lake}}
sources:
  first:
    type: files
    path: in
    settle_seconds: 0
    resources: {raw_first: {files: "first-*.csv"}, raw_more: {files: "more-*.csv"}}
  second: {type: files, path: in, settle_seconds: 0, resources: {raw_second: {files: "second-*.csv"}}}
pipelines:
  one: {extract: [first, second]}
"""
OUTLIVES = """
import gc, weakref
from pathlib import Path
from engine.config.load import load_project
from engine.progress import Silent
from engine.run import Runner
from sources.files import resource
from sources.files.ahead import Reading
resource.AHEAD_BYTES, begin, begun = 0, Reading.__init__, []

def noted(self, *args):
    begun.append(weakref.ref(self))
    begin(self, *args)

Reading.__init__ = noted
report = Runner(load_project(Path("pipelines.yaml"), env={}), Silent()).run("one")
gc.collect()
print(sum(each.rows for each in report.resources if each.table == "raw_first"), [reading() for reading in begun])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "AHEAD_BYTES", 0)
    (tmp_path / "pipelines.yaml").write_text(PIPELINES)
    (tmp_path / "in").mkdir()
    for name in ("first-1", "first-2", "more-1", "second-1"):
        (tmp_path / "in" / f"{name}.csv").write_text("x\n1\n2\n")
    return load_project(tmp_path / "pipelines.yaml", env={})


@pytest.fixture
def begun(monkeypatch):
    readings = []
    begin = Reading.__init__

    def noted(self, *args):
        readings.append(self)
        begin(self, *args)

    monkeypatch.setattr(Reading, "__init__", noted)
    return readings


def names(begun):
    return [reading.file.name for reading in begun]


def landed(project):
    report = Runner(project, Silent()).run("one")
    return report.failures, {resource.table: resource.rows for resource in report.resources}


def test_the_first_file_of_each_source_is_begun_and_every_file_lands_once(project, begun):
    assert landed(project) == ([], {"raw_assets": 0, "raw_first": 4, "raw_more": 2, "raw_second": 2})
    assert names(begun) == ["first-1.csv", "second-1.csv"]
    assert landed(project) == ([], {"raw_assets": 0, "raw_first": 0, "raw_more": 0, "raw_second": 0})
    assert names(begun) == ["first-1.csv", "second-1.csv"]


def test_a_run_goes_on_where_nothing_can_be_begun(project, begun, monkeypatch):
    def refused(*_):
        raise OSError

    monkeypatch.setattr(files, "begin_first", refused)
    assert landed(project) == ([], {"raw_assets": 0, "raw_first": 4, "raw_more": 2, "raw_second": 2})
    assert begun == []


def test_what_a_stopped_run_has_begun_ends_with_it(project, begun, monkeypatch):
    runner = Runner(project, Silent())
    monkeypatch.setattr(runner, "_needs_pandas", lambda _: runner.stop.set())
    assert all(resource.status == "failed" for resource in runner.run("one").resources)
    assert [reading.spool._file.closed for reading in begun] == [True, True]
    assert landed(project) == ([], {"raw_assets": 0, "raw_first": 4, "raw_more": 2, "raw_second": 2})
    assert names(begun) == ["first-1.csv", "second-1.csv"] * 2


def test_nothing_of_a_file_read_ahead_outlives_its_run(project, tmp_path):
    """In a process of its own: what keeps things alive is a traceback from dlt's first import."""
    (tmp_path / "in" / "first-1.csv").write_text("x\n1\n1,2\n")
    told = subprocess.check_output([sys.executable, "-c", OUTLIVES], cwd=tmp_path, text=True)
    assert told == "2 [None, None]\n"
