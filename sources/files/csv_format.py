"""CSV as Arrow record batches of bounded size, with declared columns typed by the parser where that is exact."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.csv

from engine.errors import TickhouseError
from sources.columns import ColumnSettings
from sources.files.settings import FilesResource
from sources.files.shape import ARROW, INSTANT, Layout, layout, shaped

BLOCK_BYTES = 4 << 20
HEAD_BYTES = 256 << 10
_OFFSET = re.compile(r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)\s*\Z")
_TIME = re.compile(r"\d{1,2}:\d{2}")


class BrokenFileError(TickhouseError):
    """A file that cannot be read at all: it costs only itself."""


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a CSV file: its fields, how many lines they take, and its first row ([] when there is none)."""

    fields: Sequence[str]
    lines: int
    first: Sequence[str]


def batches(stream: IO[bytes], name: str, settings: FilesResource, *, strict: bool) -> Iterator[pa.RecordBatch]:
    """Read a CSV; `strict` types the declared columns, else everything is text.

    Raises pyarrow.ArrowInvalid (a cell does not fit, rows are ragged), OSError (truncated gzip), BrokenFileError.
    """
    head = _head(stream, name, settings)
    if not head.first:
        return
    plan = layout(head.fields, settings.columns, header=settings.header)
    if settings.columns and not plan.declared:
        raise BrokenFileError(
            f"none of the declared columns is in its header: {', '.join(head.fields)[:200]}",
            "Check `from` under columns, and `delimiter`.",
        )
    reader = pa.csv.open_csv(
        opened(stream, name),
        read_options=pa.csv.ReadOptions(
            column_names=[f"{at}" for at in range(len(head.fields))],
            skip_rows=head.lines,
            block_size=BLOCK_BYTES,
            encoding=settings.encoding,
        ),
        parse_options=pa.csv.ParseOptions(delimiter=settings.delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=_types(head, plan, settings, strict=strict),
            null_values=settings.null_values,
            true_values=["true", "True", "TRUE", "1"],
            false_values=["false", "False", "FALSE", "0"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    for batch in reader:
        if batch.num_rows:
            yield shaped(batch, plan, settings.columns, name)


def missing(stream: IO[bytes], name: str, settings: FilesResource) -> tuple[str, ...]:
    """Name the declared columns that the file does not have."""
    head = _head(stream, name, settings)
    return layout(head.fields, settings.columns, header=settings.header).missing if head.fields else ()


def again(stream: IO[bytes]) -> IO[bytes]:
    """Duplicate an open file, at its start."""
    copy = os.fdopen(os.dup(stream.fileno()), "rb")
    copy.seek(0)
    return copy


def _types(head: Head, plan: Layout, settings: FilesResource, *, strict: bool) -> dict[str, pa.DataType]:
    types = {f"{at}": pa.string() for at in range(len(head.fields))}
    if strict:
        for target, at in plan.declared.items():
            first = head.first[at] if at < len(head.first) else ""
            types[f"{at}"] = _type(settings.columns[target], first)
    return types


def _type(column: ColumnSettings, first: str) -> pa.DataType:
    """Choose what the parser reads. How times are written is judged by the first row; a later surprise means text."""
    if column.epoch:
        return pa.int64()
    if column.type == "timestamp":
        if _TIME.search(first) and _OFFSET.search(first):
            return INSTANT
        return pa.timestamp("us") if column.timezone else pa.string()
    return ARROW[column.type]


def opened(stream: IO[bytes], name: str) -> pa.NativeFile:
    """Open a file from its start for Arrow, which closes what it is given: hence a duplicate."""
    raw = pa.PythonFile(again(stream), mode="r")
    return pa.CompressedInputStream(raw, "gzip") if name.endswith(".gz") else raw


def _head(stream: IO[bytes], name: str, settings: FilesResource) -> Head:
    raw = opened(stream, name).read(HEAD_BYTES)
    if b"\0" in raw and not settings.encoding.lower().startswith(("utf-16", "utf-32", "utf16", "utf32")):
        raise BrokenFileError("it holds NUL bytes: not CSV, or UTF-16", "For UTF-16 set `encoding: utf-16`.")
    try:
        text = codecs.getincrementaldecoder(settings.encoding)().decode(raw).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BrokenFileError(
            f"it is not {settings.encoding} (byte {error.start})", "Set `encoding`, for instance latin-1."
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=settings.delimiter)
    records: list[tuple[list[str], int]] = []
    try:
        for record in reader:
            if record:
                records.append((record, reader.line_num))
            if len(records) == 1 + settings.header:
                break
    except csv.Error as error:
        raise BrokenFileError(f"its first lines are not CSV: {error}", "Check `delimiter`.") from None
    if not records:
        return Head((), 0, ())
    if not settings.header:
        return Head([""] * len(records[0][0]), 0, records[0][0])
    return Head(records[0][0], records[0][1], records[1][0] if len(records) > 1 else ())
