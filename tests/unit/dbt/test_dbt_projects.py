"""dbt projects are found, named and fingerprinted without dbt; what cannot be loaded is one clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.models import dbt
from engine.models.transform import fingerprint

LOADED = "import sys, engine.models.transform; print([name for name in sys.modules if name.split('.')[0] == 'dbt'])"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported


def project(folder: Path, name: str | None = "shop") -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(f"name: {name}\n" if name else "version: 1\n")
    (folder / "models" / "orders.sql").write_text("select 1 as one")
    return folder


@pytest.fixture
def native() -> Any:
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig

    gateway = GatewayConfig(connection=DuckDBConnectionConfig())
    return Config(gateways={"warehouse": gateway}, model_defaults=ModelDefaultsConfig(dialect="duckdb"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbt, "NEEDED", ())


def test_a_project_stands_in_the_folder_or_right_under_it(tmp_path: Path) -> None:
    assert dbt.dbt_projects(tmp_path) == []
    shop, books = project(tmp_path / "dbt" / "shop"), project(tmp_path / "dbt" / "books")
    (tmp_path / "dbt" / "notes").mkdir()
    assert dbt.dbt_projects(tmp_path) == [books, shop]
    (tmp_path / "dbt" / "dbt_project.yml").write_text("name: all\n")
    assert dbt.dbt_projects(tmp_path) == [tmp_path / "dbt"]


def test_without_a_project_nothing_of_dbt_is_imported(tmp_path: Path, native: Any) -> None:
    assert dbt.with_dbt(tmp_path, native) == {tmp_path: native}
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_fingerprint_sees_the_project_and_not_what_dbt_writes_into_it(tmp_path: Path) -> None:
    before = fingerprint(tmp_path)
    shop = project(tmp_path / "dbt" / "shop")
    first = fingerprint(tmp_path)
    assert first != before
    for name in ("target/compiled/orders.sql", "logs/run.sql"):
        (shop / name).parent.mkdir(parents=True)
        (shop / name).write_text("select 2")
    assert fingerprint(tmp_path) == first
    (shop / "models" / "target").mkdir()
    (shop / "models" / "target" / "one.sql").write_text("select 3")
    second = fingerprint(tmp_path)
    assert second != first
    (shop / "models" / "orders.sql").write_text("select 4")
    assert fingerprint(tmp_path) != second


def test_without_dbt_the_error_says_what_to_install(
    tmp_path: Path, native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path / "dbt" / "shop")
    monkeypatch.setattr(dbt, "NEEDED", ("dbt.cli", "no_such_package_here.adapters"))
    with pytest.raises(UsageError, match=r'dbt/shop is a dbt project, and dbt is not installed\n.*"tickhouse\[dbt\]"'):
        dbt.with_dbt(tmp_path, native)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "dbt_project.yml has no name"),
        ("[", "dbt_project.yml cannot be read"),
        ("marts", "the name marts is that of the native models"),
        ("landing", "the name landing is that of the native models"),
        ("shop", "the name shop is that of .*books/dbt_project.yml"),
    ],
)
def test_a_name_that_cannot_be_a_schema_is_refused(tmp_path: Path, native: Any, name: str | None, reason: str) -> None:
    (tmp_path / "models" / "marts").mkdir(parents=True)
    project(tmp_path / "dbt" / "books", "shop")
    project(tmp_path / "dbt" / "shop", name)
    with pytest.raises(UsageError, match=reason):
        dbt.with_dbt(tmp_path, native)


@pytest.mark.usefixtures("installed")
def test_a_warehouse_that_dbt_is_not_built_on_is_refused(tmp_path: Path, native: Any) -> None:
    project(tmp_path / "dbt" / "shop")
    gateway = native.gateways["warehouse"]
    trino = gateway.model_copy(update={"connection": type("Trino", (), {"type_": "trino"})()})
    with pytest.raises(UsageError, match="dbt projects are not built on warehouse, which is trino"):
        dbt.with_dbt(tmp_path, native.model_copy(update={"gateways": {"warehouse": trino}}))


def test_a_profile_that_was_brought_along_is_told_to_be_unused(tmp_path: Path) -> None:
    shop = project(tmp_path / "transforms" / "dbt" / "shop")
    assert dbt.notes(tmp_path / "transforms") == []
    (shop / "profiles.yml").write_text("shop: {}\n")
    [note] = dbt.notes(tmp_path / "transforms")
    assert note.startswith("transforms/dbt/shop/profiles.yml is not read")
