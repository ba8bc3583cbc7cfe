"""A lake that tests open again and again and damage behind its back: a local folder, a bucket on a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine.config.models import FilesystemLake, S3Lake
from engine.lake.lake import Lake, new_load_id, open_lake
from engine.lake.package import Entry
from engine.table import Column, Table
from tests.conformance.s3_server import S3Server, prefix_of, s3_server
from tests.servers.minio_server import minio_server

PRICES = Table(
    "raw_prices",
    (Column("symbol", "text"), Column("price", "decimal"), Column("observed_at", "timestamp")),
    primary_key=("symbol", "observed_at"),
)
DECIMAL = pa.decimal128(38, 18)
INSTANT = pa.timestamp("us", "UTC")
NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with minio_server(tmp_path_factory.mktemp("minio")) as running:
        yield running


class Place:
    """A lake that can be opened again and again, and damaged behind its back."""

    def __init__(self, settings: FilesystemLake | S3Lake, tmp_path: Path) -> None:
        self.settings, self.tmp_path = settings, tmp_path
        self.opened = 0

    def open(self, *, cache: str = "cache", **changes: Any) -> Lake:
        return open_lake(self.settings.model_copy(update=changes), self.tmp_path, self.tmp_path / cache)

    def fresh(self) -> Lake:
        """As another machine would: nothing cached."""
        self.opened += 1
        return self.open(cache=f"cache-{self.opened}")

    def change(self, path: str, edit: Callable[[bytes], bytes | None]) -> None:
        """Replace a stored file by edit(its bytes); None removes it."""
        if isinstance(self.settings, FilesystemLake):
            file = self.tmp_path / self.settings.path / path
            before = file.read_bytes() if file.exists() else b""
            times = (file.stat().st_atime_ns, file.stat().st_mtime_ns) if file.exists() else None
            after = edit(before)
            if after is None:
                file.unlink()
                return
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(after)
            if times:
                os.utime(file, ns=times)
            return
        import s3fs

        s3 = s3fs.S3FileSystem(
            key=self.settings.access_key,
            secret=self.settings.secret_key,
            endpoint_url=self.settings.endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        key = f"{self.settings.bucket}/{self.settings.prefix}/{path}"
        before = s3.cat_file(key) if s3.exists(key) else b""
        after = edit(before)
        if after is None:
            s3.rm_file(key)
        else:
            s3.pipe_file(key, after)


@pytest.fixture(params=["folder", "bucket", pytest.param("minio", marks=pytest.mark.chaos)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(FilesystemLake(type="filesystem", path="lake"), tmp_path)
    server: S3Server = request.getfixturevalue("minio" if request.param == "minio" else "server")
    settings = S3Lake(
        type="s3",
        bucket="raw-data",
        prefix=prefix_of(tmp_path),
        endpoint=server.url,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )
    return Place(settings, tmp_path)


def prices(*rows: tuple[str | None, str | None, datetime | None]) -> pa.Table:
    symbols, values, times = zip(*rows, strict=True)
    return pa.table(
        {
            "symbol": pa.array(symbols, pa.string()),
            "price": pa.array([None if value is None else Decimal(value) for value in values], DECIMAL),
            "observed_at": pa.array(times, INSTANT),
        }
    )


ONE = prices(("BTC", "100000.123456789012345678", NOW))


def publish(
    lake: Lake,
    rows: pa.Table | None = ONE,
    *,
    source: str = "binance",
    state: dict[str, Any] | None = None,
    since_seq: int | None = None,
    table: Table = PRICES,
    load_id: str | None = None,
) -> Entry | None:
    seq = lake.state(source, "ticker", table.name)[1] if since_seq is None else since_seq
    load_id = load_id or new_load_id(NOW)
    with lake.writer(
        source=source, resource="ticker", table=table, run_id="r1", load_id=load_id, since_seq=seq
    ) as writer:
        if rows is not None:
            writer.write(rows)
        return writer.publish(table.columns, state or {}, NOW, NOW + timedelta(seconds=1))
