"""What lies in a package's files, and how it fits a table: the same types, types that widen exactly, or a conflict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import DestinationError
from engine.table import Column, DataType

if TYPE_CHECKING:
    import pyarrow as pa

SQL_TYPES: Mapping[DataType, str] = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "decimal": "DECIMAL(38,18)",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "json": "VARCHAR",
}
"""How each data type is stored. JSON is text: DuckLake registers a Parquet text column under VARCHAR only."""

Fit = Literal["same", "widens", "conflict"]
WIDENS = {("BIGINT", "DOUBLE"), ("INTEGER", "BIGINT"), ("INTEGER", "DOUBLE"), ("BIGINT", "DECIMAL(38,18)")}


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One file of a package on its way into `table`. `columns` are those that the package's manifest declares.

    `lake_path` is where it lies in the lake, from the lake's root on.
    """

    path: Path
    table: str
    load_id: str
    name: str
    rows: int
    columns: tuple[Column, ...]
    lake_path: str = ""

    @property
    def is_csv(self) -> bool:
        """Whether it is CSV; a package of CSV files has its quarantine as Parquet."""
        return self.path.suffix == ".csv"

    @property
    def described(self) -> str:
        """How an error names it."""
        return f"file {self.name} of package {self.load_id} ({self.path})"


def fit_of_file(destination: str, file: LandedFile, types: Mapping[str, str]) -> Fit:
    """Compare a Parquet file with a table's columns (name: SQL type), and its rows with the manifest's count.

    Raises DestinationError where a column is unknown to the table or can not be stored in it exactly.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file.path)
    except (FileNotFoundError, pa.ArrowException) as error:
        raise _unreadable(destination, file, error) from error
    if metadata.num_rows != file.rows:
        raise DestinationError(
            destination,
            f"{file.described} has {metadata.num_rows} rows; its manifest says {file.rows}",
            "The package was changed after it was landed: restore it from a backup of the lake.",
        )
    fits: set[Fit] = {"same"}
    for field in metadata.schema.to_arrow_schema():
        stored = types.get(field.name.lower())
        delivered = sql_type(field.type)
        one = "conflict" if stored is None else fit(delivered, stored)
        if one == "conflict":
            there = f"stored as {stored}" if stored else "not in the table"
            raise DestinationError(
                destination,
                f"column {field.name!r} of landing.{file.table} is {there}, but {file.described} brings {delivered}",
                "Give the column the type back that it had in pipelines.yaml, or land it under another name.",
            )
        fits.add(one)
    return "widens" if "widens" in fits else "same"


def fit(delivered: str, stored: str) -> Fit:
    """Say whether values of one SQL type go into a column of another: exactly, but for whole numbers into doubles.

    A double holds whole numbers up to 2**53; beyond, it rounds them.
    """
    if delivered == stored:
        return "same"
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", delivered)
    if decimal and stored == "DECIMAL(38,18)":
        precision, scale = int(decimal[1]), int(decimal[2])
        return "widens" if scale <= 18 and precision - scale <= 20 else "conflict"  # noqa: PLR2004 - (38,18)
    return "widens" if (delivered, stored) in WIDENS else "conflict"


def sql_type(arrow: pa.DataType) -> str:
    """Return the SQL type of a Parquet column as Arrow sees it; what no package should hold keeps Arrow's name."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow):
        return sql_type(arrow.value_type)
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP WITH TIME ZONE" if arrow.tz and arrow.unit in {"us", "ms"} else f"naive or odd {arrow}"
    if pa.types.is_decimal(arrow):
        return f"DECIMAL({arrow.precision},{arrow.scale})"
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return "VARCHAR"
    names = {
        "int64": "BIGINT",
        "int32": "INTEGER",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "date32[day]": "DATE",
    }
    return names.get(str(arrow), str(arrow))


def csv_rows(destination: str, file: LandedFile) -> pa.RecordBatchReader:
    """Stream a CSV file of a package as Arrow, typed by its manifest.

    Through pyarrow, not DuckDB: text becomes DECIMAL(38,18) thirty times faster there, and never rounded.
    An empty field without quotes is null, an empty field in quotes is an empty text.
    """
    import pyarrow as pa
    from pyarrow import csv

    types = {column.name: arrow_type(column.data_type) for column in file.columns}
    try:
        return csv.open_csv(
            file.path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (FileNotFoundError, pa.ArrowException) as error:
        raise _unreadable(destination, file, error) from error


def arrow_type(data_type: DataType) -> pa.DataType:
    """Return the Arrow type that holds a data type exactly."""
    import pyarrow as pa

    types = {
        "bigint": pa.int64(),
        "double": pa.float64(),
        "decimal": pa.decimal128(38, 18),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    return types.get(data_type, pa.string())


def _unreadable(destination: str, file: LandedFile, error: Exception) -> DestinationError:
    why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {str(error).splitlines()[0]}"
    return DestinationError(
        destination,
        f"{file.described} {why}",
        "Restore the package from a backup of the lake; nothing of it was loaded.",
    )
