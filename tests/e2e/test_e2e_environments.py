"""A model is edited, tried in an environment, compared and promoted, by the commands that a person types."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.engine_project import LIMIT_SECONDS, EngineProject

MART = Path("transforms/models/marts/dim_asset.sql")
NAME = "listing.asset_name,"
OFFLINE = """
import socket, sys
connect = socket.socket.connect
def loopback_only(self, address):
    assert isinstance(address, str) or address[0] in ("127.0.0.1", "::1", "localhost"), f"asked {address}"
    return connect(self, address)
socket.socket.connect = loopback_only
from sqlmesh.cli.main import cli
cli()
"""


def edit(project: EngineProject, old: str, new: str) -> None:
    path = project.folder / MART
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def tables(project: EngineProject) -> set[tuple[str, ...]]:
    """Every table of production and of the environments with the files it has, as the catalog has them now."""
    catalog = project.folder / ".data" / "demo" / "warehouse" / "catalog.sqlite"
    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as connection:
        return set(
            connection.execute(
                "SELECT s.schema_name, t.table_name, t.table_uuid, t.begin_snapshot, f.path, f.begin_snapshot "
                "FROM ducklake_table AS t JOIN ducklake_schema AS s USING (schema_id) "
                "LEFT JOIN ducklake_data_file AS f ON f.table_id = t.table_id AND f.end_snapshot IS NULL "
                "WHERE t.end_snapshot IS NULL AND s.schema_name LIKE 'sqlmesh%'"
            )
        )


def names(project: EngineProject, schema: str) -> list[list[str]]:
    return project.rows(
        f"SELECT asset_symbol, asset_name FROM {schema}.dim_asset WHERE asset_symbol IN ('BTC', 'ETH') ORDER BY ALL"
    )


@pytest.mark.slow
def test_an_edit_is_tried_compared_and_promoted(ran_project: EngineProject) -> None:
    project = ran_project
    assert "no change, the files are what production runs" in project.engine("plan").out
    before = tables(project)
    edit(project, NAME, "UPPER(listing.asset_name) AS asset_name,")
    planned = project.engine("plan", "--env", "dev").out
    assert "~ marts.dim_asset: breaking" in planned
    assert "rows (its table now)" in planned
    assert tables(project) == before, "a plan writes nothing"

    tried = project.engine("apply", "--env", "dev")
    assert "dev has" in tried.out
    assert "built marts.dim_asset" in tried.out
    beside = tables(project)
    assert beside > before, "production's tables are those of before, file by file"
    assert {row[1].rsplit("__", 1)[0] for row in beside - before} == {"marts__dim_asset"}
    assert names(project, "marts__dev") == [["BTC", "BITCOIN"], ["ETH", "ETHEREUM"]]
    assert names(project, "marts") == [["BTC", "Bitcoin"], ["ETH", "Ethereum"]]

    compared = project.engine("diff", "dev", "--json").document()
    [asset] = [model for model in compared["models"] if model["model"] == "marts.dim_asset"]
    assert asset["differs"] == {"asset_name": asset["differing"]}
    assert (asset["differing"] > 0, asset["only_in_prod"], asset["only_in_env"]) == (True, 0, 0)
    assert "Bitcoin -> BITCOIN" in project.engine("diff", "dev").out

    [promoted] = project.engine("apply", "--json").document()["applied"]
    assert promoted["built"] == []
    assert tables(project) == beside, "promotion computes nothing again and writes no file"
    assert names(project, "marts") == [["BTC", "BITCOIN"], ["ETH", "ETHEREUM"]]
    assert "no change" in project.engine("plan").out
    project.engine("apply", "--env", "dev", "--drop")
    assert "there is no environment called 'dev'" in project.engine("diff", "dev", expect=2).err


def test_names_and_broken_files_are_refused(ran_project: EngineProject) -> None:
    project = ran_project
    for name in ("prod", "a-b"):
        for command in (("plan", "--env", name), ("apply", "--env", name), ("diff", name)):
            assert "environment" in project.engine(*command, expect=2).err
    assert "--drop needs an environment" in project.engine("apply", "--drop", expect=2).err
    assert "runs no models on 'elsewhere'" in project.engine("apply", "--on", "elsewhere", expect=2).err
    edit(project, NAME, "listing.asset_name AS AS name,")
    for command in (("plan",), ("plan", "--env", "dev"), ("apply", "--env", "dev")):
        ended = project.engine(*command, expect=2)
        assert f"{MART}:" in ended.err
        assert not ended.out


def sqlmesh(project: EngineProject, *arguments: str, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "-p", "transforms", *arguments],
        cwd=project.folder,
        env={**project.environment, "ENGINE_PROFILE": project.profile},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_plain_sqlmesh_works_on_the_same_state(ran_project: EngineProject) -> None:
    project = ran_project
    rendered = sqlmesh(project, "render", "marts.dim_customer")
    assert '"sqlmesh__vault"."vault__hub_customer__' in " ".join(rendered.split()), "the state knows production's table"
    assert "connection succeeded" in sqlmesh(project, "info")
    assert "No changes to plan" in sqlmesh(project, "plan", "--no-prompts", "--skip-tests")
    folder = project.folder / "transforms" / "dbt"
    folder.mkdir(exist_ok=True)
    (folder / "dbt_project.yml").write_text("name: own\n")
    assert "has models that this command does not see" in sqlmesh(project, "run", expect=1)
