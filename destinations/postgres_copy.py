"""COPY: a package's files into a PostgreSQL table, in batches that are made in bulk while the server reads.

A batch goes as binary; where its types are not the table's own, or a text is long, as CSV that pyarrow writes, which
PostgreSQL reads alike: an empty field is NULL, a quoted one a text. A thread of its own reads and makes batches ahead;
Arrow and NumPy let the interpreter go meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from destinations.package_rows import LandedFile, csv_rows, fit_of_file
from destinations.postgres_binary import binary_rows
from engine.errors import DestinationError
from engine.sql import identifier

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import Connection

BATCH_ROWS = 65_536
AHEAD = 2
"""Batches that are written before the server has read them."""
CSV_ALONE = 180_000
"""From PostgreSQL 18 on a CSV that is copied may hold any text. Before, a line of nothing but `\\.` ended it."""
END_MARK = r"(^|\n)\\\.\r?(\n|$)"


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows on their way: as binary or CSV, or the rows themselves where no CSV can hold them."""

    columns: Sequence[str]
    content: bytes
    form: str
    rows: Sequence[Sequence[Any]] = ()


def copy_file(
    connection: Connection[tuple[Any, ...]], destination: str, target: str, file: LandedFile, types: Mapping[str, str]
) -> None:
    """Copy one file into the quoted table `target`, inside the transaction that is open.

    `types` are the type words of the table's columns. Raises DestinationError where the file does not fit it.
    """
    if not file.is_csv:
        fit_of_file(destination, file, types)
    batches = _batches(destination, file)
    csv_alone = connection.info.server_version >= CSV_ALONE

    def written() -> _Batch | None:
        batch = next(batches, None)
        return None if batch is None else _written(batch, types, csv_alone=csv_alone)

    copied = 0
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as pool:
        ahead = deque(pool.submit(written) for _ in range(AHEAD))
        while (batch := ahead.popleft().result()) is not None:
            ahead.append(pool.submit(written))
            copied += _copied(connection, target, batch)
    if copied != file.rows:
        raise DestinationError(
            destination,
            f"{file.described} has {copied} rows; its manifest says {file.rows}",
            "The package was changed after it was landed: restore it from a backup of the lake.",
        )


def _copied(connection: Connection[tuple[Any, ...]], target: str, batch: _Batch) -> int:
    """Send one batch; return how many rows the server took."""
    columns = ", ".join(identifier(name) for name in batch.columns)
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {target} ({columns}) FROM STDIN (FORMAT {batch.form})".encode()) as copy:
            if batch.rows:
                for row in batch.rows:
                    copy.write_row(row)
            else:
                copy.write(batch.content)
        return int(cursor.rowcount)


def _written(batch: pa.RecordBatch, types: Mapping[str, str], *, csv_alone: bool) -> _Batch:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    binary = binary_rows(batch, types)
    if binary is not None:
        return _Batch(batch.schema.names, binary, "binary")
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    texts = [column for column in columns if pa.types.is_string(column.type)]
    if not csv_alone and any(pc.any(pc.match_substring_regex(text, END_MARK)).as_py() for text in texts):
        return _Batch(
            batch.schema.names, b"", "text", list(zip(*(column.to_pylist() for column in columns), strict=True))
        )
    sink = pa.BufferOutputStream()
    table = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, batch_size=BATCH_ROWS, quoting_style="needed"))
    return _Batch(batch.schema.names, sink.getvalue().to_pybytes(), "csv")


def _batches(destination: str, file: LandedFile) -> Iterator[pa.RecordBatch]:
    """Read a file in batches; a damaged one names its package."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.is_csv:
        yield from csv_rows(destination, file)
        return
    try:
        with pq.ParquetFile(file.path) as parquet:
            yield from parquet.iter_batches(BATCH_ROWS)
    except (OSError, pa.ArrowException) as error:
        raise DestinationError(
            destination,
            f"{file.described} cannot be read: {str(error).splitlines()[0]}",
            "Restore the package from a backup of the lake; nothing of it was loaded.",
        ) from error
