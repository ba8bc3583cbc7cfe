"""The words of a column in pipelines.yaml, the same for every source.

Light on purpose (pydantic only): settings modules import it while the file is validated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.table import Column, ColumnsMode, Contract, DataType, TypeMode


class ColumnSettings(BaseModel):
    """One declared column: where it comes from, its type, and what is done to it on the way.

    `from` is a field's name, a dotted path into nested fields, or a position where rows are arrays; without it the
    column's own name is the field. `value` is a constant, taken when there is no `from` or the field is absent or null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str | int | None = Field(default=None, alias="from", description="field, dotted path, or array position")
    type: DataType = Field(default="text", description="how the value is stored; decimal is DECIMAL(38,18), exact")
    value: str | bool | int | None = Field(default=None, description="constant, or default beside `from`")
    fold: Literal["upper", "lower"] | None = Field(default=None, description="case of ASCII letters")
    timezone: str | None = Field(default=None, description="zone of times that carry none")
    epoch: Literal["s", "ms", "us"] | None = Field(default=None, description="unit of numeric times")
    nullable: bool = Field(default=True, description="false: a row without a value here is set aside")
    description: str = Field(default="", description="one line for readers of the table")

    @field_validator("timezone")
    @classmethod
    def known_zone(cls, zone: str | None) -> str | None:
        """Refuse a zone that the IANA data base does not know."""
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"{zone!r} is not a time zone; write an IANA name such as UTC or Asia/Tokyo") from None
        return zone

    @model_validator(mode="after")
    def words_fit_the_type(self) -> Self:
        """`timezone` and `epoch` are about times; `fold` is about text."""
        if (self.timezone or self.epoch) and self.type not in {"timestamp", "date"}:
            raise ValueError(f"timezone and epoch belong to a timestamp or a date, not to type {self.type}")
        if self.fold and self.type != "text":
            raise ValueError(f"fold belongs to text, not to type {self.type}")
        return self

    def column(self, name: str) -> Column:
        """Build the landed column of this name."""
        return Column(name, self.type, self.nullable, self.description, self.timezone, self.epoch)


class ContractSettings(BaseModel):
    """What happens to an undeclared field, and to a value that does not fit its column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: ColumnsMode = Field(
        default="evolve",
        description="an undeclared field: evolve adds a column, discard_value drops it, discard_row sets the row aside,"
        " freeze fails the package",
    )
    data_type: TypeMode = Field(
        default="discard_row",
        description="a value that does not fit its column: discard_row sets the row aside, freeze fails the package",
    )

    def contract(self) -> Contract:
        """Build the table's contract."""
        return Contract(self.columns, self.data_type)


def columns_of(columns: Mapping[str, ColumnSettings]) -> tuple[Column, ...]:
    """Build a table's columns, in the file's order."""
    return tuple(settings.column(name) for name, settings in columns.items())
