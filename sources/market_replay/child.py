"""The market replay in a process of its own: its price paths and the engine's work need not share one interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import TickhouseError

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 5.0


@contextmanager
def replay_process() -> Iterator[str]:
    """Serve while the block runs and give the base URL. It ends with this process too, however that one ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sources.market_replay", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,  # Ctrl-C is for the engine: it may still be asking
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            said = (process.stderr.read() if process.stderr else "").strip().splitlines()
            raise TickhouseError(
                f"the market replay did not start: {said[-1] if said else 'it says nothing'}",
                "Start it by hand to see more: python -m sources.market_replay",
            )
        yield url
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()  # it keeps nothing
    process.wait(STOP_SECONDS)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
