"""The dlt resource of a files source: new files in name order, each whole or not at all."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from engine.errors import SourceError
from engine.table import Table
from sources.files import csv_format, jsonl_format, parquet_format
from sources.files.ahead import Reading
from sources.files.bucket import Bucket
from sources.files.csv_format import BrokenFileError
from sources.files.listing import Found, local_files, stamp_of
from sources.files.seen import Seen
from sources.files.settings import SUFFIXES, FilesResource, FilesSource, Format
from sources.files.spool import Spool
from sources.protocol import Notices, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

PIECE_BYTES = 256 << 10
AHEAD_BYTES = 8 << 20
"""A smaller file is read in less time than a thread for it is worth."""
AHEAD_FILES = 1_000
"""Of a resource that has landed more files, none is read ahead: to list them twice would cost more."""
WAITS = "it is still being written: left for the next run"


def begin_first(
    place: FilesSource, settings: FilesResource, ctx: SourceContext, state: Mapping[str, Any]
) -> Reading | None:
    """Begin to read the first new file, if it is large, in a folder and not changing: see Resource.ahead."""
    folder, seen = ctx.project_dir / place.path, Seen({**state.get("files", {})})
    if place.on_s3 or len(seen.files) > AHEAD_FILES or not folder.is_dir():
        return None
    listed = local_files(folder, settings.patterns, _untold)
    file = next((file for file in listed if not seen.unchanged(file.name, file.stamp)), None)
    if file is None or file.size < AHEAD_BYTES or time.time() - file.modified < place.settle_seconds:
        return None
    codecs.lookup(settings.encoding)  # which imports it, and the thread must not

    def read(spool: Spool, notice: Notices) -> str | None:
        return _read(file, settings, replace(ctx, notice=notice), None, seen, spool)

    return Reading(file, Spool(ctx.data_dir), read)


def _untold(message: str, *, item: str | None = None) -> None:
    """Say nothing: the files are listed again, for good."""


def new_files(
    source: str, place: FilesSource, settings: FilesResource, table: Table, ctx: SourceContext
) -> DltResource:
    """Build the resource `table`: pages are Arrow tables, or lists of dicts for loosely declared JSON Lines."""
    import dlt

    def extract() -> Iterator[Any]:
        seen = Seen.of(dlt.current.resource_state())
        bucket = Bucket(source, place) if place.on_s3 else None
        begun = ctx.begun if isinstance(ctx.begun, Reading) else None
        files = _candidates(source, place, settings, ctx, bucket, seen)
        if begun is not None and begun.file not in files:
            begun.close()
        for file in files:
            yield from _landed(file, settings, ctx, bucket, seen, begun if begun and begun.take(file) else None)

    return dlt.resource(extract, name=table.name)


def _candidates(
    source: str, place: FilesSource, settings: FilesResource, ctx: SourceContext, bucket: Bucket | None, seen: Seen
) -> list[Found]:
    if bucket:
        return [
            file for file in bucket.files(settings.patterns, ctx.notice) if not seen.unchanged(file.name, file.stamp)
        ]
    folder = ctx.project_dir / place.path
    if not folder.is_dir():
        raise SourceError(
            source, f"there is no folder {place.path}", "Create it, or correct the source's `path`.", terminal=True
        )
    new = [
        file for file in local_files(folder, settings.patterns, ctx.notice) if not seen.unchanged(file.name, file.stamp)
    ]
    return _settled(new, place.settle_seconds, ctx)


def _settled(files: list[Found], seconds: float, ctx: SourceContext) -> list[Found]:
    """Look twice at files that changed just now; one that changes between the looks waits for the next run."""
    ages = [time.time() - file.modified for file in files]
    young = [age for age in ages if age < seconds]
    if not young:
        return files
    time.sleep(seconds - max(0.0, min(young)))
    ready = []
    for file, age in zip(files, ages, strict=True):
        if age < seconds and _stamp(file.path) != file.stamp:
            ctx.notice(WAITS, item=file.name)
        else:
            ready.append(file)
    return ready


def _stamp(path: str) -> str | None:
    try:
        return stamp_of(Path(path).stat())
    except OSError:
        return None


def _landed(
    file: Found,
    settings: FilesResource,
    ctx: SourceContext,
    bucket: Bucket | None,
    seen: Seen,
    begun: Reading | None,
) -> Iterator[pa.Table | list[dict[str, Any]]]:
    spool = begun.spool if begun else Spool(ctx.data_dir)
    with closing(spool):
        try:
            content = begun.content(ctx.notice) if begun else _read(file, settings, ctx, bucket, seen, spool)
        except (BrokenFileError, pa.ArrowException, OSError, EOFError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise SourceError(ctx.source, "the disk is full", f"Free space under {ctx.data_dir.name}.") from None
            reason = (
                f"{error.reason}. {error.remedy}".strip()
                if isinstance(error, BrokenFileError)
                else " ".join(str(error).split())[:300]
            )
            ctx.notice(f"cannot be read, nothing of it is landed: {reason}", item=file.name)
            return
        if content is None:
            ctx.notice(WAITS, item=file.name)
            return
        yield from spool.pages()
        seen.keep(file.name, file.stamp, content)


def _read(
    file: Found, settings: FilesResource, ctx: SourceContext, bucket: Bucket | None, seen: Seen, spool: Spool
) -> str | None:
    """Fill the spool unless the content was landed before; return the content's mark, None when the file moves."""
    if bucket:
        with tempfile.TemporaryFile(dir=ctx.data_dir) as copy:
            after = bucket.fetch(file, copy)
            if after is None or after.stamp != file.stamp:
                return None
            _fill(copy, file.name, settings, ctx, spool)
        return file.content
    with Path(file.path).open("rb") as stream, ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
        digest = beside.submit(_digest, stream.fileno(), spool)
        if not seen.knows(file.name) or not seen.same_content(file.name, digest.result()):
            _fill(stream, file.name, settings, ctx, spool)
        if stamp_of(os.fstat(stream.fileno())) != file.stamp:
            return None
        return digest.result()


def _digest(descriptor: int, spool: Spool) -> str:
    """Hash a file's content without moving the place where it is read, while its spool is wanted."""
    digest, at = hashlib.sha256(), 0
    piece = memoryview(bytearray(PIECE_BYTES))
    while not spool.given_up and (size := os.preadv(descriptor, [piece], at)):
        digest.update(piece[:size])
        at += size
    return digest.hexdigest()


def _fill(stream: IO[bytes], name: str, settings: FilesResource, ctx: SourceContext, spool: Spool) -> None:
    """Read typed; if a cell does not fit, read everything as written and leave it to the engine's typing step."""
    kind = _format(name, settings)
    try:
        spool.fill(_strict(kind, stream, name, settings))
    except pa.ArrowInvalid:
        spool.fill(_as_written(kind, stream, name, settings))
    if kind != "jsonl" and spool.rows:
        read = csv_format if kind == "csv" else parquet_format
        if absent := read.missing(stream, name, settings):
            ctx.notice(f"has no column for {', '.join(absent)}: null", item=name)


def _strict(kind: Format, stream: IO[bytes], name: str, settings: FilesResource) -> Iterator[pa.RecordBatch]:
    if kind == "csv":
        return csv_format.batches(stream, name, settings, strict=True)
    if kind == "parquet":
        return parquet_format.batches(stream, name, settings)
    return jsonl_format.batches(stream, name, settings)


def _as_written(kind: Format, stream: IO[bytes], name: str, settings: FilesResource) -> Iterator[Any]:
    if kind == "csv":
        return csv_format.batches(stream, name, settings, strict=False)
    if kind == "parquet":
        return parquet_format.batches(stream, name, settings)
    return jsonl_format.pages(stream, name, settings)


def _format(name: str, settings: FilesResource) -> Format:
    if settings.format:
        return settings.format
    for suffix, kind in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return kind
    raise BrokenFileError(
        "its name does not say its format", f"Known: {', '.join(SUFFIXES)}; or set `format` for the resource."
    )
