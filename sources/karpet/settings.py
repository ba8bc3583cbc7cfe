"""The YAML of a `type: karpet` source."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.table import Column, Table
from sources.protocol import Asset, AssetLists, Calls, Resource, SourceContext

if TYPE_CHECKING:
    from dlt.extract import DltResource

ENDPOINT = "https://coincodex.com/api/coincodexicos/get_news/{symbol}/{limit}/1/"
"""What karpet 0.5 asks. The site has moved since, so expect to replace it."""

COLUMNS = (
    Column("ticker", "text", description="the asset's symbol; null if the article is about none"),
    Column("asset_type", "text"),
    Column("url", "text", nullable=False, description="address of the article"),
    Column("date", "date", description="UTC date of publication"),
    Column("title", "text", description="plain text, at most 1,000 characters"),
    Column("description", "text", description="plain text, at most 10,000 characters"),
    Column("image", "text", description="address of the article's picture"),
    Column("publisher", "text", description="the site's name for itself, else its host"),
    Column("published_at", "timestamp", description="UTC instant of publication; null if the source has only a date"),
)


class Strict(BaseModel):
    """A block of the file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KarpetLimits(Strict):
    """How often one host may be asked; the market replay may be asked at any rate."""

    per_minute: int | None = Field(default=None, ge=1, description="requests a minute; without it no limit is kept")
    per_month: int | None = Field(
        default=None, ge=1, description="requests in 30 days; schedules are checked against it"
    )


class KarpetClient(Strict):
    """How sites are asked: limits, coins asked at the same time, seconds for one page."""

    limits: KarpetLimits = Field(default=KarpetLimits(), description="how often the site may be asked")
    parallel: int = Field(default=4, ge=1, le=16, description="coins asked at the same time")
    timeout: float = Field(default=20.0, gt=0, le=300, description="seconds to wait for one page")


class KarpetResource(Strict):
    """One table of news; `limit` is the number of articles a coin and run."""

    table: str | None = Field(default=None, description="landed table; raw_news by default")
    assets: str = Field(default="crypto", description="asset list whose coins are asked about")
    limit: int = Field(default=10, ge=1, le=100, description="articles a coin and run")


class KarpetSource(Strict):
    """A source block of `type: karpet`."""

    type: Literal["karpet"] = Field(description="news about coins, through karpet")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    endpoint: str = Field(
        default=ENDPOINT, description="list of a coin's articles: a JSON list of objects with `url`; {symbol}, {limit}"
    )
    client: KarpetClient = Field(default=KarpetClient(), description="how the site is asked")
    resources: dict[str, KarpetResource] = Field(default={"news": KarpetResource()}, description="tables by name")

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, endpoint: str) -> str:
        if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
            raise ValueError("the endpoint has to be a web address, https://...")
        if "{symbol}" not in endpoint:
            raise ValueError("the endpoint has to say where the coin stands: write {symbol} there")
        return endpoint

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:  # noqa: ARG002 - as every source
        """Return what this source can extract; light, builds nothing."""
        return [self._resource(key, settings, assets) for key, settings in self.resources.items()]

    def _resource(self, key: str, settings: KarpetResource, assets: AssetLists) -> Resource:
        coins = sum(1 for asset in assets.get(settings.assets, ()) if karpet_symbol(asset))
        limits = self.client.limits
        table = Table(
            name=settings.table or "raw_news",
            columns=COLUMNS,
            primary_key=("url",),  # a row a ticker, but an article without one is an article too
            description="Crypto news, one row an article and coin",
        )
        # the quota is the endpoint's; the pages of articles are at other sites
        calls = Calls(calls=coins, weight=coins, per_minute=limits.per_minute, per_month=limits.per_month)
        return Resource(
            name=key,
            table=table,
            build=partial(self._build, table.name, settings),
            calls=calls,
            assets=settings.assets,
            carries=lambda asset: bool(karpet_symbol(asset)),
        )

    def _build(self, table: str, settings: KarpetResource, ctx: SourceContext) -> DltResource:
        from sources.karpet.resource import Plan, news  # dlt, karpet: run time only

        coins = tuple(asset for asset in ctx.assets.get(settings.assets, ()) if karpet_symbol(asset))
        return news(Plan(table, coins, settings.limit, self.endpoint, self.client), ctx)


def karpet_symbol(asset: Asset) -> str:
    """Return the coin's symbol at the news site; "" says that it has none."""
    return asset.symbols.get("karpet", asset.symbol).strip()
