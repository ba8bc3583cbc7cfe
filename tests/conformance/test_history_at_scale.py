"""Ten million bars: CSV files, a lake on a real S3 server, a hypertable, candles of a day, which are those of SQL.

    pytest -m chaos tests/conformance/test_history_at_scale.py

HISTORY_ROWS makes it shorter. A short one with CSV packages in the lake is in every run of the tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest
import yaml

from engine.config.load import load_project
from engine.config.project import Project
from engine.progress import Silent
from engine.run import Runner
from tests.bench.bench_files import DECIMALS, RESOURCE
from tests.conformance.s3_server import S3Server, s3_server
from tests.servers.databases import Dsn

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("timescale"),  # one of its server is enough
]
FILES = 20
ROWS = int(os.environ.get("HISTORY_ROWS", "10_000_000"))
SHORT = 40_000


def project_on(folder: Path, s3: S3Server, dsn: str, lake_format: str) -> Project:
    """A project of one pipeline: folder/in by way of S3 into a hypertable with candles of a day."""
    lake = {"type": "s3", "bucket": f"lake-{lake_format}", "endpoint": s3.url, "format": lake_format}
    keys = {"access_key": "${S3_ACCESS_KEY}", "secret_key": "${S3_SECRET_KEY}"}
    series = {"hypertable": "open_time", "chunk": "30d", "candles": ["1d"]}
    document = {
        "profiles": {
            "local": {
                "data": ".data",
                "lake": {**lake, **keys},
                "timeseries": {"type": "timescaledb", "dsn": "${TIMESCALE_DSN}"},
            }
        },
        "sources": {
            "history": {
                "type": "files",
                "path": "in",
                "settle_seconds": 0,
                "resources": {"raw_bars": {**RESOURCE, "primary_key": ["symbol", "open_time"], "timeseries": series}},
            }
        },
        "pipelines": {"daily": {"extract": ["history"], "load": ["timeseries"], "transform": False}},
    }
    (folder / "pipelines.yaml").write_text(yaml.safe_dump(document))
    env = {"S3_ACCESS_KEY": s3.access_key, "S3_SECRET_KEY": s3.secret_key, "TIMESCALE_DSN": dsn}
    return load_project(folder / "pipelines.yaml", env=env)


def write_bars(folder: Path, rows: int, parts: int) -> None:
    """Write bars of a minute of 20 symbols, in so many files, each bar once."""
    each = rows // parts
    with duckdb.connect() as connection:
        for part in range(parts):
            connection.execute(
                f"""
                COPY (
                  SELECT 'SYM' || n % 20 || 'USDT' AS symbol,
                    strftime(TIMESTAMP '2024-01-01' + INTERVAL 1 MINUTE * (n // 20), '%Y-%m-%dT%H:%M:%S+00:00')
                      AS open_time,
                    p || '.' || n % 100 AS open, p + 25 || '.5' AS high, p - 25 || '.12345678' AS low,
                    p + 3 || '.' || n % 10000 AS close, n % 977 || '.' || n % 100000000 AS volume
                  FROM (SELECT range AS n, 40000 + range * 7919 % 20000 AS p
                        FROM range({part * each}, {(part + 1) * each}))
                ) TO '{folder}/bars_{part:02}.csv' (HEADER)
                """
            )


def candles_of(files: Path) -> list[tuple[object, ...]]:
    """Candles of a day by SQL on the files."""
    numbers = ", ".join(f"'{name}': 'DECIMAL(38,18)'" for name in DECIMALS)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(
            "SELECT symbol, time_bucket(INTERVAL 1 DAY, open_time) AS bucket, arg_min(open, open_time), max(high), "
            "min(low), arg_max(close, open_time), sum(volume), count(*) "
            f"FROM read_csv('{files}/*.csv', types = {{'open_time': 'TIMESTAMPTZ', {numbers}}}) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()


def history(folder: Path, rows: int, dsn: str, lake_format: str, parts: int) -> None:
    """Write, run, compare."""
    (folder / "in").mkdir()
    with s3_server(folder / "s3") as s3:
        project = project_on(folder, s3, dsn, lake_format)
        write_bars(folder / "in", rows, parts)
        report = Runner(project, Silent()).run("daily")
        assert report.failures == []
        [loaded] = report.destinations
        assert loaded.rows == rows
    from destinations import open_destination

    opened = open_destination("timeseries", project.destinations["timeseries"], folder, project.data_dir)
    with opened.reader() as connection:
        found = connection.execute(
            b"SELECT symbol, bucket, open, high, low, close, volume, row_count FROM timeseries.raw_bars_1d "
            b"ORDER BY symbol, bucket"
        ).fetchall()
    expected = candles_of(folder / "in")
    assert len(expected) > 20
    assert found == expected


@pytest.mark.chaos
def test_candles_of_ten_million_bars_are_those_of_sql_on_the_files(tmp_path: Path, timescale: Dsn) -> None:
    history(tmp_path, ROWS, timescale(), "parquet", FILES)


def test_a_daily_pipeline_runs_with_a_lake_of_csv(tmp_path: Path, timescale: Dsn) -> None:
    history(tmp_path, SHORT, timescale(), "csv", 2)
