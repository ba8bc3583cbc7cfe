"""O05: the checks themselves. With one safeguard of the product taken out a case fails; with it, the case passes.

Each mutant is one edit of a copy of the project; the product's own files are not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("engine", "sources", "destinations", "tests", "transforms", "data", "deploy")
SECONDS = 600

pytestmark = [pytest.mark.faults, pytest.mark.chaos, pytest.mark.timeout(2 * SECONDS)]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`file` with `old`, which it has once, written as `new`; `case` is a test that must not survive it."""

    file: str
    old: str
    new: str
    case: str


MUTANTS = {
    "the cursor's fence": Mutant(
        "destinations/landing.py",
        "        if moved != 1:\n",
        "        if moved < 0:\n",
        "tests/conformance/test_snowflake_flow.py::test_the_second_of_two_writers_rolls_back",
    ),
    "the retry": Mutant(
        "sources/http/adapter.py",
        "self.most = 1 if weary else adapter.policy.tries",
        "self.most = 1",
        "tests/faults/test_source_faults.py::test_s02_errors_and_a_reset_are_asked_again",
    ),
    "the redaction": Mutant(
        "engine/redact.py",
        "            text = text.replace(form, MASK)\n",
        "            pass\n",
        "tests/faults/test_secrets.py::test_secrets_of_a_rest_source[bearer]",
    ),
    "the lock": Mutant(
        "engine/locks.py",
        "            if time.monotonic() >= deadline:\n                raise BusyError(",
        "            return\n            if time.monotonic() >= deadline:\n                raise BusyError(",
        "tests/faults/test_kill_phases.py::test_two_runs_at_once",
    ),
    "the list of what a query may do": Mutant(
        "engine/query.py",
        "        _check_tree(_parsed(sql))\n",
        "        _parsed(sql)\n",
        "tests/faults/test_hostile_queries.py::test_hostile_queries",
    ),
}


def run(folder: Path, case: str) -> subprocess.CompletedProcess[str]:
    """Run one test on the copy: it, and every process that it starts, imports from there."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:randomly", "-p", "no:cacheprovider", case]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_safeguard_taken_out_is_seen(tmp_path: Path, name: str) -> None:
    mutant = MUTANTS[name]
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, tmp_path)
    sound = run(tmp_path, mutant.case)
    assert sound.returncode == 0, sound.stdout[-3000:]
    edited = tmp_path / mutant.file
    text = edited.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: say anew what the safeguard is"
    edited.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    mutated = run(tmp_path, mutant.case)
    assert mutated.returncode == 1, f"nothing saw that {name} was gone:\n{mutated.stdout[-3000:]}"
    assert "1 failed" in mutated.stdout
