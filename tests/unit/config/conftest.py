"""A small project in a folder of its own, and a way to load edited copies of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.config.load import Project, load_project
from engine.config.problems import ConfigError

PIPELINES = """\
timezone: Asia/Ho_Chi_Minh

assets:
  crypto: {file: assets.csv, where: {asset_type: crypto}, top: 3}
  stocks: {file: assets.csv, where: {asset_type: stock}, add: [ARM]}

profiles:
  local:
    lake: {type: filesystem, path: .data/lake}
    warehouse: {type: ducklake, path: .data/warehouse}
  cloud:
    lake: {type: s3, bucket: raw-data, access_key: "${S3_ACCESS_KEY}", secret_key: "${S3_SECRET_KEY}"}
    warehouse: {type: duckdb, path: "${CLOUD_PATH}/w.duckdb"}
    timeseries: {type: duckdb, path: t.duckdb}

sources:
  coingecko:
    type: rest
    client:
      base_url: https://api.coingecko.com/api/v3
      auth: {type: api_key, header: x-cg-demo-api-key, key: "${COINGECKO_API_KEY:-}"}
      limits: {per_minute: 30, per_month: 10000}
    resources:
      raw_cryptoprices_coingecko:
        path: coins/markets
        params: {vs_currency: usd, ids: "{assets.crypto.coingecko}"}
        columns:
          symbol: {from: id}
          price: {from: current_price, type: decimal}
  yfinance:
    type: yfinance
    resources:
      crypto: {table: raw_cryptoprices_yfinance, assets: crypto}
      stocks: {table: raw_stockprices_yfinance, assets: stocks}

pipelines:
  prices-crypto-pipeline:
    schedule: "0 20 * * *"
    extract: [coingecko, yfinance.crypto]
    load: [warehouse, timeseries]
  prices-stock-pipeline:
    schedule: "0 20 * * *"
    extract: [yfinance.stocks]
    load: [warehouse]
"""

ASSETS = """\
asset_symbol,asset_type,asset_name,asset_category,binance,coingecko,yfinance,freecryptoapi
BTC,crypto,Bitcoin,Layer 1,BTCUSDT,bitcoin,BTC-USD,BTC
ETH,crypto,Ethereum,Layer 1,ETHUSDT,ethereum,ETH-USD,ETH
USDT,crypto,Tether,Stablecoin,,tether,USDT-USD,USDT
SUI,crypto,Sui,Layer 1,SUIUSDT,sui,SUI20947-USD,SUI
AAPL,stock,Apple,Information Technology,,,AAPL,
"""

Edits = tuple[tuple[str, str], ...]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines.yaml").write_text(PIPELINES)
    (tmp_path / "assets.csv").write_text(ASSETS)
    return tmp_path


@pytest.fixture
def edited(folder: Path) -> Callable[..., Project]:
    """Load the project with each (old, new) replaced in pipelines.yaml; an old text that is not there fails."""

    def load(*edits: tuple[str, str], profile: str | None = None, env: Mapping[str, str] | None = None) -> Project:
        text = PIPELINES
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        (folder / "pipelines.yaml").write_bytes(text.encode())
        return load_project(folder / "pipelines.yaml", profile=profile, env=env or {})

    return load


@pytest.fixture
def refused(edited: Callable[..., Project]) -> Callable[..., str]:
    """Return the text of the error that the edits cause."""

    def text(*edits: tuple[str, str], profile: str | None = None, env: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            edited(*edits, profile=profile, env=env)
        assert caught.value.exit_code == 2
        said = str(caught.value)
        assert len(said.splitlines()) <= 40
        return said

    return text
