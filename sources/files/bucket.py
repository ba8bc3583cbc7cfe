"""Finding and fetching files in a bucket, through s3fs. An object's ETag stands for its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from engine.errors import SourceError
from sources.files.listing import Found, pattern, printable, refused
from sources.files.settings import FilesSource
from sources.protocol import Notices

T = TypeVar("T")


class Bucket:
    """The objects below s3://bucket/prefix."""

    def __init__(self, source: str, settings: FilesSource) -> None:
        import s3fs

        self._source = source
        self._settings = settings
        self._root = settings.path.removeprefix("s3://").strip("/")
        self._fs = s3fs.S3FileSystem(
            key=settings.access_key,
            secret=settings.secret_key,
            client_kwargs={"region_name": settings.region},
            endpoint_url=settings.endpoint,
            config_kwargs={"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def files(self, globs: tuple[str, ...], notice: Notices) -> list[Found]:
        """List the matching objects, in name order. Raises SourceError."""
        wanted = pattern(globs)
        found = []
        for path, info in self._asked(lambda: self._fs.find(self._root, detail=True)).items():
            name = path.removeprefix(self._root).lstrip("/")
            if not wanted.match(name):
                continue
            if reason := refused(name):
                notice(f"skipped: {reason}", item=printable(name))
                continue
            found.append(_found(name, path, info))
        return sorted(found, key=lambda file: file.name)

    def fetch(self, file: Found, target: IO[bytes]) -> Found | None:
        """Copy an object into `target`; return what it is after that (None: it has gone or changed).

        Raises SourceError.
        """

        def copy() -> Found | None:
            try:
                with self._fs.open(file.path, "rb", block_size=8 << 20, cache_type="readahead") as stream:
                    while chunk := stream.read(8 << 20):
                        target.write(chunk)
                target.flush()
                if target.tell() != file.size:
                    return None
                return _found(file.name, file.path, self._fs.info(file.path, refresh=True))
            except FileNotFoundError:
                return None

        return self._asked(copy)

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except PermissionError:
            raise SourceError(
                self._source,
                f"the S3 server refuses access to s3://{self._root}",
                "Check access_key and secret_key, and that they may list and read the bucket.",
                terminal=True,
            ) from None
        except FileNotFoundError:
            raise SourceError(
                self._source,
                f"there is no s3://{self._root}",
                "Check the bucket's name in `path`, and `endpoint`.",
                terminal=True,
            ) from None
        except Exception as error:
            where = self._settings.endpoint or "AWS"
            raise SourceError(
                self._source,
                f"the S3 server at {where} failed ({type(error).__name__})",
                "Check that it runs; the next run starts where this one stopped.",
            ) from error


def _found(name: str, path: str, info: dict[str, Any]) -> Found:
    etag = str(info.get("ETag", "")).strip('"')
    size = int(info.get("size") or 0)
    changed = info.get("LastModified")
    stamp = f"{size}:{etag or changed}"
    return Found(name, str(Path(path).as_posix()), stamp, size, 0.0, content=stamp)
