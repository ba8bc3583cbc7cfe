"""The YAML of a `type: rest` source: a client, and resources that are declared, not programmed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from engine.errors import UsageError
from engine.table import Table
from sources.columns import ColumnSettings, ContractSettings, columns_of
from sources.http.policy import MIB, Credentials, Limits, Policy
from sources.protocol import Asset, AssetLists, Calls, Resource
from sources.rest.templates import asset_reference, placeholders
from sources.rest.words import (
    WORDS,
    Auth,
    DurationText,
    ErrorRule,
    HeaderSecret,
    Incremental,
    Paginate,
    WeightSteps,
    duration,
)
from sources.timeseries import TimeseriesSettings, checked_beside

Value = str | int | bool


class LimitSettings(BaseModel):
    """What the API allows. `per_minute` counts its own unit of weight; `used_header` tells the weight used."""

    model_config = WORDS

    per_minute: int | None = Field(default=None, ge=1, description="weight a minute; without it no limit is kept")
    per_month: int | None = Field(default=None, ge=1, description="calls in 30 days; schedules are checked against it")
    used_header: str | None = Field(default=None, description="response header with the weight used in the last minute")


class ClientSettings(BaseModel):
    """How the API is reached. Seconds; `budget` is for one request with all its tries and waits."""

    model_config = WORDS

    base_url: str = Field(description="http(s)://host/path that every resource's path is appended to")
    auth: Auth | None = Field(default=None, description="how requests prove who asks; sent to this host only")
    headers: dict[str, HeaderSecret] = Field(default={}, description="further headers, sent to this host only")
    limits: LimitSettings = Field(default=LimitSettings(), description="what the API allows")
    timeout: float = Field(default=30, gt=0, le=120, description="seconds to wait for the next byte of an answer")
    deadline: float = Field(default=60, gt=0, le=600, description="seconds that one whole answer may take")
    budget: float = Field(default=120, gt=0, le=3600, description="seconds for a request with all its tries and waits")
    tries: int = Field(default=5, ge=1, le=10, description="times that a request is sent at most")
    max_body_mb: int = Field(default=64, ge=1, le=1024, description="largest answer, in MiB after decompression")
    redirect_hosts: list[str] = Field(default=[], description="further hosts that a redirect may lead to")
    allow_private: bool = Field(default=False, description="addresses of this machine or network may be asked")
    parallel: int = Field(default=4, ge=1, le=16, description="calls at a time, where a call is about one asset")

    @field_validator("base_url")
    @classmethod
    def asks_the_web(cls, url: str) -> str:
        """Only http and https, a host, and nothing secret or variable in the address."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError("base_url is not an address\nWrite it as https://host/path.") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("base_url is not an address of the web\nWrite it as https://host/path.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "base_url holds more than host and path\nCredentials go into `auth:`, the rest into `params:`."
            )
        return url.rstrip("/")

    @model_validator(mode="after")
    def stays_outside(self) -> Self:
        """An address of this machine is refused here already; names are checked when they are resolved."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            inside = not ipaddress.ip_address(host).is_global
        except ValueError:
            inside = host == "localhost" or host.endswith(".localhost")
        if inside and not self.allow_private:
            raise ValueError(
                f"base_url leads to {host}, which is not an address of the internet\n"
                "Name a public host, or set `allow_private: true` if this is meant."
            )
        return self

    def policy(self) -> Policy:
        """Build the bounds of its requests."""
        return Policy(
            connect_timeout=min(self.timeout, 10.0),
            read_timeout=self.timeout,
            deadline=self.deadline,
            budget=self.budget,
            tries=self.tries,
            max_body=self.max_body_mb * MIB,
            redirect_hosts=tuple(host.lower() for host in self.redirect_hosts),
            allow_private=self.allow_private,
        )

    def rates(self) -> Limits:
        """Build its limits."""
        return Limits(self.limits.per_minute, self.limits.per_month, self.limits.used_header)

    def credentials(self) -> Credentials:
        """Build what only its own host may see."""
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        return Credentials(
            urlsplit(self.base_url).netloc.lower(),
            headers | (self.auth.headers() if self.auth else {}),
            self.auth.params() if self.auth else {},
            (*headers.values(), *(self.auth.secrets() if self.auth else ())),
        )


class RestColumn(ColumnSettings):
    """A column of a REST table. `from` and `value` may hold placeholders: {each}, or the name of a `vary` list.

    `asset` takes a property of the asset that the row is about; `without: asset` cuts the asset's own symbol off the
    front of the field (BTCUSDT -> USDT). `null_when` names fields and the values at which the column has none.
    `optional` says that the field may be missing from every row without a notice.
    """

    asset: Literal["symbol", "name", "category", "asset_type"] | None = Field(
        default=None, description="take this property of the asset that the row is about"
    )
    without: Literal["asset"] | None = Field(
        default=None, description="cut the asset's own symbol off the field's front: BTCUSDT gives USDT"
    )
    null_when: dict[str, str | int | bool | None] = Field(
        default_factory=dict, description="field: value at which this column has no value"
    )
    optional: bool = Field(default=False, description="the field may be missing from every row without a notice")


class RestResource(BaseModel):
    """One endpoint and the table it fills."""

    model_config = WORDS

    path: str = Field(description="appended to base_url; may hold placeholders")
    table: str | None = Field(default=None, description="landed table; the resource's name by default")
    description: str = Field(default="", description="one line for readers of the table")
    params: dict[str, Value] = Field(default={}, description="query parameters; texts may hold placeholders")
    each: str | None = Field(default=None, description="assets.LIST.COLUMN: one call for each asset")
    batch: int | None = Field(default=None, ge=1, description="the most assets that one call may name")
    match: str | None = Field(default=None, description="the field that names the asset of a row")
    vary: dict[str, list[str]] = Field(default={}, description="name: values; one call for every combination")
    select: str | None = Field(default=None, description="JSONPath to the rows; without it the answer is the rows")
    rows: Literal["objects", "arrays", "object"] = Field(
        default="objects",
        description="what `select` finds: a list of objects, a list of arrays (`from` is a position), or one object",
    )
    numbers: Literal["as_sent", "text"] = Field(default="as_sent", description="how undeclared numbers land")
    paginate: Paginate | None = Field(default=None, description="how further pages are asked for; without it one page")
    incremental: Incremental | None = Field(default=None, description="ask only for what is new")
    backfill: DurationText | None = Field(default=None, description="the longest past range of one request")
    weight: int | WeightSteps = Field(default=1, description="what a call costs, in the unit of limits.per_minute")
    errors: list[ErrorRule] = Field(default=[], description="answers that are no data, and what they mean")
    primary_key: list[str] = Field(
        default=[], description="columns that name a row; every delivery is kept all the same"
    )
    columns: dict[str, RestColumn] = Field(
        default={}, description="declared columns; other fields are kept beside them"
    )
    contract: ContractSettings = Field(default=ContractSettings(), description="what may change in what is delivered")
    timeseries: TimeseriesSettings | None = Field(
        default=None, description="how a destination of `type: timescaledb` keeps the table; without it as landed only"
    )

    @field_validator("timeseries")
    @classmethod
    def is_a_time_series(cls, block: TimeseriesSettings | None, info: ValidationInfo) -> TimeseriesSettings | None:
        """Check the block against the columns and the key."""
        return checked_beside(block, info.data)

    @model_validator(mode="after")
    def words_agree(self) -> Self:
        """Check placeholders and what refers to columns."""
        for name in [*self.primary_key, *([self.incremental.column] if self.incremental else [])]:
            if name not in self.columns:
                raise ValueError(f"the column {name!r} is not declared\nColumns: {', '.join(self.columns) or 'none'}.")
        found = {each.name for text in self._templates() for each in placeholders(text, self.vary)}
        if "each" in found and not self.each:
            raise ValueError("{each} stands here, but the resource has no `each:`\nSet `each: assets.LIST.COLUMN`.")
        if self.each and self.batch:
            raise ValueError("`each` and `batch` exclude each other\nRemove one of them.")
        if len(self._references()) > 1:
            raise ValueError("two asset lists in one resource\nMake it two resources, one for each list.")
        if self.batch and not self._references():
            raise ValueError("`batch` needs the assets in a parameter\nWrite {assets.LIST.COLUMN} in `params:`.")
        if self.incremental and self.incremental.full_page and self.paginate:
            raise ValueError("`incremental.full_page` and `paginate` exclude each other\nRemove one of them.")
        if self.backfill and not (self.incremental or found & {"window.start", "window.end"}):
            raise ValueError("`backfill` needs a window\nWrite {window.start} and {window.end} in `params:`.")
        return self

    @field_validator("each")
    @classmethod
    def names_assets(cls, text: str | None) -> str | None:
        """`each` is written assets.LIST.COLUMN."""
        if text is not None and not asset_reference(text):
            raise ValueError(f"{text!r} names no assets\nWrite assets.LIST.COLUMN, such as assets.crypto.binance.")
        return text

    def _templates(self) -> Iterator[str]:
        yield self.path
        yield from (value for value in self.params.values() if isinstance(value, str))
        for column in self.columns.values():
            yield from (text for text in (column.value, column.source) if isinstance(text, str))

    def _references(self) -> set[tuple[str, str]]:
        found = {each.asset_reference for text in self._templates() for each in placeholders(text, self.vary)}
        found.add(asset_reference(self.each or ""))
        return {reference for reference in found if reference}

    @property
    def reference(self) -> tuple[str, str] | None:
        """(asset list, symbol column) that this resource follows."""
        return next(iter(self._references()), None)

    def carried(self, assets: AssetLists) -> list[Asset]:
        """Return the assets to ask for: those with a symbol here, each symbol once."""
        if self.reference is None:
            return []
        name, column = self.reference
        if name not in assets:
            raise UsageError(f"there is no asset list {name!r}", f"Asset lists: {', '.join(assets) or 'none'}.")
        by_symbol: dict[str, Asset] = {}
        for asset in assets[name]:
            if symbol := asset.at(column):
                by_symbol.setdefault(symbol, asset)
        return list(by_symbol.values())

    def variants(self) -> list[dict[str, str]]:
        """Every combination of the `vary` lists; one empty one where there are none."""
        return [dict(zip(self.vary, values, strict=True)) for values in product(*self.vary.values())]

    def groups(self, assets: list[Asset]) -> list[tuple[Asset, ...]]:
        """The assets of each call."""
        if self.reference is None:
            return [()]
        size = 1 if self.each else (self.batch or max(len(assets), 1))
        return [tuple(assets[at : at + size]) for at in range(0, len(assets), size)]

    def cost(self, assets: int) -> int:
        """Weight of one call about so many assets."""
        if isinstance(self.weight, int):
            return self.weight
        steps = sorted(self.weight.up_to.items())
        return next((weight for most, weight in steps if assets <= most), self.weight.above)


class RestSource(BaseModel):
    """A source block of `type: rest`."""

    model_config = WORDS

    type: Literal["rest"] = Field(description="an HTTP API that answers in JSON")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    client: ClientSettings = Field(description="how the API is reached")
    resources: dict[str, RestResource] = Field(
        description="endpoints by name; `extract` names source or source.resource"
    )

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:
        """Return what this source can extract; light, builds nothing."""
        return [self._resource(name, each, settings, assets) for each, settings in self.resources.items()]

    def _resource(self, source: str, name: str, settings: RestResource, assets: AssetLists) -> Resource:
        try:
            groups = settings.groups(settings.carried(assets))
        except UsageError as error:
            raise UsageError(f"sources.{source}.resources.{name}: {error.reason}", error.remedy) from None
        variants = len(settings.variants())
        limits = self.client.limits
        table = Table(
            settings.table or name,
            columns_of(settings.columns),
            tuple(settings.primary_key),
            settings.contract.contract(),
            settings.description,
            settings.timeseries.series() if settings.timeseries else None,
        )

        def build(ctx: Any) -> Any:
            from sources.rest.resource import build_resource

            return build_resource(ctx, table, self.client, settings)

        reference = settings.reference
        weight = sum(settings.cost(len(group)) for group in groups) * variants
        return Resource(
            name=name,
            table=table,
            build=build,
            calls=Calls(len(groups) * variants, weight, limits.per_minute, limits.per_month),
            assets=reference[0] if reference else None,
            carries=(lambda asset: bool(asset.at(reference[1]))) if reference else None,
            backfill=duration(settings.backfill) if settings.backfill else None,
        )
