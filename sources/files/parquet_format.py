"""Parquet as record batches of bounded size. Types are the file's own; the engine's typing step checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sources.files.csv_format import BrokenFileError, again
from sources.files.settings import FilesResource
from sources.files.shape import layout, shaped

BATCH_ROWS = 32_768


def batches(stream: IO[bytes], name: str, settings: FilesResource) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file.

    Raises BrokenFileError, pyarrow.ArrowInvalid or OSError when the file is cut, corrupt or no Parquet.
    """
    file = pq.ParquetFile(again(stream), pre_buffer=False, memory_map=False)
    plan = layout(file.schema_arrow.names, settings.columns)
    if settings.columns and not plan.declared:
        fields = ", ".join(file.schema_arrow.names)[:200]
        raise BrokenFileError(f"none of the declared columns is in it: {fields}", "Check `from` under columns.")
    for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        if batch.num_rows:
            yield shaped(batch, plan, settings.columns, name)


def missing(stream: IO[bytes], name: str, settings: FilesResource) -> tuple[str, ...]:  # noqa: ARG001 - as for CSV
    """Name the declared columns that the file does not have."""
    return layout(pq.ParquetFile(again(stream)).schema_arrow.names, settings.columns).missing
