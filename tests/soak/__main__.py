"""`python -m tests.soak [MINUTES]`: soak the platform, an hour by default. Exit code 1: something was wrong."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from tests.soak.soak import Soaked, soak
from tests.soak.verdict import figures, findings


def main() -> int:
    """Print a line a minute, figures and findings at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", type=int, nargs="?", default=60)
    parser.add_argument("--seed", type=int, help="repeat the kills of another soak")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="tickhouse-soak-"))
    say(f"{given.minutes} minutes, seed {seed}, in {folder}")
    wrong: list[str] = []

    def check(soaked: Soaked) -> None:
        wrong.extend(findings(soaked))
        for line in figures(soaked):
            say(line)

    try:
        soak(folder, given.minutes, seed, say, check)
    except (Exception, pytest.skip.Exception) as error:
        wrong.append(f"the soak could not go on: {traceback.format_exc() if str(error) == '' else error}")
    for finding in wrong:
        say(f"WRONG: {finding}")
    if wrong:
        say(f"{len(wrong)} findings; what it left is in {folder}")
        return 1
    shutil.rmtree(folder)
    say("all intervals are covered once, every alert fired that should and none that should not")
    return 0


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    sys.exit(main())
