"""A lake in a bucket of MinIO or any S3 server.

Packages are built in the cache folder and uploaded when they are published, the manifest last. An object is either
whole or not there, so only the log entry needs care: it is created with If-None-Match.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.config.models import S3Lake
from engine.lake.causes import named
from engine.lake.downloads import Downloads, checksum_of
from engine.lake.hints import Hints
from engine.lake.lease import create_in_turn
from engine.lake.names import PACKAGE_DEPTH, safe_package_path
from engine.lake.package import PackageFile
from engine.lake.probing import last_consecutive
from engine.lake.remote import Remote
from engine.lake.scratch import Intent, Scratch, sweep
from engine.lake.settle import settle
from engine.lake.stored import changed, gap, missing, truncated

GRACE = 3_600.0
"""Seconds before a dead writer's package is removed: the server may still be working on its last request."""


class BucketStore:
    """Local things (scratch, downloads, hints) are in the cache folder; everything else is an object."""

    def __init__(self, settings: S3Lake, cache_dir: Path) -> None:
        """Connects with the first request; the bucket is made by the first writer."""
        self._remote = Remote(settings)
        self.where = self._remote.where
        lake = hashlib.sha256(f"{settings.endpoint}\n{self.where}".encode()).hexdigest()[:16]
        self._cache = cache_dir / f"s3-{lake}"
        self._hints = Hints(self._cache)
        self.local = f"{self.where}: the cache {self._cache}"
        self._downloads = Downloads(self._cache / "objects")
        self._exclusive: bool | None = None
        self._made = False

    def read(self, path: str) -> bytes | None:
        """Return a small object's bytes, None if there is none."""
        return self._remote.read(path)

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """As read, for many concurrently."""
        return self._remote.read_many(paths)

    def create(self, path: str, data: bytes, scratch: Scratch) -> bool:  # noqa: ARG002 - the folder's store needs it
        """Put the object if there is none: by If-None-Match, or by leases where the server ignores that."""
        if self._creates_exclusively():
            return self._remote.put_new(path, data)
        return create_in_turn(self._remote, path, data)

    def newest(self, folder: str, hint: int) -> int:
        """List what comes behind the hint (one request); without a good hint probe for a place to start from."""

        def exists(number: int) -> bool:
            return self._remote.size(f"{folder}/{number:020d}.json") is not None

        start = hint if hint and exists(hint) else last_consecutive(exists, 0)
        if not start:
            return 0
        behind = [_number(item["path"]) for item in self._remote.list(folder, f"{folder}/{start:020d}.json")]
        newest = max([start, *behind])
        if newest - start != len(behind):
            raise gap(self.where, folder, min(set(range(start + 1, newest)) - set(behind)))
        return newest

    def numbers(self, folder: str) -> list[int]:
        """Return every sequence number of a log folder, ascending."""
        return sorted(_number(item["path"]) for item in self._remote.list(folder))

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        return sorted(item["path"].rsplit("/", 1)[-1] for item in self._remote.list(folder, folders=True))

    def packages(self) -> Iterator[str]:
        """Yield the path of every package folder (lists every object of the lake)."""
        last = ""
        for item in self._remote.list(""):
            path = "/".join(item["path"].split("/")[:PACKAGE_DEPTH])
            if path != last and not path.startswith("_") and item["path"].count("/") == PACKAGE_DEPTH:
                last = path
                yield path

    def scratch(self) -> Scratch:
        """Make the bucket if need be, sweep, and open a scratch folder in the cache."""

        def settled(intent: Intent) -> None:
            settle(self, intent)

        if not self._made:
            self._remote.make_bucket()
            self._made = True
        self._creates_exclusively()
        staging = self._cache / "staging"
        with named(self.local, str(self._cache)):
            sweep(staging, settled, GRACE)
            return Scratch(staging)

    def has_package(self, path: str) -> bool:
        """Whether the package has its manifest."""
        return self._remote.size(f"{safe_package_path(path)}/manifest.json") is not None

    def place(self, scratch: Scratch, path: str, names: Sequence[str]) -> None:
        """Upload the files in the order given (the manifest last)."""
        safe_package_path(path)
        for name in names:
            self._remote.upload(scratch.folder / name, f"{path}/{name}")

    def replace_manifest(self, path: str, data: bytes) -> None:
        """Replace the manifest object."""
        self._remote.put(f"{safe_package_path(path)}/manifest.json", data)

    def remove_package(self, path: str) -> None:
        """Remove the package's objects."""
        self._remote.remove(safe_package_path(path))

    def fetch(self, path: str, file: PackageFile) -> str:
        """Return a checked local copy; the object itself has to be there with its size even if a copy is."""
        target = f"{path}/{file.name}"
        size = self._remote.size(target)
        self._check_size(path, file, size)

        def download(temporary: Path) -> None:
            if not self._remote.download(target, temporary):
                raise missing(self.where, path, file)
            if checksum_of(temporary) != file.sha256:
                raise changed(self.where, path, file)

        with named(self.local, str(self._cache)):
            return str(self._downloads.get(file.sha256, Path(file.name).suffix, file.bytes, download))

    def check(self, path: str, file: PackageFile) -> None:
        """Download the object, compare, and throw the copy away."""
        target = f"{path}/{file.name}"
        self._check_size(path, file, self._remote.size(target))
        temporary = self._cache / f"check-{secrets.token_hex(8)}"
        with named(self.local, str(self._cache)):
            self._cache.mkdir(parents=True, exist_ok=True)
            try:
                if not self._remote.download(target, temporary):
                    raise missing(self.where, path, file)
                if checksum_of(temporary) != file.sha256:
                    raise changed(self.where, path, file)
            finally:
                temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Connections close with the process."""

    def _check_size(self, path: str, file: PackageFile, size: int | None) -> None:
        if size is None:
            raise missing(self.where, path, file)
        if size < file.bytes:
            raise truncated(self.where, path, file, size)
        if size != file.bytes:
            raise changed(self.where, path, file)

    def _creates_exclusively(self) -> bool:
        """Whether the server honours If-None-Match: tried once with an object that exists, then remembered."""
        if self._exclusive is None:
            known = self._hints.get("conditional-writes").get("honoured")
            # "no" is not remembered: a server may learn it, and then every writer has to change over
            self._exclusive = known is True or self._try_exclusive()
            if self._exclusive:
                self._hints.put("conditional-writes", honoured=True)
        return self._exclusive

    def _try_exclusive(self) -> bool:
        probe = f"_probes/{secrets.token_hex(8)}"
        self._remote.put(probe, b"")
        try:
            return not self._remote.put_new(probe, b"again")
        finally:
            self._remote.remove_object(probe)


def _number(path: str) -> int:
    name = path.rsplit("/", 1)[-1].removesuffix(".json")
    return int(name) if name.isdecimal() else 0
