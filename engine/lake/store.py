"""Where a lake's bytes are: one protocol, with a local folder (folder.py) and a bucket (bucket.py) behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from engine.lake.package import PackageFile
from engine.lake.scratch import Scratch


class Store(Protocol):
    """Paths are relative to the lake, with slashes. Every method raises LakeError and nothing else."""

    where: str
    """The lake as a person knows it: `lake .data/lake` or `lake s3://bucket/prefix`."""

    local: str
    """Where packages are built, as a person knows it: the lake itself, or the cache of a bucket."""

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, None if there is none."""

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """As read, for many at once."""

    def create(self, path: str, data: bytes, scratch: Scratch) -> bool:
        """Create a file that nobody else has, durably and whole. False: there is one already."""

    def newest(self, folder: str, hint: int) -> int:
        """Return the highest sequence number of a log folder, 0 if it is empty. A wrong hint only costs time."""

    def numbers(self, folder: str) -> list[int]:
        """Return every sequence number of a log folder, ascending (a full listing)."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""

    def packages(self) -> Iterator[str]:
        """Yield the path of every package folder, committed or not (a full listing)."""

    def scratch(self) -> Scratch:
        """Return a new scratch folder for a writer; what dead writers left behind is swept first."""

    def has_package(self, path: str) -> bool:
        """Whether something was placed at a package's path, committed or not."""

    def place(self, scratch: Scratch, path: str, names: Sequence[str]) -> None:
        """Move the finished files of a scratch folder to the package's folder, durably."""

    def replace_manifest(self, path: str, data: bytes) -> None:
        """Replace the manifest of a package that is not committed yet."""

    def remove_package(self, path: str) -> None:
        """Remove a package that no entry commits."""

    def fetch(self, path: str, file: PackageFile) -> str:
        """Return a local path of a package's file once its size and checksum are right."""

    def check(self, path: str, file: PackageFile) -> None:
        """Read the stored file itself (no cached copy) and compare size and checksum; LakeError if it is not right."""

    def close(self) -> None:
        """Let go of connections and locks."""
