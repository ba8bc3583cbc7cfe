"""A run without a network: each failure once while it goes on, and once at the end."""

import io

from engine.config.load import load_project
from engine.progress import PlainLines
from engine.run import Runner
from engine.summary import summary

PIPELINES = """
assets: {crypto: {asset_type: crypto, add: [BTC, ETH, XMR]}}
profiles:
  local: {data: .data, lake: {type: filesystem, path: .data/lake}}
sources:
  market:
    type: rest
    client: {base_url: "http://127.0.0.1:1", allow_private: true, tries: 1}
    resources:
      tickers: {table: raw_tickers, path: "tickers", columns: {price: {type: decimal}}}
      candles:
        table: raw_candles
        path: "candles/{each}"
        each: assets.crypto.symbol
        columns: {price: {type: decimal}}
pipelines:
  one: {extract: [market]}
"""


def test_each_failure_is_said_once_while_running_and_once_at_the_end(tmp_path):
    (tmp_path / "pipelines.yaml").write_text(PIPELINES)
    said = io.StringIO()
    report = Runner(load_project(tmp_path / "pipelines.yaml", env={}), PlainLines(said, str)).run("one")
    running = [line for line in said.getvalue().splitlines() if "refuses the connection" in line]
    assert [line.split(": ")[0] for line in running] == ["  ERR extract market.tickers", "  ERR extract market.candles"]
    assert not [line for line in running if "Run again later" in line or "market: " in line]
    page = [line for line in summary(report).splitlines() if "refuses the connection" in line]
    assert len(page) == 1
    assert page[0].startswith("FAILED: market: 127.0.0.1:1/tickers refuses the connection")
    assert "(also: candles)" in page[0]
    assert "Run again later" in page[0]
    assert any("refuses" in notice for r in report.resources for notice in r.notices)  # kept for --json
