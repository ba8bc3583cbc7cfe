"""A project as a user has it (pipelines.yaml, transforms/, data/ in a folder), and the real command run on it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENGINE = str(Path(sys.executable).with_name("engine"))
LIMIT_SECONDS = 240
ERASED = ("ENGINE_PROFILE", "COINGECKO_API_KEY", "FREECRYPTOAPI_KEY", "KAFKA_BROKERS", "PYTHONDONTWRITEBYTECODE")
"""Variables that would make a test depend on who runs it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        return json.loads(self.out)


@dataclass(frozen=True)
class EngineProject:
    """A project folder, the profile that its commands use, and variables of its own."""

    folder: Path
    profile: str = "demo"
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """pipelines.yaml."""
        return self.folder / "pipelines.yaml"

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        inherited = {name: value for name, value in os.environ.items() if name not in ERASED}
        return {**inherited, "NO_COLOR": "1", "COLUMNS": "160", **self.env}

    def replace(self, old: str, new: str, count: int = 1) -> None:
        """Edit pipelines.yaml as a person would: what is replaced has to be there, exactly so often."""
        text = self.file.read_text(encoding="utf-8")
        assert text.count(old) == count, f"{old!r} stands {text.count(old)} times in pipelines.yaml"
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """The command line; `demo` and `schema` take no profile."""
        profile = [] if arguments[0] in {"demo", "schema", "--help"} else ["--profile", self.profile]
        return [ENGINE, *arguments, *profile]

    def engine(self, *arguments: str, expect: int | None = 0, limit: float = LIMIT_SECONDS) -> Ended:
        """Run a command to its end, in at most `limit` seconds. `expect` is its exit code (None: any)."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
        ended = Ended(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in ended.out + ended.err, ended.err
        assert expect is None or ended.code == expect, f"{arguments}: exit {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *pipelines: str, expect: int = 0) -> list[dict[str, Any]]:
        """`engine run PIPELINE... --json`: the reports of the runs."""
        reports: list[dict[str, Any]] = self.engine("run", *pipelines, "--json", expect=expect).document()["runs"]
        return reports

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of a query, by way of `engine query --json`."""
        rows: list[list[Any]] = self.engine("query", sql, "--json").document()["rows"]
        return rows

    def value(self, sql: str) -> Any:
        """The one value of a query."""
        ((value,),) = self.rows(sql)
        return value

    def checksums(self, *, but: frozenset[str] = frozenset({"load_timestamp", "record_source"})) -> dict[str, str]:
        """Count and hash of every mart with rows, without lineage (`_...`) and what tells one delivery from another."""
        tables = "select table_name from information_schema.tables where table_schema = 'marts' order by all"
        found = {}
        for (mart,) in self.rows(tables):
            document = self.engine("query", f"select * from marts.{mart}", "--json").document()
            kept = [n for n, name in enumerate(document["columns"]) if name not in but and not name.startswith("_")]
            rows = sorted(json.dumps([row[n] for n in kept]) for row in document["rows"])
            if rows:
                found[mart] = f"{len(rows)} {hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"
        assert found, "there is no mart with rows"
        return found

    def copy(self, folder: Path, **env: str) -> EngineProject:
        """The same project, data included, in another folder."""
        shutil.copytree(self.folder, folder)
        return EngineProject(folder, self.profile, {**self.env, **env})


def new_project(folder: Path, profile: str = "demo", **env: str) -> EngineProject:
    """What a clone has: pipelines.yaml, transforms/ and data/."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pipelines.yaml", folder)
    shutil.copytree(ROOT / "transforms", folder / "transforms", ignore=shutil.ignore_patterns(".cache", "logs"))
    shutil.copytree(ROOT / "data", folder / "data")
    return EngineProject(folder, profile, env)


def make_small(project: EngineProject) -> EngineProject:
    """Three coins, three stocks, few candles: a run takes seconds."""
    project.replace("asset_type: crypto}, top: 50}", "asset_type: crypto}, top: 3}")
    project.replace("asset_type: stock}}", "asset_type: stock}, top: 3}")
    project.replace("initial: {1d: 365d, 1h: 30d}", "initial: {1d: 10d, 1h: 1d}")
    return project
