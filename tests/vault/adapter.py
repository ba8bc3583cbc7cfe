"""The real models behind the five methods that the vault's cases are played through (see suite.py).

Rows go the project's own way: typed by engine.conform, landed in a lake as load packages, loaded into a warehouse,
modelled by SQLMesh as `engine run` does it. One project serves all cases of a process: `reset` empties its tables.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.servers.snowflake_server import LOGIN

ROOT = Path(__file__).parents[2]
QUARANTINE = "_quarantine"
PROFILE = """\
  local:
    lake: {{type: filesystem, path: lake}}
    warehouse: {warehouse}
"""
SERVER = "TICKHOUSE_TRINO_PORT"
"""The port of a Trino that runs already; without it kind `trino` starts one."""
SNOWFLAKE = "TICKHOUSE_SNOWFLAKE_PORT"
"""The port of Snowflake's stand-in where one runs already; without it kind `snowflake` starts one."""
Delivery = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by landed table."""
FIRST: Delivery = {"raw_customers": [{"customer_id": "FIRST", "load_timestamp": "2024-01-01T00:00:00Z"}]}
"""What a plan is made over that needs some delivery."""
PREFIXES = {"hub": "vault", "link": "vault", "sat": "vault", "eff": "vault", "rejects": "vault", "semantic": "semantic"}


class ProjectAdapter:
    """One vault, seen by the cases. `kind` is the warehouse's type: TICKHOUSE_VAULT_WAREHOUSE, else the fastest."""

    kind = os.environ.get("TICKHOUSE_VAULT_WAREHOUSE", "duckdb")
    _models: Models | None = None

    def __init__(self) -> None:
        """Share the process's one project."""
        if type(self)._models is None:
            type(self)._models = Models(self.kind)
        self._project = type(self)._models

    def reset(self, types: Mapping[str, Any], raw_defaults: Mapping[str, Any]) -> None:
        """Empty raw tables and vault."""
        del types, raw_defaults  # the project has its own types for its own tables
        self._project.empty()

    def alter(self, raw_table: str, added_columns: Sequence[str]) -> None:
        """Do nothing: a landed table takes new columns by itself, and the models know every column of the contract."""

    def land(self, raw_table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Land rows as one package of one source, each with the load time it brings."""
        self._project.land(raw_table, rows)

    def run(self, models: str | Sequence[str]) -> None:
        """Run all models, or the named ones in their order."""
        if models == "all":
            self._project.run(None)
        else:
            for model in models:
                self._project.run([published(model)])

    def rows(self, logical_table: str) -> list[dict[str, Any]]:
        """Return the whole content of a vault table or a mart."""
        found = self._project.rows(published(logical_table))
        if logical_table == "fct_news_events":  # the mart says what kind of date it is
            return [{**row, "date": row["published_date"]} for row in found]
        return found


def instant(text: str) -> datetime:
    """Read a load time; without an offset it is UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def published(table: str) -> str:
    """Name a table with the schema in which it is published, unless it has one: `hub_asset` is vault.hub_asset."""
    return table if "." in table else f"{PREFIXES.get(table.split('_', 1)[0], 'marts')}.{table}"


class Models:
    """One project folder with a lake, a warehouse held open for writing, and SQLMesh's context on it."""

    def __init__(
        self, kind: str, folder: Path | None = None, *, first: Delivery | None = None, only: Sequence[str] = ()
    ) -> None:
        """Build the folder and plan the models once, over an empty landing; or open again what was built there.

        With `first` the landing is not empty: it has that. `only` selects models.
        """
        import sqlmesh  # noqa: F401 - whole before its parts
        from sqlmesh.core.console import set_console

        from destinations import open_destination
        from engine.compose import every_table
        from engine.lake.lake import open_lake
        from engine.models.context import open_context, state_file
        from engine.models.state import heal
        from engine.models.transform import landing_tables, listening_console

        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="vault-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        again = (folder / "pipelines.yaml").exists()
        self.project = project_in(folder) if again else project_at(folder, kind)
        self.tables = {table.name: table for table in every_table(self.project)}
        self.lake = open_lake(self.project.profile.lake, self.project.project_dir, self.project.data_dir / "cache")
        settings = self.project.destinations["warehouse"]
        self.warehouse: Any = open_destination(
            "warehouse", settings, self.project.project_dir, self.project.data_dir
        ).__enter__()
        self.warehouse.ensure(self.tables.values())
        self._seq = {**dict.fromkeys(self.tables, 0), **self.warehouse.cursors()}
        self._landed: set[str] = set()
        if again:
            heal(state_file(self.project, "warehouse"))
        else:
            for table, rows in (first or FIRST).items():
                self.land(table, rows)
        self._console = listening_console(str)  # hears what failed, prints nothing
        arrivals = self.warehouse.begin_models()
        set_console(self._console)
        self.context = open_context(self.project, "warehouse", self.warehouse, arrivals[0])
        self.warehouse.provide(landing_tables(self.context))
        self.context.plan(
            auto_apply=True, no_prompts=True, no_diff=True, skip_tests=True, run=True, ignore_cron=True,
            execution_time=arrivals[1], select_models=list(only) or None,
        )  # fmt: skip
        self.warehouse.tables_made()
        self._landed.clear()
        if not (first or again):
            self.empty()

    def land(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Land and load one package. Values are text as sources give it; `load_timestamp` is the row's own."""
        pages = []
        for at, batch in groupby(rows, key=lambda row: row["load_timestamp"]):
            page = [{name: value for name, value in row.items() if name != "load_timestamp"} for row in batch]
            pages.append((page, instant(at)))
        self._land(table, pages)

    def _land(self, table: str, pages: Sequence[tuple[Any, datetime]]) -> None:
        from engine.conform import Conformer
        from engine.lake.lake import new_load_id

        declared, now = self.tables[table], datetime.now(UTC)
        load_id = new_load_id(now)
        writer = self.lake.writer(
            source="cases", resource=table, table=declared, run_id="cases", load_id=load_id, since_seq=self._seq[table]
        )
        conformer = Conformer(declared, self.lake.columns(table), source="cases", load_id=load_id, run_id="cases")
        for page, at in pages:
            conformed = conformer.conform(page, at)
            writer.write(conformed.rows)
            writer.write_rejected(conformed.rejected)
        self._landed.add(table)
        entry = writer.publish(conformer.columns, {}, now, now)
        if entry is not None:
            self.warehouse.load(table, [self.lake.open(entry)])
            self._seq[table] = entry.seq

    def land_table(self, table: str, rows: Any) -> None:
        """Land and load one package of an Arrow table, extracted now."""
        self._land(table, [(rows, datetime.now(UTC))])

    def close(self) -> None:
        """Let the warehouse go."""
        self.context.close()
        self.warehouse.__exit__(None, None, None)

    def run(self, models: Sequence[str] | None) -> None:
        """Build what has arrived: every model, or the named ones and what they read."""
        from sqlmesh.utils import CompletionStatus

        from engine.models.intervals import note_arrivals

        if models is None and self._landed:  # as `engine run` selects: downstream of what has arrived
            models, arrived = [f"raw.{table}+" for table in sorted(self._landed)], set(self._landed)
        else:
            arrived = set()
        _, until = self.warehouse.begin_models()
        note_arrivals(self.context, self.warehouse.arrivals())
        status = self.context.run(
            ignore_cron=True, end=until, execution_time=until, select_models=models, skip_janitor=True
        )
        if status is CompletionStatus.FAILURE:
            raise RuntimeError("; ".join(self._console.failures[-3:]) or "a model failed")
        self._landed -= arrived

    def restate(self) -> None:
        """Restate every model that keeps rows, as a plan of SQLMesh can."""
        from engine.models.intervals import note_arrivals

        kept = [model.name for model in self.context.models.values() if model.kind.is_materialized]
        _, until = self.warehouse.begin_models()
        note_arrivals(self.context, self.warehouse.arrivals())
        self.context.plan(
            auto_apply=True, no_prompts=True, no_diff=True, skip_tests=True, run=True, ignore_cron=True,
            execution_time=until, restate_models=kept,
        )  # fmt: skip

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's whole content, timestamps as instants."""
        cursor = self.context.engine_adapter.cursor.execute(f"SELECT * FROM {table}")
        names = [column[0].lower() for column in cursor.description]  # Snowflake tells them in capitals
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def empty(self) -> None:
        """Empty every landed table and every model's table. Arrival goes on: what is gone does not come back."""
        adapter = self.context.engine_adapter
        whole = adapter.dialect == "duckdb"
        models = [snapshot for snapshot in self.context.snapshots.values() if snapshot.is_model]
        tables = [f"landing.{name}" for name in (*self.tables, QUARANTINE)]
        tables += [snapshot.table_name() for snapshot in models if snapshot.model.kind.is_materialized]
        filled = " UNION ALL ".join(f"(SELECT '{table}' FROM {table} LIMIT 1)" for table in tables)
        filled = f"SELECT * FROM ({filled}) AS filled"
        if whole:
            adapter.execute("BEGIN TRANSACTION")
        for (table,) in adapter.fetchall(filled):
            adapter.execute(f"DELETE FROM {table}")
        if whole:
            adapter.execute("COMMIT")


def project_at(folder: Path, kind: str) -> Any:
    """Write a project into `folder`: this repository's pipelines.yaml and models, a warehouse of this type."""
    text = (ROOT / "pipelines.yaml").read_text(encoding="utf-8")
    profile = PROFILE.format(warehouse=warehouse_of(kind))
    text = re.sub(r"(?m)^  local:.*\n(?:    .*\n)+", lambda _: profile, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipelines.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "transforms", folder / "transforms", ignore=shutil.ignore_patterns("__pycache__", ".cache"))
    return project_in(folder)


def warehouse_of(kind: str) -> str:
    """Return a warehouse's block in pipelines.yaml; its server is started, unless the environment names one."""
    if kind == "snowflake":
        port = int(os.environ.get(SNOWFLAKE) or _snowflake_port())
        block = {**LOGIN, "database": f"CASES_{secrets.token_hex(4).upper()}", "port": port}
        return json.dumps(block)  # which is YAML too
    if kind != "trino":
        return f"{{type: {kind}, path: {'warehouse' if kind == 'ducklake' else 'warehouse.duckdb'}}}"
    port = os.environ.get(SERVER) or _trino_port()
    return f"{{type: trino, port: {port}, files: files}}"


@cache
def _snowflake_port() -> int:
    from tests.servers.snowflake_server import snowflake_server

    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(snowflake_server())


@cache
def _trino_port() -> int:
    from tests.servers.trino_server import trino_server

    folder = Path(tempfile.mkdtemp(prefix="trino-"))
    stack = ExitStack()
    atexit.register(stack.close)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return stack.enter_context(trino_server(folder)).port


def project_in(folder: Path) -> Any:
    """Read the project that stands in a folder."""
    from engine.config.load import load_project

    return load_project(folder / "pipelines.yaml", profile="local", env={})
