"""A project of one REST source on a fake API, its runs through the `engine` command, and what they left behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from destinations import open_destination
from engine.cli import main
from engine.config.load import load_project
from engine.conform.faults import NOT_A_NUMBER
from engine.lake.lake import open_lake
from tests.faults.trial import Running, Server
from tests.price_models import copy_price_models

ROOT = Path(__file__).parents[2]
BOTH = ("warehouse", "second")
"""DuckLake, and one DuckDB file beside it: every case must end the same in both."""
TABLE = "raw_rows"
RESOURCE = {"columns": {"id": {"type": "bigint"}, "name": {}, "price": {"type": "decimal"}}}
QUICK = {"timeout": 2, "deadline": 4, "budget": 12, "tries": 3}
"""Bounds of a client that a test can wait for, in seconds."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that a person saw."""
        return self.out + self.err

    @property
    def failures(self) -> list[str]:
        """The lines of the summary that say what failed."""
        return [line for line in self.out.splitlines() if line.startswith("FAILED: ")]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a destination holds of one table: its rows, its quarantine, its columns with their SQL types.

    `cursors` and `packages` are those of every table.
    """

    rows: list[dict[str, Any]]
    aside: list[dict[str, Any]]
    columns: dict[str, str]
    cursors: dict[str, int]
    packages: list[dict[str, Any]]

    @property
    def set_aside(self) -> list[dict[str, Any]]:
        """Quarantined rows that were not landed: a note about a number that is none stands beside a landed row."""
        return [row for row in self.aside if row["reason"] != NOT_A_NUMBER]


class RestProject:
    """A project folder. `source` and `resource` are blocks of the YAML; more sources and pipelines may join."""

    def __init__(
        self,
        folder: Path,
        url: str,
        resource: Mapping[str, Any],
        *,
        client: Mapping[str, Any] | None = None,
        load: Iterable[str] = BOTH,
        models: bool = False,
        sources: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "pipelines.yaml"
        self.document: dict[str, Any] = {
            "timezone": "UTC",
            "profiles": {
                "local": {
                    "data": ".data",
                    "lake": {"type": "filesystem", "path": ".data/lake"},
                    "warehouse": {"type": "ducklake", "path": ".data/warehouse"},
                    "second": {"type": "duckdb", "path": ".data/second.duckdb"},
                }
            },
            "sources": {
                "shop": {
                    "type": "rest",
                    "client": {"base_url": url, "allow_private": True, **QUICK, **(client or {})},
                    "resources": {TABLE: {"path": "rows", **resource}},
                },
                **(sources or {}),
            },
            "pipelines": {
                "pull": {
                    "extract": ["shop", *(sources or {})],
                    "load": list(load),
                    "transform": {"select": "tag:prices"} if models else False,
                }
            },
        }
        if models:
            copy_price_models(folder)
        self.write()

    def write(self) -> None:
        """Write pipelines.yaml again, after an edit of `document`."""
        self.file.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")

    def run(self, *arguments: str) -> Finished:
        """Run `engine` in this process, as its entry point does; by default the pipeline."""
        return engine(*(arguments or ("run", "pull")), "--file", str(self.file))

    def run_apart(self, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run `engine` in a process of its own, with further environment variables."""
        with self.start(*arguments, env=env) as process:
            out, err = process.communicate(timeout=200)
        return Finished(process.returncode, out, err)

    def run_forked(self, server: Server, *arguments: str) -> Finished:
        """Run `engine` in a process of its own that has SQLMesh imported already."""
        out, err = self.folder / "out", self.folder / "err"
        argv = [*(arguments or ("run", "pull")), "--file", str(self.file)]
        request = {"argv": argv, "cwd": str(self.folder), "env": {}, "out": str(out), "err": str(err), "stopped": False}
        ended = Running(server, server.start(request), out, err).wait()
        return Finished(ended.code, ended.stdout, ended.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `engine` in a process of its own."""
        command = [
            str(Path(sys.executable).with_name("engine")),
            *(arguments or ("run", "pull")),
            "--file",
            str(self.file),
        ]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, sql: str, destination: str = "warehouse") -> list[dict[str, Any]]:
        """What a reader of the published state gets."""
        with self._reader(destination) as connection:
            return _answer(connection, sql)

    def holds(self, destination: str = "warehouse", table: str = TABLE) -> Holding:
        """Everything that a destination holds of a table."""
        with self._reader(destination) as connection:
            described = _answer(connection, f"DESCRIBE landing.{table}")
            cursors = _answer(connection, "SELECT table_name, seq FROM landing._cursor WHERE seq > 0")
            return Holding(
                rows=_answer(connection, f"SELECT * FROM landing.{table}"),
                aside=_answer(connection, f"SELECT * FROM landing._quarantine WHERE table_name = '{table}'"),
                columns={row["column_name"]: row["column_type"] for row in described},
                cursors={row["table_name"]: row["seq"] for row in cursors},
                packages=_answer(connection, "SELECT * FROM landing._packages"),
            )

    def _reader(self, destination: str) -> Any:
        project = load_project(self.file, profile="local")
        settings = project.destinations[destination]
        return open_destination(destination, settings, self.folder, self.folder / ".data").reader()

    def heads(self) -> dict[str, int]:
        """The lake's newest package of each table."""
        project = load_project(self.file, profile="local")
        lake = open_lake(project.profile.lake, project.project_dir, self.folder / ".data" / "cache")
        names = [path.name for path in (self.folder / ".data" / "lake" / "_log").iterdir()]
        return {name: head.seq for name in names if (head := lake.head(name)) is not None}

    def manifests(self) -> list[Path]:
        """Every package's manifest in the lake."""
        return sorted((self.folder / ".data" / "lake").rglob("manifest.json"))


def _answer(connection: Any, sql: str) -> list[dict[str, Any]]:
    found = connection.execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def engine(*arguments: str) -> Finished:
    """Call the command's entry point in this process; signals, arguments and the file mode mask are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    mask = os.umask(0o022)
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with mock.patch.object(sys, "argv", ["engine", *arguments]), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        os.umask(mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Finished(int(str(code or 0)), out.getvalue(), err.getvalue())


def assert_clear(run: Finished, *names: str, source: str = "shop") -> str:
    """One line says what failed: it names the source and these words and says what to do. Return the line."""
    assert run.code == 1, run.text
    lines = [line for line in run.failures if source in line]
    assert len(lines) == 1, run.text
    line = lines[0]
    assert " — " in line, line  # the reason, then what to do
    assert len(line) < 700, line
    assert all(name in line for name in names), line
    assert len(run.text.splitlines()) <= 40, run.text
    assert "Traceback" not in run.text
    assert ", line " not in run.text
    return line


def assert_whole(project: RestProject, ledger: Iterable[Any], *, key: str = "id") -> Holding:
    """Every served row is in both destinations exactly once, landed or set aside, and the bookkeeping agrees.

    A row that the API served twice, word for word, is one row: only what it says counts. Returns the warehouse's part.
    """
    served = Counter(str(row) for row in {str(row[key]) for row in ledger})
    held = assert_consistent(project)
    landed = Counter(str(row[key]) for row in held.rows)
    aside = Counter(str(json.loads(row["row"])[key]) for row in held.set_aside)
    assert landed + aside == served
    return held


def assert_consistent(project: RestProject) -> Holding:
    """Cursors stand at the lake's head, no package came twice, and both destinations hold the same."""
    heads = project.heads()
    first, second = (project.holds(destination) for destination in BOTH)
    for held in (first, second):
        assert held.cursors == heads
        assert len(held.packages) == sum(heads.values()) == len({row["_load_id"] for row in held.packages})
        assert len({row["arrived_at"] for row in held.packages}) == len(held.packages)
    assert dict(sorted(first.columns.items())) == dict(sorted(second.columns.items()))
    assert digest(first.rows) == digest(second.rows)
    assert digest(first.aside) == digest(second.aside)
    return first


def digest(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Rows as a bag of texts, columns in the order of their names."""
    return Counter(repr(sorted(row.items())) for row in rows)
