"""The YAML of a `type: yfinance` source."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sources.protocol import Asset, AssetLists, Calls, Resource, SourceContext
from sources.timeseries import TimeseriesSettings, checked
from sources.yfinance.tables import CRYPTO_COLUMNS, crypto_table, stock_table

if TYPE_CHECKING:
    from dlt.extract import DltResource

Kind = Literal["crypto", "stocks"]
Interval = Literal["1m", "2m", "5m", "15m", "60m", "1h", "1d", "1wk", "1mo"]
Period = Literal["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "max"]

BACKFILL: dict[str, timedelta] = {"1m": timedelta(days=7), "1d": timedelta(days=365)}
"""Longest window of one backfill call: Yahoo allows 8 days of 1m bars; the others are kept to a bounded answer."""
INTRADAY_BACKFILL = timedelta(days=59)
COOKIE_CALLS = 2
"""yfinance fetches one cookie and one crumb before the first answer of a run."""


class Strict(BaseModel):
    """A block of the file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class YfinanceLimits(Strict):
    """How often Yahoo may be asked, which publishes no limits. The market replay may be asked at any rate."""

    per_minute: int | None = Field(default=240, ge=1, description="requests a minute, our own choice; null: no limit")
    per_month: int | None = Field(
        default=None, ge=1, description="requests in 30 days; schedules are checked against it"
    )


class YfinanceClient(Strict):
    """How Yahoo is asked: limits, tickers asked at the same time, seconds to wait for an answer."""

    limits: YfinanceLimits = Field(default=YfinanceLimits(), description="how often Yahoo may be asked")
    parallel: int = Field(default=4, ge=1, le=16, description="tickers asked at the same time")
    timeout: float = Field(default=20.0, gt=0, le=300, description="seconds to wait for one answer")


class YfinanceResource(Strict):
    """One table of prices. `kind` is needed only where the resource is not called `crypto` or `stocks`."""

    kind: Kind | None = Field(default=None, description="crypto or stocks; by default the resource's name says it")
    table: str | None = Field(
        default=None, description="landed table; raw_cryptoprices_<source> or raw_stockprices_<source> by default"
    )
    assets: str | None = Field(default=None, description="asset list to follow; the list named as the kind by default")
    interval: Interval = Field(default="1d", description="length of a bar")
    period: Period = Field(default="5d", description="how far back a run asks; a backfill has its own dates")
    facts: bool = Field(
        default=True,
        description="stocks only: ask for the company's name, sector, market capitalisation, once a run and ticker",
    )
    timeseries: TimeseriesSettings | None = Field(
        default=None, description="how a destination of `type: timescaledb` keeps the table; without it as landed only"
    )

    @field_validator("timeseries")
    @classmethod
    def is_a_time_series(cls, block: TimeseriesSettings | None) -> TimeseriesSettings | None:
        """Both tables have the same instants and keys alike."""
        return checked(block, CRYPTO_COLUMNS, crypto_table("any").primary_key)


class YfinanceSource(Strict):
    """A source block of `type: yfinance`."""

    type: Literal["yfinance"] = Field(description="prices of Yahoo Finance, through yfinance")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    client: YfinanceClient = Field(default=YfinanceClient(), description="how Yahoo is asked")
    resources: dict[str, YfinanceResource] = Field(
        default={"crypto": YfinanceResource(kind="crypto"), "stocks": YfinanceResource(kind="stocks")},
        description="tables by name",
    )

    @model_validator(mode="after")
    def _kinds_are_known(self) -> YfinanceSource:
        for key, resource in self.resources.items():
            if resource.kind is None and key not in {"crypto", "stocks"}:
                raise ValueError(
                    f"resource `{key}` needs `kind: crypto` or `kind: stocks` (only resources with those names do not)"
                )
        return self

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:
        """Return what this source can extract; light, builds nothing."""
        return [self._resource(name, key, settings, assets) for key, settings in self.resources.items()]

    def _resource(self, name: str, key: str, settings: YfinanceResource, assets: AssetLists) -> Resource:
        kind: Kind = settings.kind or ("crypto" if key == "crypto" else "stocks")
        assets_key = settings.assets or kind
        carried = sum(1 for asset in assets.get(assets_key, ()) if yahoo_symbol(asset))
        calls = carried * (2 if kind == "stocks" and settings.facts else 1) + COOKIE_CALLS
        table = (
            crypto_table(settings.table or f"raw_cryptoprices_{name}")
            if kind == "crypto"
            else stock_table(settings.table or f"raw_stockprices_{name}")
        )
        if settings.timeseries:
            table = replace(table, timeseries=settings.timeseries.series())
        limits = self.client.limits
        backfill = BACKFILL.get(settings.interval)
        if backfill is None:
            backfill = timedelta(days=3650) if settings.interval in {"1wk", "1mo"} else INTRADAY_BACKFILL
        return Resource(
            name=key,
            table=table,
            build=partial(self._build, key, kind, assets_key, settings, table.name),
            calls=Calls(calls=calls, weight=calls, per_minute=limits.per_minute, per_month=limits.per_month),
            assets=assets_key,
            carries=lambda asset: bool(yahoo_symbol(asset)),
            backfill=backfill,
        )

    def _build(
        self, key: str, kind: Kind, assets_key: str, settings: YfinanceResource, table: str, ctx: SourceContext
    ) -> DltResource:
        from sources.yfinance.resource import Plan, prices  # dlt, requests: run time only

        return prices(
            Plan(
                resource=key,
                kind=kind,
                table=table,
                interval=settings.interval,
                period=settings.period,
                facts=settings.facts and kind == "stocks" and ctx.window is None,
                assets=tuple(asset for asset in ctx.assets.get(assets_key, ()) if yahoo_symbol(asset)),
                client=self.client,
            ),
            ctx,
        )


def yahoo_symbol(asset: Asset) -> str:
    """Return the asset's symbol at Yahoo; "" says that Yahoo does not carry it.

    An asset without source symbols (a plain symbol in the file) is SYMBOL-USD as crypto, and itself as a stock
    with the dot of a share class written as Yahoo's dash (BRK.B is BRK-B).
    """
    if "yfinance" in asset.symbols:
        return asset.symbols["yfinance"].strip()
    if asset.asset_type == "crypto":
        return f"{asset.symbol}-USD"
    stem, dot, share_class = asset.symbol.rpartition(".")
    return f"{stem}-{share_class}" if dot and share_class in {"A", "B"} else asset.symbol  # other endings are exchanges
