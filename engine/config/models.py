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

    Every further key is the symbol at a source, such as `binance: ARBUSDT`: a source's name, a column that a source
    reads (`assets.LIST.COLUMN`) or a column of the assets file. A symbol that the assets file knows takes its row from
    there, and the keys here go first. For any other, the sources named here are those that carry it; where none is
    named, every source gets the symbol by its own rule.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str]

    symbol: str = Field(description="the asset's own symbol, such as BTC or AAPL; tables and models use it")
    name: str = Field(default="", description="full name; empty: taken from the assets file where it has the symbol")
    category: str = Field(default="", description="category, such as Layer 1; empty: taken from the assets file")
    asset_type: AssetType | None = Field(default=None, description="crypto or stock; without it the list's type")


class AssetList(Strict):
    """A list of assets: rows of a CSV file (in its order, filtered by `where`, cut at `top`), then `add`."""

    file: str | None = Field(default=None, description="CSV file of assets, relative to the project; without it: `add`")
    where: dict[str, str] = Field(default={}, description="rows of the file to take, column: value; empty: all of them")
    top: int | None = Field(default=None, ge=1, description="take the first so many rows; without it all of them")
    asset_type: AssetType | None = Field(default=None, description="type of the assets in `add`")
    add: list[str | InlineAsset] = Field(default=[], description="further assets: a symbol, or a mapping")


class FilesystemLake(Strict):
    """A lake in a local folder."""

    type: Literal["filesystem"] = Field(description="a local folder")
    path: str = Field(description="folder of the lake, relative to the project; made by the first package")
    format: LakeFormat = Field(default="parquet", description="format of the packages' files; read back in either")


class S3Lake(Strict):
    """A lake in a bucket of MinIO or any S3."""

    type: Literal["s3"] = Field(description="a bucket of any S3 server")
    bucket: str = Field(description="name of the bucket; made by the first package if it does not exist")
    prefix: str = Field(default="", description="folder inside the bucket; empty: the bucket's top")
    endpoint: str | None = Field(default=None, description="http(s)://host:port of the server; without it AWS")
    region: str = Field(default="us-east-1", description="region that requests are signed for")
    access_key: str = Field(description="access key; write ${NAME}, never the key itself")
    secret_key: str = Field(description="secret key; write ${NAME}, never the key itself")
    format: LakeFormat = Field(default="parquet", description="format of the packages' files; read back in either")


Lake = Annotated[FilesystemLake | S3Lake, Field(discriminator="type")]


class MetricsServer(Strict):
    """Where long-running commands (`engine up`, `engine run --repeat`) serve metrics for Prometheus, at /metrics."""

    port: int = Field(default=9464, ge=1, le=65535, description="port to serve at; one process serves a profile")
    host: str = Field(
        default="127.0.0.1", description="address to serve at: this machine only, unless a container needs 0.0.0.0"
    )


Link = Annotated[str, Field(pattern=r"^https?://\S+$")]


class Profile(BaseModel):
    """Where data lives: a lake, and destinations by name (every further key)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    data: str = Field(
        default=".data/local", description="folder for state, locks and caches of this profile, relative to the project"
    )
    market: Literal["live", "replay"] = Field(default="live", description="replay: the bundled, simulated market")
    market_url: str | None = Field(
        default=None,
        pattern=r"^http://(127\.0\.0\.1|localhost):\d+$",
        description="with market: replay, a replay that runs already (`python -m sources.market_replay`)",
    )
    broker: Literal["live", "mock"] = Field(
        default="live",
        description="mock: kafka sources read simulated messages from a broker in the run, whatever their brokers are",
    )
    lake: Lake = Field(description="where load packages land: every destination is filled from it")
    metrics: MetricsServer | None = Field(
        default=None, description="where long-running commands serve metrics; without it they serve none"
    )
    links: dict[str, Link] = Field(
        default={},
        description="names to addresses that each run's page in Prefect links to, such as a dashboard's;"
        " {pipeline} stands for the pipeline's name",
    )


class Transform(Strict):
    """Which models a pipeline runs (SQLMesh's selection), and where (default: on every warehouse it loads into)."""

    select: str | list[str] = Field(
        default=[],
        description="SQLMesh selection, such as tag:prices+ (models outside of it are left as they are);"
        " empty: all models downstream of what was loaded",
    )
    on: list[str] = Field(default=[], description="warehouses to run the models on; empty: every one it loads into")


class Pipeline(Strict):
    """What to extract, where to load, which models to run, and when (cron in `timezone`)."""

    schedule: str | None = Field(default=None, description="cron, five fields; none: runs only when asked")
    extract: list[str] = Field(min_length=1, description="a source, or source.resource")
    load: list[str] = Field(default=[], description="destinations; the lake is always first")
    transform: Transform | bool = Field(
        default=True, description="false: no models run; a mapping says which, and where"
    )
    retries: int = Field(
        default=2,
        ge=0,
        le=20,
        description="under Prefect: how often a run tries a source or destination that failed again, each on its own;"
        " a configuration error never",
    )
    retry_delay_seconds: float = Field(default=30, ge=0, le=3600, description="seconds between two tries")
    timeout_seconds: float = Field(
        default=21_600, gt=0, description="a run under Prefect is stopped after so many seconds; what was landed stays"
    )
    tags: list[str] = Field(default=[], description="tags of its runs in Prefect, beside `tickhouse`")


class Notify(Strict):
    """Messages to a Slack-compatible webhook: once when something breaks, and once when it works again.

    Without the variable that the webhook is read from there are no messages, and `engine validate` says so.
    """

    webhook: str = Field(
        description="address that takes {text: ...}, https unless it is on this machine; write ${NAME}, never the"
        " address itself"
    )
    on: list[Literal["failure", "recovery", "lateness"]] = Field(
        default=["failure", "recovery", "lateness"], min_length=1, description="what to tell"
    )
    remind_hours: float = Field(default=24, ge=1, description="hours after which what is still broken is told again")


class ProjectFile(Strict):
    """pipelines.yaml."""

    timezone: str = Field(default="UTC", description="IANA zone in which schedules are read; data is stored in UTC")
    assets: dict[str, AssetList] = Field(default={}, description="asset lists by name; sources refer to them")
    profiles: dict[str, Profile] = Field(
        min_length=1, description="by name; --profile or ENGINE_PROFILE picks one, else `local`"
    )
    sources: dict[str, Any] = Field(min_length=1, description="sources by name; `type` says which words a block has")
    notify: Notify | None = Field(default=None, description="messages to people; without it there are none")
    pipelines: dict[str, Pipeline] = Field(description="pipelines by name: what `engine run` takes")
