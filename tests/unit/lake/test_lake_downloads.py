"""The cache of S3 files: whole, bounded, and never taken away from a reader."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from engine.lake.downloads import Downloads


def fill(downloads: Downloads, data: bytes, asked: list[bytes]) -> Path:
    def download(target: Path) -> None:
        asked.append(data)
        target.write_bytes(data)

    return downloads.get(hashlib.sha256(data).hexdigest(), ".parquet", len(data), download)


def test_a_file_is_downloaded_once_and_again_when_it_is_damaged(tmp_path: Path) -> None:
    asked: list[bytes] = []
    path = fill(Downloads(tmp_path), b"one", asked)
    assert fill(Downloads(tmp_path), b"one", asked) == path
    assert asked == [b"one"]
    path.write_bytes(b"two")
    assert fill(Downloads(tmp_path), b"one", asked).read_bytes() == b"one"
    assert asked == [b"one", b"one"]


def test_the_longest_unused_goes_first_and_nothing_of_the_last_hour(tmp_path: Path) -> None:
    asked: list[bytes] = []
    downloads = Downloads(tmp_path, bound=250)
    old, older, new = (fill(downloads, letter * 100, asked) for letter in (b"a", b"b", b"c"))
    assert all(path.exists() for path in (old, older, new))  # over the bound, but all in use
    for path, hours in ((old, 2), (older, 3)):
        os.utime(path, (time.time() - hours * 3600,) * 2)
    fill(downloads, b"d" * 10, asked)
    assert [path.exists() for path in (old, older, new)] == [True, False, True]
