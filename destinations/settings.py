"""Destinations' blocks in pipelines.yaml: light to import, so that `engine validate` stays fast."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class DestinationSettings(BaseModel):
    """What every destination has."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    runs_models: ClassVar[bool] = True
    """Whether it is a warehouse, on which the models run."""


class DucklakeSettings(DestinationSettings):
    """DuckLake: a SQLite catalog and Parquet data in a folder; lake files become table data without a copy."""

    type: Literal["ducklake"] = Field(description="a DuckLake in a local folder")
    path: str = Field(description="folder of the warehouse, relative to the project; made by the first run")


class DuckdbSettings(DestinationSettings):
    """One DuckDB file; readers get a published copy."""

    type: Literal["duckdb"] = Field(description="one DuckDB file")
    path: str = Field(description="the database file, relative to the project; readers' copies lie beside it")
