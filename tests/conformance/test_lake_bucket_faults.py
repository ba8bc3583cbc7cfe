"""What a user reads when the S3 server refuses, is away, or goes away in the middle; and what is left then."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from engine.config.models import S3Lake
from engine.errors import LakeError
from engine.lake import bucket, bucket_doctor, remote
from engine.lake.bucket_doctor import examine
from engine.lake.lake import Lake, new_load_id, open_lake
from engine.table import Column, Table
from tests.conformance.s3_server import READER, S3Server, prefix_of, s3_server
from tests.servers.minio_server import minio_server

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TABLE = Table("raw_t", (Column("v", "bigint"),))


@pytest.fixture(scope="module", params=[s3_server, pytest.param(minio_server, marks=pytest.mark.chaos)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with request.param(tmp_path_factory.mktemp("s3")) as running:
        yield running


def settings_of(server: S3Server, tmp_path: Path, **changes: Any) -> S3Lake:
    settings = {
        "type": "s3",
        "bucket": "faults",
        "prefix": prefix_of(tmp_path),
        "endpoint": server.url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
    }
    return S3Lake(**{**settings, **changes})


def lake_on(server: S3Server, tmp_path: Path, **changes: Any) -> Lake:
    return open_lake(settings_of(server, tmp_path, **changes), tmp_path, tmp_path / "cache")


def land(lake: Lake) -> None:
    seq = lake.state("s", "r", "raw_t")[1]
    with lake.writer(
        source="s", resource="r", table=TABLE, run_id="r", load_id=new_load_id(NOW), since_seq=seq
    ) as writer:
        writer.write(pa.table({"v": [1]}))
        writer.publish(TABLE.columns, {}, NOW, NOW)


def test_a_wrong_secret(server: S3Server, tmp_path: Path) -> None:
    for key in ("secret_key", "access_key"):
        with pytest.raises(LakeError, match=r"refuses|does not know") as caught:
            land(lake_on(server, tmp_path, **{key: "canary-5f1d"}))
        assert "lake s3://faults/" in caught.value.reason
        assert "access_key and secret_key" in caught.value.remedy
        assert "canary" not in str(caught.value)


def test_doctor_asks_for_server_rights_and_clock(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake_on(server, tmp_path))
    found = {each.what: each for each in examine(settings_of(server, tmp_path))}
    assert set(found) == {"server", "rights", "clock", "space"}
    assert all(each.ok for each in found.values())
    assert server.url in found["server"].detail
    lake = lake_on(server, tmp_path)
    assert lake.verify() == [], "the probe is gone"
    [only] = examine(settings_of(server, tmp_path, bucket="not-there-yet"))
    assert "the first run makes it" in only.detail
    with pytest.raises(LakeError, match=r"refuses|does not know"):
        list(examine(settings_of(server, tmp_path, secret_key="canary-5f1d")))  # noqa: S106
    monkeypatch.setattr(bucket_doctor, "time", SimpleNamespace(time=lambda: time.time() + 300))
    clock = {each.what: each for each in examine(settings_of(server, tmp_path))}["clock"]
    assert not clock.ok
    assert re.fullmatch(r"(299|300|301) s behind this machine", clock.detail)


def test_doctor_reads_what_it_wrote_and_blames_no_key_for_a_server_that_went_away(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake_on(server, tmp_path))
    settings = settings_of(server, tmp_path)
    for answer, said in ((b"of yesterday", "something else was read"), (None, "nothing was read")):
        monkeypatch.setattr(remote.Remote, "read", lambda *_, answer=answer: answer)
        rights = {each.what: each for each in examine(settings)}["rights"]
        assert (rights.ok, said in rights.detail) == (False, True)
    monkeypatch.undo()
    away = remote.Remote(settings_of(server, tmp_path, endpoint="http://127.0.0.1:1"))
    monkeypatch.setattr(remote.Remote, "read", lambda _, path: away.size(path))
    with pytest.raises(LakeError, match="cannot be reached"):
        list(examine(settings))


def test_a_bucket_is_made_or_its_name_refused(server: S3Server, tmp_path: Path) -> None:
    lake = lake_on(server, tmp_path, bucket="made-by-the-lake")
    land(lake)
    assert lake.verify() == []
    with pytest.raises(LakeError, match="bucket") as caught:
        land(lake_on(server, tmp_path, bucket="NO"))
    assert "lower-case" in caught.value.remedy


def test_a_key_that_may_only_read(server: S3Server, tmp_path: Path) -> None:
    if "minio" in str(server.process.args):
        pytest.skip("MinIO makes users and their rights by a program of its own")
    land(lake_on(server, tmp_path))
    reading = lake_on(server, tmp_path, access_key=READER[0], secret_key=READER[1])
    found = examine(settings_of(server, tmp_path, access_key=READER[0], secret_key=READER[1]))
    [rights] = [each for each in found if each.what == "rights"]
    assert not rights.ok
    assert "the key may not write" in rights.detail
    assert reading.verify() == []
    with pytest.raises(LakeError, match="permission denied") as caught:
        land(reading)
    assert "their rights" in caught.value.remedy
    assert lake_on(server, tmp_path).verify() == []


def test_a_clock_that_is_off(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore import auth

    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: datetime.now() - timedelta(hours=1))  # noqa: DTZ005
    with pytest.raises(LakeError) as caught:
        land(lake_on(server, tmp_path))
    assert "refuses this machine's clock" in caught.value.reason
    assert "chrony" in caught.value.remedy


def test_a_server_that_is_away(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="cannot be reached") as caught:
        lake_on(server, tmp_path, endpoint="http://127.0.0.1:1").head("raw_t")
    assert "endpoint" in caught.value.remedy


def test_a_server_that_goes_away_in_mid_download(tmp_path: Path) -> None:
    """Its answer promises more bytes than come."""
    short = b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "x"\r\nConnection: close\r\n\r\n' + b"x" * 10

    class Short(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(short)

    settings = S3Lake(type="s3", bucket="b", access_key="a", secret_key="s")  # noqa: S106
    with ThreadingTCPServer(("127.0.0.1", 0), Short) as away:
        threading.Thread(target=away.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        endpoint = f"http://127.0.0.1:{away.server_address[1]}"
        cut = remote.Remote(settings.model_copy(update={"endpoint": endpoint}))
        with pytest.raises(LakeError, match="cannot be reached or stopped answering"):
            cut.download("object", tmp_path / "object")
        away.shutdown()


def test_a_server_that_goes_away_in_mid_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dying")
    with s3_server(folder) as server:
        lake = lake_on(server, tmp_path)
        land(lake)
        upload = remote.Remote.upload

        def cut(self: remote.Remote, source: Path, path: str) -> None:
            if source.name == "manifest.json":
                server.kill()
            upload(self, source, path)

        monkeypatch.setattr(remote.Remote, "upload", cut)
        with pytest.raises(LakeError, match="cannot be reached or stopped answering"):
            land(lake)
        monkeypatch.undo()
    with s3_server(folder) as server:
        assert [problem.kind for problem in lake_on(server, tmp_path).verify()] == ["orphan"]
        monkeypatch.setattr(bucket, "GRACE", 0.0)  # as an hour later
        changed = lake_on(server, tmp_path)
        # the cache folder is named after the endpoint, and the server came back on another port
        (old,) = list((tmp_path / "cache").glob("s3-*/staging/*.lock"))
        staging = changed._store._cache / "staging"  # type: ignore[attr-defined]
        staging.mkdir(parents=True)
        old.rename(staging / old.name)
        land(changed)
        assert changed.verify() == []
        assert len(list(changed.entries("raw_t"))) == 2


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and is silent. Here it may be so for half a second, and each try is counted."""
    monkeypatch.setattr(remote, "SILENT_SECONDS", 0.5)
    tries: list[object] = []
    release = threading.Event()

    class Silent(BaseRequestHandler):
        def handle(self) -> None:
            tries.append(self.client_address)
            release.wait(60)

    with ThreadingTCPServer(("127.0.0.1", 0), Silent) as silent:
        silent.daemon_threads = True
        threading.Thread(target=silent.serve_forever, daemon=True).start()
        settings = S3Lake(
            type="s3",
            bucket="raw-data",
            endpoint=f"http://127.0.0.1:{silent.server_address[1]}",
            access_key="key",
            secret_key="secret",  # noqa: S106 - nobody asks for it
        )
        try:
            with pytest.raises(LakeError, match="cannot be reached or stopped answering"):
                open_lake(settings, tmp_path, tmp_path / "cache").head("raw_prices")
            assert len(tries) == 1 + remote.AGAIN
        finally:
            release.set()
            silent.shutdown()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://127.0.0.1", "http://", "http://host name"])
def test_an_endpoint_that_is_no_address_is_told(endpoint: str, tmp_path: Path) -> None:
    settings = S3Lake(type="s3", bucket="raw-data", endpoint=endpoint, access_key="key", secret_key="secret")  # noqa: S106
    with pytest.raises(LakeError, match="its endpoint is not an address"):
        open_lake(settings, tmp_path, tmp_path / "cache")
