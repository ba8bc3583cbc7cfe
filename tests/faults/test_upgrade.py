"""Upgrade: what earlier releases left is taken over, and what a later one writes is refused in one clear line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import duckdb
import pytest

from tests.faults.old_release import unpacked
from tests.faults.small_project import SmallProject, clear, small_project

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
RELEASES = sorted((Path(__file__).parent / "releases").glob("*.tar.xz"))


def checksums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "_staging" not in path.parts
    }


@pytest.mark.xdist_group("model faults")
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_a_project_of_an_earlier_release_goes_on(release: Path, tmp_path: Path) -> None:
    """U01: built models, a package that waits, a load that died; then a new price. The lake's old files stay."""
    project = unpacked(release, tmp_path / "project")
    assert (project.folder / "warehouse" / "loading.json").exists(), "the load that died is in it"
    before = checksums(project.folder / "lake")
    project.price("new", "4", "2026-05-03T00:00:00Z")
    done = project.engine()
    assert done.code == 0, done.text
    assert project.prices() == [
        ("BTC", "2.000000000000000001", "2026-05-01T00:00:00+00:00"),
        ("BTC", "3", "2026-05-02T00:00:00+00:00"),
        ("BTC", "4", "2026-05-03T00:00:00+00:00"),
    ]
    after = checksums(project.folder / "lake")
    assert {name: after.get(name) for name in before} == before
    assert project.rebuilds_equal(tmp_path / "fresh") == []


def test_there_is_a_release_to_upgrade_from() -> None:
    assert RELEASES


@pytest.mark.parametrize("what", ["entry", "manifest"])
def test_a_lake_that_a_newer_release_wrote_is_refused(tmp_path: Path, what: str) -> None:
    """U02: this release behind a later one. It names the versions, changes nothing, and the later one goes on."""
    shop: SmallProject = small_project(tmp_path)
    for number in (1, 2):
        shop.orders(number)
        assert shop.run().failures == []
    entry = shop.lake / "_log" / "raw_orders" / f"{2:020d}.json"
    original = entry.read_bytes()
    record = json.loads(original)
    if what == "entry":
        record["version"] = 2
    else:
        manifest = shop.lake / record["path"] / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "version": 2}))
        record["manifest_sha256"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
    entry.write_text(json.dumps(record))
    before = checksums(shop.lake)
    shop.orders(3)
    refused = shop.engine("run", "daily")
    assert refused.returncode == 1
    assert clear(refused.stdout + refused.stderr, "newer Tickhouse", "version 2", "this one reads 1") == []
    assert checksums(shop.lake) == before
    assert shop.ids() == [10, 11, 12, 20, 21, 22]


@pytest.mark.xdist_group("model faults")
def test_models_that_a_newer_release_worked_on_are_left_alone(tmp_path: Path) -> None:
    """U02: SQLMesh's state is a later one. Rows land and load, readers keep what they have, the later one goes on."""
    project = unpacked(RELEASES[-1], tmp_path / "project")
    assert project.engine().code == 0
    before = project.prices()
    with duckdb.connect(str(project.state)) as state:
        [(version,)] = state.execute("SELECT schema_version FROM sqlmesh._versions").fetchall()
        state.execute("UPDATE sqlmesh._versions SET schema_version = 999")
    project.price("new", "4", "2026-05-03T00:00:00Z")
    refused = project.engine()
    assert refused.code == 1
    assert clear(refused.text, "newer Tickhouse", f"version '{version}'", "'999'", "update Tickhouse") == []
    assert project.prices() == before
    with duckdb.connect(str(project.state)) as state:
        state.execute("UPDATE sqlmesh._versions SET schema_version = ?", [version])
    assert project.engine().code == 0
    assert [price for _, price, _ in project.prices()] == ["2.000000000000000001", "3", "4"]


def older(state: Path) -> None:
    """Make the state one of an earlier SQLMesh, whose rows its last two migrations have still to go through."""
    with duckdb.connect(str(state)) as connection:
        connection.execute(
            "UPDATE sqlmesh._versions SET schema_version = schema_version - 2, sqlmesh_version = '0.230.1'"
        )


def version_of(state: Path) -> str:
    with duckdb.connect(str(state), read_only=True) as connection:
        [(version,)] = connection.execute("SELECT sqlmesh_version FROM sqlmesh._versions").fetchall()
    return str(version)


MIGRATING = r"(INSERT|DELETE|UPDATE|ALTER|CREATE|DROP|TRUNCATE|MERGE).*_(versions|snapshots|environments)"


@pytest.mark.xdist_group("model faults")
def test_models_of_an_earlier_sqlmesh_are_taken_over(tmp_path: Path) -> None:
    """U01, U03: the state is migrated, killed at its second statement first; a copy is kept for the way back."""
    project = unpacked(RELEASES[-1], tmp_path / "project")
    older(project.state)
    killed = project.killed_before(MIGRATING, 2)
    assert killed.code == -9, f"the kill did not fire: {killed.text}"
    assert version_of(project.state) == "0.230.1"
    done = project.engine()
    assert done.code == 0, done.text
    assert version_of(project.state) != "0.230.1"
    assert [version_of(kept) for kept in project.state.parent.glob("*-before-*.duckdb")] == ["0.230.1"]
    assert [price for _, price, _ in project.prices()] == ["2.000000000000000001", "3"]
    assert project.rebuilds_equal(tmp_path / "fresh") == []


@pytest.mark.chaos
@pytest.mark.xdist_group("model faults")
def test_a_migration_killed_at_each_of_its_statements(tmp_path: Path) -> None:
    """U03: whichever statement it is, the state is the old one or the new one, and the next run goes on."""
    old = unpacked(RELEASES[-1], tmp_path / "old")
    older(old.state)
    nth = 0
    while True:
        nth += 1
        project = old.copy(tmp_path / f"killed-{nth}")
        killed = project.killed_before(MIGRATING, nth)
        if killed.code == 0:
            break
        assert killed.code == -9, killed.text
        migrated = version_of(project.state) != "0.230.1"
        done = project.engine()
        assert done.code == 0, done.text
        assert [price for _, price, _ in project.prices()] == ["2.000000000000000001", "3"]
        if migrated:
            break  # what follows are statements of the plan, of which test_model_faults kills some
    assert nth > 3, "the migration has statements, and each was killed"
