import json
import os
import shutil
import threading
import time

import pyarrow as pa
import pytest
from dlt.extract.exceptions import ResourceExtractionError

from engine.errors import SourceError
from sources.files.listing import local_files, pattern
from sources.files.seen import Seen


def names(pages):
    out = []
    for page in pages:
        out += page.column("_file").to_pylist() if isinstance(page, pa.Table) else [row["_file"] for row in page]
    return out


def test_files_come_once_in_name_order(reading):
    for name in ("b.csv", "a.csv", "c.csv"):
        (reading.folder / name).write_text("x\n1\n")
    assert names(reading()[0]) == ["a.csv", "b.csv", "c.csv"]
    assert names(reading()[0]) == []
    (reading.folder / "aa.csv").write_text("x\n1\n")
    assert names(reading()[0]) == ["aa.csv"]


def test_the_content_decides_whether_a_touched_file_is_new(reading):
    path = reading.folder / "a.csv"
    path.write_text("x\n1\n")
    reading()
    os.utime(path, (1, 1))
    assert names(reading()[0]) == []
    copy = reading.folder / "copy"
    shutil.copyfile(path, copy)
    copy.replace(path)
    assert names(reading()[0]) == []
    path.write_text("x\n2\n")
    os.utime(path, (1, 1))
    assert names(reading()[0]) == ["a.csv"], "same size and time of change, other content, is seen once the stamp moves"


def test_a_run_that_does_not_commit_its_state_reads_the_file_again(reading):
    (reading.folder / "a.csv").write_text("x\n1\n")
    before = json.loads(json.dumps(reading.state))
    first = reading()[0]
    reading.state.clear()
    reading.state.update(before)
    assert [page.to_pylist() for page in reading()[0]] == [page.to_pylist() for page in first]


def test_a_file_that_grows_between_two_looks_waits(reading):
    path = reading.folder / "a.csv"
    path.write_text("x\n1\n")
    done = threading.Event()

    def write():
        while not done.wait(0.02):
            with path.open("a") as file:
                file.write("2\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pages, notices = reading(settle_seconds=0.3)
    finally:
        done.set()
        writer.join()
    assert pages == []
    assert notices == [("a.csv", "it is still being written: left for the next run")]
    assert names(reading(settle_seconds=0.2)[0])[:1] == ["a.csv"], "quiet since: a second look is enough"


def test_an_old_file_is_not_waited_for(reading):
    (reading.folder / "a.csv").write_text("x\n1\n")
    os.utime(reading.folder / "a.csv", (1, 1))
    start = time.monotonic()
    assert names(reading(settle_seconds=30)[0]) == ["a.csv"]
    assert time.monotonic() - start < 5


def test_links_out_of_the_folder_are_refused(reading):
    secret = reading.context_dir / "secret.csv"
    secret.write_text("x\nsecret\n")
    (reading.folder / "inside.csv").write_text("x\n1\n")
    (reading.folder / "link.csv").symlink_to(reading.folder / "inside.csv")
    (reading.folder / "out.csv").symlink_to(secret)
    (reading.folder / "sub").symlink_to(reading.context_dir)
    (reading.folder / "dangling.csv").symlink_to(reading.folder / "nothing.csv")
    pages, notices = reading({"files": ["*.csv", "**/*.csv"]})
    assert names(pages) == ["inside.csv", "link.csv"]
    assert sorted(item for item, _ in notices) == ["dangling.csv", "out.csv"]


def test_control_characters_in_names_are_refused_and_shown_escaped(reading):
    (reading.folder / "a\n\x1b[31m.csv").write_text("x\n1\n")
    (reading.folder / os.fsdecode(b"\xff.csv")).write_text("x\n1\n")
    pages, notices = reading()
    assert pages == []
    assert all(item.isprintable() for item, _ in notices)
    assert len(notices) == 2


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "x/a.csv", False),
        ("*.csv", ".a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "x/y/a.csv", True),
        ("**/*.csv", "x/.y/a.csv", False),
        ("x/*-1d.csv", "x/BTC-1d.csv", True),
        ("x/*-1d.csv", "y/BTC-1d.csv", False),
        ("[ab]?.csv", "a1.csv", True),
        ("[!ab]?.csv", "a1.csv", False),
        ("a+b.csv", "aab.csv", False),
    ],
)
def test_glob(glob, name, matches):
    assert bool(pattern((glob,)).match(name)) is matches


def test_a_missing_folder_says_what_to_do(reading):
    with pytest.raises(ResourceExtractionError) as caught:
        reading(path="in2")
    error = caught.value.__cause__
    assert isinstance(error, SourceError)
    assert error.terminal
    assert "there is no folder in2" in str(error)
    assert "path" in error.remedy


def test_state_stays_small_and_listing_fast_with_many_files(tmp_path):
    state: dict = {}
    seen = Seen.of(state)
    for number in range(100_000):
        seen.keep(f"2024/prices-{number}.csv", f"{number}:1", f"{number:064x}")
    assert len(json.dumps(state, separators=(",", ":"))) < 4_500_000
    for number in range(2_000):
        (tmp_path / f"prices-{number}.csv").touch()
    start = time.monotonic()
    found = local_files(tmp_path, ("*.csv",), lambda *_, **__: None)
    assert not any(seen.unchanged("2024/" + file.name, file.stamp) for file in found)
    assert len(found) == 2_000
    assert time.monotonic() - start < 20
