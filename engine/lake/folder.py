"""A lake in a local folder (or a mounted network folder)."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import LakeError
from engine.lake.causes import named
from engine.lake.names import safe_package_path
from engine.lake.package import PackageFile
from engine.lake.probing import last_consecutive
from engine.lake.scratch import Intent, Scratch, make_folder, sweep, sync_folder, write_new
from engine.lake.settle import settle
from engine.lake.stored import changed, gap, missing, truncated

STAGING = "_staging"


class FolderStore:
    """Every file is on one file system, so a rename moves a package whole and a hard link creates an entry whole."""

    def __init__(self, root: Path, shown: str) -> None:
        """`shown` is the path as the user wrote it. The folder is made by the first writer, not here."""
        self.where = self.local = f"lake {shown}"
        self._root = root.resolve()
        self._verified: dict[str, tuple[int, ...]] = {}

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, None if there is none."""
        with named(self.where, str(self._root)):
            try:
                handle = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
            with os.fdopen(handle, "rb") as file:
                return file.read()

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """As read, for many."""
        return [self.read(path) for path in paths]

    def create(self, path: str, data: bytes, scratch: Scratch) -> bool:
        """Write beside the lock, sync, then link to the final name: a link never replaces what is there."""
        target = self._root / path
        self._no_link(target.parent, path)
        with named(self.where, str(self._root)):
            make_folder(target.parent)
            scratch.entry_file.unlink(missing_ok=True)
            write_new(scratch.entry_file, data)
            try:
                os.link(scratch.entry_file, target, follow_symlinks=False)
            except FileExistsError:
                return False
            finally:
                scratch.entry_file.unlink(missing_ok=True)
            sync_folder(target.parent)
            return True

    def newest(self, folder: str, hint: int) -> int:
        """Probe forward from a good hint; list the folder without one."""
        log = self._root / folder

        def exists(number: int) -> bool:
            return os.path.lexists(log / f"{number:020d}.json")

        with named(self.where, str(self._root)):
            if hint and exists(hint):
                newest = last_consecutive(exists, hint)
                if exists(newest + 2):
                    raise gap(self.where, folder, newest + 1)
                return newest
        numbers = self.numbers(folder)
        newest = numbers[-1] if numbers else 0
        if newest != len(numbers):
            raise gap(self.where, folder, min(set(range(1, newest)) - set(numbers)))
        return newest

    def numbers(self, folder: str) -> list[int]:
        """Return every sequence number of a log folder, ascending."""
        with named(self.where, str(self._root)):
            try:
                with os.scandir(self._root / folder) as entries:
                    names = [entry.name for entry in entries if entry.name.endswith(".json")]
            except FileNotFoundError:
                return []
            return sorted(int(name[:-5]) for name in names if name[:-5].isdecimal())

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder; links are not followed."""
        with named(self.where, str(self._root)):
            try:
                with os.scandir(self._root / folder) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                return []

    def packages(self) -> Iterator[str]:
        """Yield the path of every package folder."""
        for source in self.folders("."):
            if not source.startswith("_"):
                for table in self.folders(source):
                    for day in self.folders(f"{source}/{table}"):
                        for load_id in self.folders(f"{source}/{table}/{day}"):
                            yield f"{source}/{table}/{day}/{load_id}"

    def scratch(self) -> Scratch:
        """Sweep, then open a scratch folder in the lake itself."""

        def settled(intent: Intent) -> None:
            settle(self, intent)

        with named(self.where, str(self._root)):
            staging = self._root / STAGING
            sweep(staging, settled, grace=0.0)
            return Scratch(staging)

    def has_package(self, path: str) -> bool:
        """Whether the folder is there."""
        return os.path.lexists(self._inside(path))

    def place(self, scratch: Scratch, path: str, names: Sequence[str]) -> None:
        """Rename the scratch folder to the package's folder: the files appear together, already on disk."""
        target = self._inside(path)
        with named(self.where, str(self._root)):
            sync_folder(scratch.folder)
            make_folder(target.parent)
            self._inside(path)
            scratch.folder.rename(target)
            sync_folder(target.parent)
            for name in names:
                self._verified[f"{path}/{name}"] = _identity(os.lstat(target / name))

    def replace_manifest(self, path: str, data: bytes) -> None:
        """Write the new manifest beside the old one and rename it over."""
        folder = self._inside(path)
        temporary = folder / "manifest.json.tmp"
        with named(self.where, str(self._root)):
            temporary.unlink(missing_ok=True)
            write_new(temporary, data)
            temporary.replace(folder / "manifest.json")
            sync_folder(folder)

    def remove_package(self, path: str) -> None:
        """Remove a package's folder and the empty folders above it."""
        folder = self._inside(path)
        shutil.rmtree(folder, ignore_errors=True)
        for parent in list(folder.parents)[:3]:
            try:
                parent.rmdir()
            except OSError:  # not empty, or gone
                return

    def fetch(self, path: str, file: PackageFile) -> str:
        """Return the file's own path; its bytes are read once in a process unless its inode changes."""
        target = self._inside(path) / file.name
        key = f"{path}/{file.name}"
        with named(self.where, str(self._root)):
            try:
                identity = _identity(os.lstat(target))
            except FileNotFoundError:
                raise missing(self.where, path, file) from None
            if self._verified.get(key) != identity:
                self.check(path, file)
        return str(target)

    def check(self, path: str, file: PackageFile) -> None:
        """Read the file and compare size and checksum."""
        target = self._inside(path) / file.name
        with named(self.where, str(self._root)):
            try:
                handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise missing(self.where, path, file) from None
            with os.fdopen(handle, "rb", buffering=0) as opened:
                size = os.fstat(handle).st_size
                if size < file.bytes:
                    raise truncated(self.where, path, file, size)
                identity = _identity(os.fstat(handle))
                if size != file.bytes or hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    raise changed(self.where, path, file)
                self._verified[f"{path}/{file.name}"] = identity

    def close(self) -> None:
        """Nothing is held."""

    def _inside(self, path: str) -> Path:
        """Return a package's folder; LakeError if the path, or a link on its way, leaves the lake."""
        folder = self._root / safe_package_path(path)
        self._no_link(folder, path)
        return folder

    def _no_link(self, folder: Path, path: str) -> None:
        if folder.resolve() != folder:
            raise LakeError(
                f"{self.where}: {path} leads out of the lake through a symbolic link",
                "The lake follows no links inside it: put the folder itself there.",
            )


def _identity(found: os.stat_result) -> tuple[int, ...]:
    """What changes whenever somebody writes to a file, even if its size and its mtime are put back."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
