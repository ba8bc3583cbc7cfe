"""The words of pipelines.yaml. The committed JSON Schema is generated from these models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A block of the file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InlineAsset(Strict):
    """An asset written in the file. An empty source symbol says that the source does not carry it."""

    symbol: str
    name: str = ""
    category: str = ""
    binance: str = ""
    coingecko: str = ""
    yfinance: str = ""
    freecryptoapi: str = ""


class AssetList(Strict):
    """A list of assets: rows of a CSV file, plus `add`."""

    file: str | None = None
    where: dict[str, str] = {}
    top: int | None = Field(default=None, ge=1)
    asset_type: str | None = None
    add: list[str | InlineAsset] = []


class FilesystemLake(Strict):
    """A lake in a local folder."""

    type: Literal["filesystem"]
    path: str
    format: Literal["parquet", "csv"] = "parquet"


class S3Lake(Strict):
    """A lake in a bucket of MinIO or any S3."""

    type: Literal["s3"]
    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str
    secret_key: str
    format: Literal["parquet", "csv"] = "parquet"


class Profile(BaseModel):
    """Where data lives: a lake, and destinations by name (every further key)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    data: str = ".data/local"
    market: Literal["live", "replay"] = "live"
    lake: FilesystemLake | S3Lake


class Transform(Strict):
    """Which models a pipeline runs (SQLMesh's selection), and on which warehouses."""

    select: str | list[str] = []
    on: list[str] = []


class Pipeline(Strict):
    """What to extract, where to load, which models to run, and when (cron in `timezone`)."""

    schedule: str | None = None
    extract: list[str]
    load: list[str] = []
    transform: Transform | bool = True


class ProjectFile(Strict):
    """pipelines.yaml."""

    timezone: str = "UTC"
    assets: dict[str, AssetList] = {}
    profiles: dict[str, Profile]
    sources: dict[str, Any]
    pipelines: dict[str, Pipeline]
