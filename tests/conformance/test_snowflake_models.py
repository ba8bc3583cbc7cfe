"""`engine run` builds the same models on an embedded warehouse and on Snowflake's stand-in, whatever ends there."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from destinations import open_destination
from destinations.snowflake_session import connect
from engine.cli import cli
from engine.config.load import load_project
from tests.servers.snowflake_server import LOGIN
from tests.vault.test_vault_engines import shown

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
]
ROOT = Path(__file__).parents[2]
YAML = """\
timezone: UTC
assets:
  crypto: {{file: transforms/seeds/assets.csv, where: {{asset_type: crypto}}, top: 5}}
  stocks: {{file: transforms/seeds/assets.csv, where: {{asset_type: stock}}, top: 5}}
profiles:
  local:
    data: .data
    lake: {{type: filesystem, path: lake}}
    warehouse: {{type: duckdb, path: warehouse.duckdb}}
    snow: {snow}
sources:
  faker:
    type: faker
    seed: 7
    resources:
      raw_customers: {{first: 30, changed: 5, new: 2}}
      raw_corporates: {{first: 10, changed: 2, new: 1}}
      raw_transaction_personal: {{rows: 60, history_days: 30}}
      raw_transaction_corporate: {{rows: 20, history_days: 30}}
pipelines:
  daily: {{extract: [faker], load: [warehouse, snow]}}
"""
PUBLISHED = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ({})"
SCHEMAS = "'vault', 'business', 'marts', 'semantic'"
DIES_AT = 12
"""The n-th MERGE of a run."""
OWN = {"_arrived_at"}
"""When a package arrived is each warehouse's own."""


class Two:
    """A project whose one pipeline loads two warehouses."""

    def __init__(self, folder: Path, port: int, database: str) -> None:
        self.file, self._port, self._database = folder / "pipelines.yaml", port, database
        shutil.copytree(ROOT / "transforms", folder / "transforms", ignore=shutil.ignore_patterns("__pycache__", "dbt"))
        self.reach(port)

    def reach(self, port: int) -> None:
        """Write the file: Snowflake answers at this port."""
        snow = {**LOGIN, "port": port, "database": self._database, "login_seconds": 2, "network_seconds": 5}
        self.file.write_text(YAML.format(snow=json.dumps(snow)), encoding="utf-8")

    def run(self) -> Result:
        return CliRunner().invoke(cli, ["run", "daily", "--json", "-f", str(self.file)])

    def embedded(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """What is published in the embedded warehouse, by table."""
        project = load_project(self.file, env={})
        opened = open_destination("warehouse", project.destinations["warehouse"], project.project_dir, project.data_dir)
        with opened.reader() as connection:
            asked, tables = (
                {},
                [f"{schema}.{name}" for schema, name in connection.execute(PUBLISHED.format(SCHEMAS)).fetchall()],
            )
            for table in tables:
                cursor = connection.execute(f"SELECT * FROM {table}")
                asked[table] = content([column[0] for column in cursor.description], cursor.fetchall())
        return asked

    def on_snowflake(self, tables: Any) -> dict[str, Counter[tuple[Any, ...]]]:
        """The same tables there, called as anybody writes them: small letters, no quotes."""
        settings = load_project(self.file, env={}).destinations["snow"]
        asked = {}
        with connect(settings) as connection:
            for table in tables:
                cursor = connection.cursor().execute(f"select * from {table}")
                asked[table] = content([column[0].lower() for column in cursor.description], cursor.fetchall())
        return asked

    def differences(self) -> list[str]:
        """The tables that are not the same on both."""
        ours = self.embedded()
        assert len(ours) > 25
        assert ours["marts.fct_transactions"].total() >= 80
        theirs = self.on_snowflake(ours)
        return [table for table in ours if ours[table] != theirs[table]]


def content(names: list[str], rows: Any) -> Counter[tuple[Any, ...]]:
    return Counter(
        tuple(sorted((name, shown(value)) for name, value in zip(names, row, strict=True) if name not in OWN))
        for row in rows
    )


@pytest.fixture
def two(tmp_path: Path, snowflake_port: int) -> Two:
    return Two(tmp_path, snowflake_port, "MODELS")


@pytest.mark.chaos
def test_both_warehouses_have_the_same_tables_whatever_ended_one_of_them(
    two: Two, snowflake_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = two.run()
    assert ended.exit_code == 0, ended.output
    assert two.differences() == []

    # a statement that puts rows into a table dies: what follows from it is not built, the warehouse beside it goes on
    from snowflake.connector import cursor, errors

    execute, merged = cursor.SnowflakeCursor.execute, []

    def dies(self: Any, command: str, *given: Any, **named: Any) -> Any:
        if re.match(r"(/\*.*\*/ )?MERGE INTO .*SQLMESH__", command):
            merged.append(command)
            if len(merged) == DIES_AT:
                raise errors.OperationalError("reset by peer", errno=250003)
        return execute(self, command, *given, **named)

    monkeypatch.setattr(cursor.SnowflakeCursor, "execute", dies)
    ended = two.run()
    monkeypatch.undo()
    assert len(merged) >= DIES_AT
    assert ended.exit_code == 1
    [line] = failures(ended)
    assert line.startswith("snow: model ")
    assert "reset by peer" in line
    assert two.differences() != []

    # then Snowflake is away
    two.reach(9)
    before = two.embedded()["marts.fct_transactions"].total()
    ended = two.run()
    assert ended.exit_code == 1
    [line] = failures(ended)
    assert line.startswith("snow: Snowflake account fakesnow, database MODELS cannot be reached")
    assert "never-shown" not in ended.output
    assert two.embedded()["marts.fct_transactions"].total() == before + 80

    # back again, it catches up with all of it
    two.reach(snowflake_port)
    ended = two.run()
    assert ended.exit_code == 0, ended.output
    assert two.differences() == []


def failures(ended: Result) -> list[str]:
    [run] = json.loads(ended.stdout)["runs"]
    found: list[str] = run["failures"]
    return found
