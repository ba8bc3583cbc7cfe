"""A destination comes back as it was earlier: a restored backup, or a replica that was promoted before its time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conformance import targets
from tests.conformance.landed_packages import FolderLake, price_rows
from tests.conformance.targets import EMBEDDED, Target
from tests.servers.postgres_server import PostgresServer

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("target", EMBEDDED, indirect=True)
def test_an_older_copy_of_the_warehouse_catches_up(target: Target, six_packages: FolderLake, tmp_path: Path) -> None:
    """D19: files of three packages ago."""
    whole = six_packages.packages["raw_prices"]
    six_packages.packages["raw_prices"] = whole[:3]
    assert target.run(six_packages).errors == []
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in tmp_path.glob("warehouse*"):
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, kept / path.name)
    six_packages.packages["raw_prices"] = whole
    assert target.run(six_packages).packages == 3
    for path in tmp_path.glob("warehouse*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in kept.iterdir():
        shutil.move(path, tmp_path / path.name)
    assert len(target.ask(targets.ARRIVED)) == 3, "nothing is gone"
    target.recovers(six_packages)


def test_a_promoted_replica_catches_up(six_packages: FolderLake) -> None:
    """D19: PostgreSQL's data folder as it was before the last three packages, started in its place."""
    whole = six_packages.packages["raw_prices"]
    with PostgresServer() as server:
        target = targets.postgres(server.dsn())
        six_packages.packages["raw_prices"] = whole[:3]
        assert target.run(six_packages).errors == []
        server.kill()
        replica = server.folder / "replica"
        shutil.copytree(server.folder / "data", replica)
        server.restart()
        six_packages.packages["raw_prices"] = whole
        assert target.run(six_packages).packages == 3
        server.kill()
        data = server.folder / "data"
        owner = data.stat()
        shutil.rmtree(data)
        replica.rename(data)
        for path in (data, *data.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        server.restart()
        assert len(target.ask(targets.ARRIVED)) == 3, "nothing is gone"
        six_packages.land(price_rows(60, 10))
        target.recovers(six_packages)
