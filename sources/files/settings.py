"""The YAML of a `type: files` source: CSV, Parquet and JSON Lines in a folder or a bucket, new files only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from engine.table import Column, Table
from sources.columns import ColumnSettings, ContractSettings, columns_of
from sources.protocol import AssetLists, Resource, SourceContext
from sources.timeseries import TimeseriesSettings, checked_beside

if TYPE_CHECKING:
    from sources.files.ahead import Reading

FILE_COLUMN = Column("_file", "text", nullable=False, description="name of the file, relative to the source's path")

Format = Literal["csv", "parquet", "jsonl"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
}


class FilesResource(BaseModel):
    """The files that fill one table: which ones, how they are written, and what their columns mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: Annotated[str | list[str], Field(description="glob pattern(s): * within a folder, ** across folders")]
    table: str | None = Field(default=None, description="landed table; the resource's name by default")
    format: Format | None = Field(default=None, description="by the file's name by default")
    columns: dict[str, ColumnSettings] = Field(default={}, description="declared columns; others are kept beside them")
    primary_key: list[str] = Field(
        default=[], description="columns that name a row; every delivery is kept all the same"
    )
    contract: ContractSettings = Field(default=ContractSettings(), description="what may change in what is delivered")
    timeseries: TimeseriesSettings | None = Field(
        default=None, description="how a destination of `type: timescaledb` keeps the table; without it as landed only"
    )
    description: str = Field(default="", description="one line for readers of the table")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="of CSV")
    encoding: str = Field(default="utf-8", description="of CSV")
    header: bool = Field(default=True, description="false: CSV without a header; `from` is then a position from 0")
    null_values: list[str] = Field(default=[""], description="unquoted CSV text that means null")

    @field_validator("encoding")
    @classmethod
    def known_encoding(cls, encoding: str) -> str:
        """Refuse an encoding that Python does not know."""
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is not a text encoding; try utf-8, latin-1 or cp1252") from None
        return encoding

    @field_validator("timeseries")
    @classmethod
    def is_a_time_series(cls, block: TimeseriesSettings | None, info: ValidationInfo) -> TimeseriesSettings | None:
        """Check the block against the columns and the key."""
        return checked_beside(block, info.data)

    @model_validator(mode="after")
    def keys_and_positions_exist(self) -> Self:
        """A primary key names declared columns; positions need a file without a header."""
        unknown = [key for key in self.primary_key if key not in self.columns]
        if unknown:
            raise ValueError(f"primary_key names {unknown[0]!r}, which is not under columns")
        for name, column in self.columns.items():
            if name.startswith("_"):
                raise ValueError(f"column {name!r}: names that start with _ are the engine's own")
            if isinstance(column.source, int) and self.header:
                raise ValueError(f"column {name!r}: `from: {column.source}` is a position and needs `header: false`")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The glob patterns as a tuple."""
        return (self.files,) if isinstance(self.files, str) else tuple(self.files)


class FilesSource(BaseModel):
    """A source block of `type: files`. A file is landed once; it comes again when its content changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["files"] = Field(description="CSV, Parquet and JSON Lines files")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    path: str = Field(description="folder (relative to the project) or s3://bucket/prefix")
    endpoint: str | None = Field(default=None, description="S3 server; AWS by default")
    region: str = Field(default="us-east-1", description="region that S3 requests are signed for")
    access_key: str | None = Field(
        default=None, description="S3 access key; write ${NAME}; without it as AWS finds one"
    )
    secret_key: str | None = Field(default=None, description="S3 secret key; write ${NAME}")
    settle_seconds: float = Field(
        default=2, ge=0, le=60, description="a local file changed within this time is looked at twice"
    )
    resources: dict[str, FilesResource] = Field(description="tables by name, each with its files")

    @model_validator(mode="after")
    def keys_belong_to_a_bucket(self) -> Self:
        """S3 words need an s3:// path, and the two keys come together."""
        if not self.on_s3 and (self.endpoint or self.access_key or self.secret_key):
            raise ValueError("endpoint, access_key and secret_key belong to a path that starts with s3://")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key come together")
        return self

    @property
    def on_s3(self) -> bool:
        """Whether the files lie in a bucket."""
        return self.path.startswith("s3://")

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:  # noqa: ARG002 - files follow no asset list
        """Return one resource a table; light, looks at no file."""
        return [self._resource(name, key, settings) for key, settings in self.resources.items()]

    def _resource(self, source: str, key: str, settings: FilesResource) -> Resource:
        table = Table(
            name=settings.table or key,
            columns=(*columns_of(settings.columns), FILE_COLUMN),
            primary_key=tuple(settings.primary_key),
            contract=settings.contract.contract(),
            description=settings.description,
            timeseries=settings.timeseries.series() if settings.timeseries else None,
        )

        def build(ctx: SourceContext) -> object:
            from sources.files.resource import new_files

            return new_files(source, self, settings, table, ctx)

        def ahead(ctx: SourceContext, state: Mapping[str, Any]) -> Reading | None:
            from sources.files.resource import begin_first

            return begin_first(self, settings, ctx, state)

        return Resource(name=key, table=table, build=build, ahead=ahead, one_by_one=True)
