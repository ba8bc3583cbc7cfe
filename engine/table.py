"""What a landed table looks like: its columns, its key and its schema contract.

A `Table` is what a source declares; `Column` is also what the lake's log keeps for every column it has seen.
Data types are dlt's words, cut down to those that every destination stores exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.timeseries import TimeSeries

DataType = Literal["text", "bigint", "double", "decimal", "bool", "date", "timestamp", "json"]
"""text (NFC), bigint (64 bit), double, decimal (38,18), bool, date, timestamp (UTC, microseconds), json (text)."""

ColumnsMode = Literal["evolve", "freeze", "discard_value", "discard_row"]
TypeMode = Literal["freeze", "discard_row"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `timezone` is the zone of naive times; `epoch` the unit of numeric ones."""

    name: str
    data_type: DataType
    nullable: bool = True
    description: str = ""
    timezone: str | None = None
    epoch: Literal["s", "ms", "us"] | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """What happens to a column nobody declared, and to a value that does not fit its column's type.

    `discard_row` sets the row aside in the quarantine, with a count and the reason; `freeze` fails the package.
    """

    columns: ColumnsMode = "evolve"
    data_type: TypeMode = "discard_row"


@dataclass(frozen=True, slots=True)
class Table:
    """A landed table as its source declares it. Undeclared fields are kept beside these columns (see Contract)."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    contract: Contract = Contract()
    description: str = ""
    timeseries: TimeSeries | None = None


LINEAGE_COLUMNS: tuple[Column, ...] = (
    Column("source", "text", nullable=False, description="record source: the payload's own, or the source's name"),
    Column("load_timestamp", "timestamp", nullable=False, description="when the engine extracted the row"),
    Column("_load_id", "text", nullable=False, description="the load package that brought the row"),
    Column("_run_id", "text", nullable=False, description="the run that made the package"),
)
"""Every landed row ends with these."""

QUARANTINE = "_quarantine"
"""landing._quarantine: rows that could not be typed, each with its reason and its original text."""
QUARANTINE_COLUMNS: tuple[Column, ...] = (
    Column("table_name", "text", nullable=False),
    Column("column_name", "text", description="null when the row as a whole is at fault"),
    Column("reason", "text", nullable=False),
    Column("value", "text", description="the offending value's text, cut at 1,000 characters"),
    Column("row", "json", nullable=False, description="the whole row as JSON, cut at 100,000 characters"),
    *LINEAGE_COLUMNS,
)
