"""The Arrow type of each data type, and the schemas built from columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from engine.table import QUARANTINE_COLUMNS, Column, DataType

ARROW_TYPES: Mapping[DataType, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "decimal": pa.decimal128(38, 18),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "json": pa.string(),
}


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema of a table with these columns, in this order. Every field is nullable."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.data_type]) for column in columns])


QUARANTINE_SCHEMA: pa.Schema = arrow_schema(QUARANTINE_COLUMNS)
"""The schema of `Conformed.rejected`, without rows or with."""
