"""The same market through every kind of lake and warehouse: the same marts. And queries beside a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sources.market_replay import Fault, MarketReplay
from tests.conformance.s3_server import S3Server, s3_server
from tests.e2e.engine_project import EngineProject, make_small, new_project

pytestmark = pytest.mark.xdist_group("e2e-profiles")  # they share what one run has made

LAKE = "    lake: {type: filesystem, path: .data/demo/lake}\n"
WAREHOUSE = "    warehouse: {type: ducklake, path: .data/demo/warehouse}\n"
REPLAY = "    market: replay\n"
S3 = (
    "    lake: {type: s3, endpoint: URL, bucket: raw-data, prefix: market, "
    'access_key: "${LAKE_KEY}", secret_key: "${LAKE_SECRET}"}\n'
)
PIPELINES = ("prices-crypto-pipeline", "prices-stock-pipeline")
NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def still_market() -> Iterator[MarketReplay]:
    """A market whose clock stands still: two runs see the same prices."""
    with MarketReplay(now=NOW) as replay:
        yield replay


def project_on(folder: Path, market: MarketReplay, **env: str) -> EngineProject:
    project = make_small(new_project(folder, **env))
    project.replace(REPLAY, f"{REPLAY}    market_url: {market.url}\n")
    return project


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, still_market: MarketReplay) -> dict[str, str]:
    """What a local Parquet lake and DuckLake make of it."""
    project = project_on(tmp_path_factory.mktemp("usual") / "project", still_market)
    project.run(*PIPELINES)
    return project.checksums()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.parametrize("kind", ["duckdb", pytest.param("csv", marks=pytest.mark.chaos), "s3"])
def test_the_same_marts(
    tmp_path: Path, still_market: MarketReplay, usual: dict[str, str], kind: str, request: pytest.FixtureRequest
) -> None:
    project = project_on(tmp_path / "project", still_market)
    if kind == "duckdb":
        project.replace(WAREHOUSE, "    warehouse: {type: duckdb, path: .data/demo/warehouse.duckdb}\n")
    elif kind == "csv":
        project.replace(LAKE, "    lake: {type: filesystem, path: .data/demo/lake, format: csv}\n")
    else:
        server: S3Server = request.getfixturevalue("bucket")
        project = EngineProject(
            project.folder, project.profile, {"LAKE_KEY": server.access_key, "LAKE_SECRET": server.secret_key}
        )
        project.replace(LAKE, S3.replace("URL", server.url))
    project.run(*PIPELINES)
    assert project.checksums() == usual
    assert {"dim_asset", "fct_asset_candles", "fct_asset_price_comparison", "fct_asset_prices"} <= set(usual)
    if kind == "duckdb":
        assert (project.folder / ".data" / "demo" / "warehouse.duckdb").is_file()
    elif kind == "csv":
        assert list((project.folder / ".data" / "demo" / "lake").glob("binance/*/*/*/part-*.csv*"))
    else:
        assert not (project.folder / ".data" / "demo" / "lake").exists()
    assert project.engine("doctor", "--json").document()["ok"]


@pytest.mark.parametrize("kind", ["ducklake", pytest.param("duckdb", marks=pytest.mark.chaos)])
def test_queries_beside_a_run(tmp_path: Path, market: MarketReplay, kind: str) -> None:
    """A reader sees the last finished run while the next one goes on, then the next; never something between."""
    project = project_on(tmp_path / "project", market)
    if kind == "duckdb":
        project.replace(WAREHOUSE, "    warehouse: {type: duckdb, path: .data/demo/warehouse.duckdb}\n")
    count = "select count(*), count(distinct _load_id) from landing.raw_stockprices_yfinance"
    project.run("prices-stock-pipeline")
    ((before, packages),) = project.rows(count)
    assert packages == 1
    market.inject(Fault("slow", host=".*yahoo.*", times=1, seconds=2))
    running = project.start("run", "prices-stock-pipeline")
    seen = []
    while running.poll() is None:
        beside = project.engine("query", count, "--json")
        if running.poll() is None:
            seen.append(tuple(beside.document()["rows"][0]))
        time.sleep(0.1)
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    ((after, packages),) = project.rows(count)
    assert (packages, seen[0]) == (2, (before, 1)), "the first query was not beside the run"
    assert set(seen) <= {(before, 1), (after, 2)}
