"""The files of a package: rows streamed into Parquet or CSV, hashed on their way to the disk.

Parquet: zstd level 1 (a fifth smaller than snappy for OHLCV rows, 0.1 s per million rows slower), a dictionary for
text only (on decimals it costs time and saves nothing), row groups of 245,760 rows.

CSV: a header, every value in double quotes, NULL an empty field without quotes (as PostgreSQL's COPY reads it), so
that NULL and empty text differ. Decimals in plain notation with 18 places, timestamps as 2026-01-31 08:00:00.000000Z.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.errors import LakeError
from engine.lake.package import PackageFile
from engine.lake.scratch import FILE_MODE

ROW_GROUP = 245_760
BUFFERED_BYTES = 48 << 20
FILE_BYTES = 256 << 20
SCALE = 18
DECIMAL = pa.decimal128(38, SCALE)
TIMESTAMP = pa.timestamp("us", "UTC")
STORED = (pa.string(), pa.int64(), pa.float64(), DECIMAL, pa.bool_(), pa.date32(), TIMESTAMP)


def stored_rows(rows: pa.Table) -> pa.Table:
    """Return the rows in the lake's own Arrow types; LakeError for a type that it does not store."""
    fields = []
    if len(set(rows.column_names)) < rows.num_columns:
        raise LakeError("lake: two columns of a package have the same name", "Rename one of them in pipelines.yaml.")
    for field in rows.schema:
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        if pa.types.is_signed_integer(kind):
            kind = pa.int64()
        if kind not in STORED:
            raise LakeError(
                f"lake: column {field.name} has the type {field.type}, which the lake does not store",
                "Type the rows first: text, bigint, double, decimal(38,18), bool, date or timestamp in UTC.",
            )
        fields.append(pa.field(field.name, kind))
    wanted = pa.schema(fields)
    return rows.cast(wanted) if rows.schema != wanted else rows


class _Hashed:
    """A new file that counts and hashes what is written to it."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        self._file: IO[bytes] = os.fdopen(handle, "wb", buffering=0)
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = view.nbytes
        self._digest.update(view)
        while view:
            view = view[self._file.write(view) :]
        self.bytes += size
        return size

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        self._file.close()

    def finish(self) -> str:
        """Make the file durable and return its checksum."""
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()


class _Sink(Protocol):
    def write_table(self, table: pa.Table, row_group_size: int) -> None: ...
    def close(self) -> None: ...


def _parquet_sink(output: _Hashed, schema: pa.Schema) -> _Sink:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return pq.ParquetWriter(  # type: ignore[no-any-return]
        output, schema, compression="zstd", compression_level=1, use_dictionary=texts or False
    )


class _CsvSink:
    def __init__(self, output: _Hashed, schema: pa.Schema) -> None:
        texts = pa.schema([pa.field(field.name, pa.string()) for field in schema])
        options = pa_csv.WriteOptions(include_header=True, quoting_style="all_valid")
        self._writer = pa_csv.CSVWriter(output, texts, write_options=options)

    def write_table(self, table: pa.Table, row_group_size: int) -> None:
        texts = [_as_text(column) for column in table.columns]
        self._writer.write_table(pa.table(texts, names=table.column_names), row_group_size)

    def close(self) -> None:
        self._writer.close()


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = column.cast(pa.string())
    if pa.types.is_decimal(column.type) and pc.any(pc.match_substring(texts, "E")).as_py():
        return pa.chunked_array([_plain_decimals(chunk) for chunk in column.chunks], pa.string())
    return texts


def _plain_decimals(values: pa.Array) -> pa.Array:
    """Write decimals without an exponent (Arrow's cast gives 1E-18 for the smallest), from their unscaled integers."""
    values = pa.concat_arrays([values])  # offset 0, so that the buffers can be read as another type
    unscaled = pa.Array.from_buffers(pa.decimal128(38, 0), len(values), values.buffers()).cast(pa.string())
    negative = pc.starts_with(unscaled, "-")
    digits = pc.utf8_lpad(pc.utf8_ltrim(unscaled, "-"), SCALE + 1, "0")
    text = pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(digits, 0, -SCALE), pc.utf8_slice_codeunits(digits, -SCALE), "."
    )
    return pc.if_else(negative, pc.binary_join_element_wise("-", text, ""), text)


class PartFiles:
    """A series of files in one folder: <stem>-00000.<suffix>, <stem>-00001 ...

    Row groups are compressed and written by a thread while the next page is extracted; memory stays within two of them.
    A new file starts when the rows gain a column or a file passes FILE_BYTES. Raises OSError and LakeError.
    """

    def __init__(self, folder: Path, stem: str, *, csv: bool = False, file_bytes: int = FILE_BYTES) -> None:
        """Nothing is created before the first row."""
        self._folder, self._stem, self._csv, self._file_bytes = folder, stem, csv, file_bytes
        self._schema = pa.schema([])
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = self._rows = 0
        self._output: _Hashed | None = None
        self._sink: _Sink | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._files: list[PackageFile] = []

    def write(self, rows: pa.Table) -> None:
        """Take rows; they reach the disk in row groups."""
        rows = stored_rows(rows)
        if not rows.num_rows:
            return
        self._fit_schema(rows.schema)
        for start in range(0, rows.num_rows, ROW_GROUP):
            piece = rows.slice(start, ROW_GROUP)
            if self._pending_rows + piece.num_rows > ROW_GROUP or self._pending_bytes > BUFFERED_BYTES:
                self._flush(ahead=True)
            self._pending.append(self._aligned(piece))
            self._pending_rows += piece.num_rows
            self._pending_bytes += piece.nbytes

    def finish(self) -> tuple[PackageFile, ...]:
        """Close the last file and return all of them, durable."""
        self._end_file()
        self._stop_worker()
        return tuple(self._files)

    def abandon(self) -> None:
        """Close what is open, whatever state it is in."""
        self._pending.clear()
        self._stop_worker()
        if self._output is not None:
            self._output.close()  # first: the Parquet footer has nowhere to go then
        self._sink = self._output = None

    def _fit_schema(self, schema: pa.Schema) -> None:
        known = set(self._schema.names)
        for field in schema:
            if field.name in known and self._schema.field(field.name).type != field.type:
                raise LakeError(
                    f"lake: column {field.name} is {self._schema.field(field.name).type} in one page and"
                    f" {field.type} in another of the same package",
                    "Declare the column's type for this source in pipelines.yaml.",
                )
        gained = [field for field in schema if field.name not in known]
        if gained:
            self._end_file()
            self._schema = pa.schema([*self._schema, *gained])

    def _aligned(self, rows: pa.Table) -> pa.Table:
        if rows.schema == self._schema:
            return rows
        columns = [
            rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
            for field in self._schema
        ]
        return pa.table(columns, schema=self._schema)

    def _flush(self, *, ahead: bool = False) -> None:
        """Write what is pending, with ahead=True in the background."""
        if not self._pending:
            return
        self._wait()
        if self._output and self._output.bytes > self._file_bytes:
            self._close_file()
        if self._output is None or self._sink is None:
            self._name = f"{self._stem}-{len(self._files):05d}.{'csv' if self._csv else 'parquet'}"
            self._rows = 0
            self._output = _Hashed(self._folder / self._name)
            self._sink = (_CsvSink if self._csv else _parquet_sink)(self._output, self._schema)
        group = pa.concat_tables(self._pending)
        self._rows += self._pending_rows
        self._pending.clear()
        self._pending_rows = self._pending_bytes = 0
        if ahead:
            self._worker = self._worker or ThreadPoolExecutor(1, "lake-writer")
            self._writing = self._worker.submit(self._sink.write_table, group, ROW_GROUP)
        else:
            self._sink.write_table(group, ROW_GROUP)

    def _wait(self) -> None:
        """Wait for the background; its error is raised here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.shutdown()
        self._worker = self._writing = None

    def _end_file(self) -> None:
        self._flush()
        self._wait()
        self._close_file()

    def _close_file(self) -> None:
        if self._output is None or self._sink is None:
            return
        self._sink.close()
        checksum = self._output.finish()
        quarantine = self._stem != "part"
        self._files.append(PackageFile(self._name, self._rows, self._output.bytes, checksum, quarantine))
        self._sink = self._output = None
