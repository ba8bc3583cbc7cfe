"""How long a person waits: commands, a run with nothing to do, and the whole crypto pipeline on the market replay.

Prints wall seconds (the best of a few) and processor seconds beside what is aimed at; exits 1 when an aim is missed.
Wall time on a busy machine says little: the processor seconds are those of the command and its children.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = str(Path(sys.executable).with_name("engine"))
CRYPTO = "prices-crypto-pipeline"
LIMIT_SECONDS = 300


def clone(folder: Path) -> Path:
    """Lay out what a clone has."""
    folder.mkdir()
    shutil.copy(ROOT / "pipelines.yaml", folder)
    for part in ("transforms", "data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(".cache", "logs"))
    return folder


def once(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run a command; return its wall and its processor seconds."""
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [ENGINE, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    wall, after = time.monotonic() - began, os.times()
    if done.returncode:
        sys.exit(f"engine {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    busy = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, busy


def measure(what: str, aim: float, folder: Path, *arguments: str, times: int = 5) -> bool:
    """Print the best of some runs; return whether it is below the aim (0: no aim)."""
    wall, busy = min(once(folder, *arguments) for _ in range(times))
    aimed = f"aim {aim:5.1f} s  {'met' if wall < aim else 'MISSED'}" if aim else ""
    print(f"{what:66} {wall:6.2f} s wall  {busy:6.2f} s processor  {aimed}", flush=True)
    return not aim or wall < aim


def main() -> int:
    """Measure in a fresh clone; nothing outside it is touched."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = clone(Path(scratch) / "clone")
        demo = ("--profile", "demo")
        once(folder, "validate")  # bytecode and disk cache are warm from here on
        met = [
            measure("engine --help", 0.3, folder, "--help"),
            measure("engine validate", 0.5, folder, "validate"),
            measure("engine plan", 0, folder, "plan"),
            measure(f"engine run {CRYPTO}, empty profile: all models", 0, folder, "run", CRYPTO, *demo, times=1),
            measure(f"engine run {CRYPTO}, again", 15, folder, "run", CRYPTO, *demo, times=2),
            measure(
                "engine run historical-backfill, a new file", 0, folder, "run", "historical-backfill", *demo, times=1
            ),
            measure(
                "engine run historical-backfill, no new file", 3, folder, "run", "historical-backfill", *demo, times=3
            ),
            measure(
                "engine query, one count", 0, folder, "query", "from marts.fct_asset_prices select count(*)", *demo
            ),
            measure("engine status", 0, folder, "status", *demo, times=3),
            measure("engine replay", 0, folder, "replay", *demo, times=1),
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
