"""The words of pipelines.yaml. The committed JSON Schema is generated from these models.

Source and destination blocks have models of their own (sources.SOURCE_TYPES, destinations.DESTINATION_TYPES).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

AssetType = Literal["crypto", "stock"]
LakeFormat = Literal["parquet", "csv"]


class Strict(BaseModel):
    """A block of the file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InlineAsset(BaseModel):
    """An asset written in the file.

    Every further key is the symbol at a source (a column of the assets file, such as `binance: ARBUSDT`). A symbol
    that the assets file knows takes its row from there, and the keys here go first. For any other, the sources named
    here are those that carry it; where none is named, every source gets the symbol by its own rule.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str]

    symbol: str
    name: str = ""
    category: str = ""
    asset_type: AssetType | None = None


class AssetList(Strict):
    """A list of assets: rows of a CSV file (in its order, filtered by `where`, cut at `top`), then `add`."""

    file: str | None = None
    where: dict[str, str] = {}
    top: int | None = Field(default=None, ge=1)
    asset_type: AssetType | None = Field(default=None, description="type of the assets in `add`")
    add: list[str | InlineAsset] = Field(default=[], description="further assets: a symbol, or a mapping")


class FilesystemLake(Strict):
    """A lake in a local folder."""

    type: Literal["filesystem"]
    path: str
    format: LakeFormat = "parquet"


class S3Lake(Strict):
    """A lake in a bucket of MinIO or any S3."""

    type: Literal["s3"]
    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str
    secret_key: str
    format: LakeFormat = "parquet"


Lake = Annotated[FilesystemLake | S3Lake, Field(discriminator="type")]


class Profile(BaseModel):
    """Where data lives: a lake, and destinations by name (every further key)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    data: str = Field(default=".data/local", description="folder for state, caches and logs of this profile")
    market: Literal["live", "replay"] = Field(default="live", description="replay: the bundled, simulated market")
    market_url: str | None = Field(
        default=None,
        pattern=r"^http://(127\.0\.0\.1|localhost):\d+$",
        description="with market: replay, a replay that runs already (`python -m sources.market_replay`)",
    )
    lake: Lake


class Transform(Strict):
    """Which models a pipeline runs (SQLMesh's selection), and on which warehouses (default: all of the profile)."""

    select: str | list[str] = []
    on: list[str] = []


class Pipeline(Strict):
    """What to extract, where to load, which models to run, and when (cron in `timezone`)."""

    schedule: str | None = Field(default=None, description="cron, five fields; none: runs only when asked")
    extract: list[str] = Field(min_length=1, description="a source, or source.resource")
    load: list[str] = Field(default=[], description="destinations; the lake is always first")
    transform: Transform | bool = True


class ProjectFile(Strict):
    """pipelines.yaml."""

    timezone: str = "UTC"
    assets: dict[str, AssetList] = {}
    profiles: dict[str, Profile] = Field(min_length=1)
    sources: dict[str, Any] = Field(min_length=1)
    pipelines: dict[str, Pipeline]
