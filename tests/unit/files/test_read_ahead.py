"""The first new file is begun while dlt is imported; what comes of it is what came without."""

import itertools
import os
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.files import resource as files
from sources.files.ahead import Reading
from sources.files.listing import Found
from sources.files.spool import Spool

ALONE = """
import sys, threading
from datetime import UTC, datetime
from pathlib import Path
from sources.files import resource
from sources.files.settings import FilesSource
from sources.protocol import SourceContext
resource.AHEAD_BYTES = 0
imported = []

def hook(event, args):
    if event == "import" and threading.current_thread() is not threading.main_thread():
        imported.append(args[0])

sys.addaudithook(hook)
for kind, more in (("csv", {"encoding": "utf-16"}), ("jsonl", {}), ("parquet", {})):
    block = {"type": "files", "path": ".", "settle_seconds": 0, "resources": {"t": {"files": "*." + kind, **more}}}
    here = Path()
    ctx = SourceContext("s", {}, datetime.now(UTC), here, here, print)
    [one] = FilesSource.model_validate(block).resources_of("s", {})
    reading = one.ahead(ctx, {})
    reading.content(print)
    reading.close()
print(imported)
"""
FILE = Found("a.csv", "in/a.csv", "1:1", 1, 1.0)
CSV = {"files": "*.csv", "columns": {"x": {"type": "bigint"}, "y": {"type": "text"}}}


@pytest.fixture(autouse=True)
def begun(monkeypatch):
    """The names of files that were taken from ahead; no file is too small for it."""
    taken = []
    take = Reading.take

    def noted(self, file):
        mine = take(self, file)
        taken.extend([file.name] * mine)
        return mine

    monkeypatch.setattr(Reading, "take", noted)
    monkeypatch.setattr(files, "AHEAD_BYTES", 0)
    return taken


def nothing():
    pass


def rows(pages):
    return [row for page in pages for row in page.to_pylist()]


def test_the_first_new_file_is_read_ahead_and_lands_once(reading, begun):
    for name, x in (("a.csv", 1), ("b.csv", 2), ("c.csv", 3)):
        (reading.folder / name).write_text(f"x,y\n{x},one\n")
    (first, _), state = reading(CSV), dict(reading.state)
    reading.state.clear()
    (again, notices) = reading(CSV, meanwhile=nothing)
    assert begun == ["a.csv"]
    assert (rows(again), reading.state, notices) == (rows(first), state, [])
    (reading.folder / "d.csv").write_text("x,y\n4,one\n")
    assert [row["_file"] for row in rows(reading(CSV, meanwhile=nothing)[0])] == ["d.csv"]
    assert begun == ["a.csv", "d.csv"]
    assert reading(CSV, meanwhile=nothing) == ([], [])


def test_a_file_that_changes_after_it_was_read_ahead_is_read_again(reading, begun):
    path = reading.folder / "a.csv"
    path.write_text("x,y\n1,one\n")

    def changed():
        path.write_text("x,y\n1,one\n2,two\n")

    pages, notices = reading(CSV, meanwhile=changed)
    assert ([row["x"] for row in rows(pages)], notices, begun) == (["1", "2"], [], [])


def test_what_is_wrong_with_a_file_read_ahead_is_told_once(reading, begun):
    (reading.folder / "a.csv").write_text("z\n1\n")
    (reading.folder / "b.csv").write_text("x\n1\n")
    pages, notices = reading(CSV, meanwhile=nothing)
    assert [row["_file"] for row in rows(pages)] == ["b.csv"]
    assert begun == ["a.csv"]
    [(first, broken), (second, absent)] = notices
    assert (first, second) == ("a.csv", "b.csv")
    assert "none of the declared columns" in broken
    assert "has no column for y" in absent
    assert reading.untold == []


def test_a_notice_about_a_file_read_ahead_reaches_the_run(reading, begun):
    (reading.folder / "a.csv").write_text("x\n1\n")
    _, notices = reading(CSV, meanwhile=nothing)
    assert (begun, notices) == (["a.csv"], [("a.csv", "has no column for y: null")])


@pytest.mark.parametrize("why", ["small", "young", "many", "no folder"])
def test_what_is_not_worth_it_is_not_begun(reading, begun, monkeypatch, why):
    path = reading.folder / "a.csv"
    path.write_text("x,y\n1,one\n")
    os.utime(path, (time.time() + (why == "young"),) * 2)
    source = {"settle_seconds": 0.3} if why == "young" else {}
    if why == "small":
        monkeypatch.setattr(files, "AHEAD_BYTES", 1_000)
    if why == "many":
        monkeypatch.setattr(files, "AHEAD_FILES", -1)
    if why == "no folder":
        path.unlink()
        reading.folder.rmdir()
        reading(CSV, meanwhile=reading.folder.mkdir, **source)
    else:
        assert len(reading(CSV, meanwhile=nothing, **source)[0]) == 1
    assert begun == []


def test_what_is_never_taken_is_broken_off_and_freed(tmp_path):
    started = threading.Event()

    def read(spool, _):
        spool.fill(started.set() or [{"x": at}] for at in itertools.count())

    spool = Spool(tmp_path)
    reading = Reading(FILE, spool, read)
    assert started.wait(10)
    reading.close()
    assert (spool._file.closed, spool.rows, reading.take(FILE)) == (True, 0, False)


def test_what_was_taken_is_left_alone(tmp_path):
    spool = Spool(tmp_path)
    reading = Reading(FILE, spool, lambda spool, _: spool.fill([[{"x": 1}]]) or "mark")
    assert [reading.take(FILE), reading.take(FILE)] == [True, False]
    reading.close()
    assert (reading.content(nothing), list(spool.pages()), spool.given_up) == ("mark", [[{"x": 1}]], False)
    spool.close()


def test_a_file_that_is_gone_frees_what_was_read_of_it(reading, begun, monkeypatch):
    closed = []
    close = Reading.close
    monkeypatch.setattr(Reading, "close", lambda self: closed.append(self.file.name) or close(self))
    path = reading.folder / "a.csv"
    path.write_text("x,y\n1,one\n")
    assert reading(CSV, meanwhile=path.unlink) == ([], [])
    assert (begun, closed) == ([], ["a.csv"])


def test_the_thread_that_reads_ahead_imports_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-16")
    (tmp_path / "a.jsonl").write_text('{"x": 1.5}\n')
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    told = subprocess.check_output([sys.executable, "-c", ALONE], cwd=tmp_path, text=True)
    assert told.splitlines()[-1] == "[]"
