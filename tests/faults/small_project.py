"""A project of one `files` source and no models, for faults of the lake, of resources and of security.

Runs take half a second in process (`run`) and two as a process of their own (`engine`). `land` is the pipeline that
stops at the lake; `daily` also loads the warehouse.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.load import load_project
from engine.config.project import Project
from engine.progress import PlainLines
from engine.report import RunReport
from engine.run import Runner

ENGINE = str(Path(sys.executable).with_name("engine"))
HEAD = """\
timezone: UTC
profiles:
  local:
    data: .data
    lake: {type: filesystem, path: lake}
    warehouse: {type: ducklake, path: warehouse}
"""
SHOP = """\
  shop:
    type: files
    path: in
    settle_seconds: 0
    resources:
      raw_orders: {files: "orders*.jsonl", columns: {id: {type: bigint}, price: {type: decimal}, note: {}}}
      raw_notes: {files: "notes*.jsonl", columns: {id: {type: bigint}, note: {}}}
"""
PIPELINES = """\
pipelines:
  land: {extract: [shop], load: [], transform: false}
  daily: {extract: [shop], load: [warehouse], transform: false}
"""
SMALL = f"{HEAD}sources:\n{SHOP}{PIPELINES}"


@dataclass(frozen=True)
class SmallProject:
    """Folders of the project: in/ (what the shop delivers), lake/, warehouse/ and .data/."""

    folder: Path

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    @property
    def data(self) -> Path:
        return self.folder / ".data"

    def write(self, yaml: str) -> None:
        (self.folder / "pipelines.yaml").write_text(yaml)

    def deliver(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / "in" / f"{name}.jsonl").write_text(lines)

    def orders(self, number: int) -> None:
        """Deliver three orders in a file of their own."""
        self.deliver(f"orders{number}", [{"id": number * 10 + i, "price": "1.5", "note": "x"} for i in range(3)])

    def project(self, profile: str = "local") -> Project:
        return load_project(self.folder / "pipelines.yaml", profile=profile, env={})

    def run(self, pipeline: str = "daily") -> RunReport:
        """Run in this process."""
        return Runner(self.project(), PlainLines(io.StringIO(), str)).run(pipeline)

    def engine(
        self, *words: str, wrap: Sequence[str] = (), env: Mapping[str, str] | None = None, seconds: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run the command itself, `wrap` before it (strace ..., prlimit ...)."""
        return subprocess.run(
            [*wrap, ENGINE, *words],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse as `engine query` does."""
        from destinations import open_destination
        from engine.query import query

        project = self.project()
        warehouse = open_destination("warehouse", project.destinations["warehouse"], self.folder, self.data)
        return list(query(warehouse, sql).rows)

    def ids(self, table: str = "raw_orders") -> list[int]:
        return [row[0] for row in self.rows(f"select id from landing.{table} order by id")]

    def packages(self, table: str = "raw_orders") -> list[Path]:
        """Folders of the table's packages, oldest first."""
        return sorted(self.lake.glob(f"shop/{table}/*/*"), key=lambda path: path.name)

    def cursor(self, table: str = "raw_orders") -> tuple[int, int, int]:
        """(the warehouse's cursor, packages whose arrival it noted, packages whose rows it has)."""
        from destinations import open_destination

        project = self.project()
        with open_destination("warehouse", project.destinations["warehouse"], self.folder, self.data) as warehouse:
            cursor = dict(warehouse.cursors()).get(table, 0)
            warehouse.publish()
        noted = self.rows(
            f"select count(*), count(distinct _load_id) from landing._packages where table_name='{table}'"
        )
        with_rows = self.rows(f"select count(distinct _load_id) from landing.{table}")
        assert noted[0][0] == noted[0][1]
        return cursor, noted[0][0], with_rows[0][0]


def small_project(folder: Path) -> SmallProject:
    """Make the project in a folder."""
    made = SmallProject(folder)
    made.write(SMALL)
    return made


def clear(text: str, *names: str) -> list[str]:
    """What keeps a text from being one clear error: [] if it names all this and says what to do."""
    wrong = [f"does not name {name!r}" for name in names if name.lower() not in text.lower()]
    if "Traceback (most recent call last)" in text:
        wrong.append("shows a traceback")
    if len(text.splitlines()) > 40:
        wrong.append(f"has {len(text.splitlines())} lines")
    steps = (
        "run",
        "restore",
        "set",
        "check",
        "name",
        "free",
        "raise",
        "give",
        "put",
        "mount",
        "let",
        "write",
        "correct",
    )
    if not any(step in text.lower() for step in steps):
        wrong.append("says nothing to do")
    return wrong
