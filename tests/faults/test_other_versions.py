"""U05: other versions of DuckDB, dlt, SQLMesh and all else: files of the first release, results the same to the digit.

Environments of their own are resolved and filled from the package index: the lowest and the highest versions that
pyproject.toml allows, and the DuckDB, dlt and SQLMesh from before those. Each takes over the kept project of release
0.1.0, lands 401 prices, loads, and builds the models; and builds every table of the demo from its lake.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.model_project import ROOT
from tests.faults.old_release import unpacked
from tests.faults.test_upgrade import RELEASES

pytestmark = [pytest.mark.faults, pytest.mark.chaos, pytest.mark.timeout(3000), pytest.mark.xdist_group("versions")]
ENGINE = ("-c", "from engine.cli import main; main()")
DIGESTS = ("-m", "tests.faults.digests")
INDEX_SECONDS = 300


@dataclass(frozen=True)
class Versions:
    """What an environment has: a resolution of uv's, and packages in place of what pyproject.toml allows."""

    resolution: str = "highest"
    instead: list[str] = field(default_factory=list)


BEFORE = "1.5.4"
ENVIRONMENTS = {
    "the lowest allowed": Versions("lowest-direct"),
    "the highest allowed": Versions(),
    "the DuckDB before": Versions(
        instead=[f"{name}=={BEFORE}" for name in ("duckdb", "duckdb-extension-ducklake", "duckdb-extension-sqlite")]
    ),
    "the dlt before": Versions(instead=["dlt==1.30.0"]),
    "the SQLMesh before": Versions(instead=["sqlmesh==0.236.3"]),
}


def find_uv() -> str:
    """Return the uv that made this environment, or one on PATH; skip without."""
    own = ROOT / ".venv" / "tools" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    return found or pytest.skip("there is no uv to make environments with")


def environment(folder: Path, versions: Versions) -> Path:
    """Make an environment in the folder, of the engine and all its extras; return its Python. Skip without an index."""
    uv, python = find_uv(), folder / "bin" / "python"
    made = subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=False)
    assert made.returncode == 0
    override, locked = folder / "instead.txt", folder / "locked.txt"
    override.write_text("\n".join(versions.instead))
    resolve = [uv, "pip", "compile", "pyproject.toml", "--all-extras", "--resolution", versions.resolution]
    resolve += ["--override", str(override), "--python", str(python), "--output-file", str(locked)]
    for step in (
        resolve,
        [uv, "pip", "install", "--python", str(python), "--requirements", str(locked)],
        [uv, "pip", "install", "--python", str(python), "--no-deps", "--editable", "."],
    ):
        try:
            done = subprocess.run(
                [*step, "--quiet"], cwd=ROOT, capture_output=True, text=True, timeout=INDEX_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("the package index gives no answer")
        if done.returncode and any(word in done.stderr for word in ("Failed to fetch", "error sending request")):
            pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[0]}")
        assert done.returncode == 0, done.stderr
    assert set(versions.instead) <= set(locked.read_text().split())
    return python


def taken_over(python: Path, folder: Path) -> dict[str, str]:
    """Go on with the kept project; return the digest of each table."""
    project = unpacked(RELEASES[0], folder)
    prices = [
        {
            "base_currency": ("BTC", "ETH", "SOL")[number % 3],
            "quote_currency": ("USD", "EUR")[number % 2],
            "price": f"{1 + number * 7919 % 1009}.{number * 104729 * 10**9 % 10**18:018d}",
            "observed_at": f"2026-05-{1 + number % 20:02d}T{number % 24:02d}:{number % 60:02d}:00Z",
        }
        for number in range(400)
    ]
    prices.append({**prices[0], "base_currency": "CAFE\u0301"})  # decomposed: its key is the one of the composed text
    lines = "".join(json.dumps(price) + "\n" for price in prices)
    (project.folder / "in" / "prices_many.jsonl").write_text(lines)
    run(python, folder, *ENGINE, "run", "daily")
    found: dict[str, str] = json.loads(run(python, folder, *DIGESTS, "local"))
    assert found["marts.fct_asset_prices"].startswith("122 rows")
    return found


def built_anew(python: Path, demo: Path, folder: Path) -> dict[str, str]:
    """Build the demo's tables from its lake; return the digest of each."""
    with_sources(folder)
    shutil.copytree(demo / ".data" / "demo" / "lake", folder / ".data" / "demo" / "lake")
    run(python, folder, *ENGINE, "replay", "-p", "demo")
    found: dict[str, str] = json.loads(run(python, folder, *DIGESTS, "demo"))
    assert len(found) > 50
    assert sum(not digest.startswith("0 rows") for digest in found.values()) > 40
    return found


def with_sources(folder: Path) -> None:
    """Put the repository's own pipelines.yaml, models and history there."""
    for part in ("transforms", "data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(".cache", "__pycache__"))
    shutil.copy(ROOT / "pipelines.yaml", folder)


def run(python: Path, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [python, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Expected:
    """What the versions that tests run on make of the kept project, and of the demo's lake."""

    demo: Path
    kept: dict[str, str]
    anew: dict[str, str]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    folder, here = tmp_path_factory.mktemp("versions"), Path(sys.executable)
    with_sources(folder / "demo")
    run(here, folder / "demo", *ENGINE, "demo", "--no-app")
    kept = taken_over(here, folder / "kept")
    return Expected(folder / "demo", kept, built_anew(here, folder / "demo", folder / "anew"))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_results_are_the_same_to_the_last_digit(name: str, expected: Expected, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", ENVIRONMENTS[name])
    assert taken_over(python, tmp_path / "kept") == expected.kept
    assert built_anew(python, expected.demo, tmp_path / "anew") == expected.anew
