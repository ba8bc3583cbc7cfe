"""A clock of its own for a process: libfaketime, preloaded. Monotonic time goes on as it is, as on a real machine."""

from __future__ import annotations

import time
from pathlib import Path

import libfaketime

LIBRARY = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


def clock_env(*, hours: float = 0, seconds: float = 0, file: Path | None = None) -> dict[str, str]:
    """Environment variables that move a process's clock by so much, or by what `file` says at each moment."""
    common = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else every wait of a thread for another ends at once: 10 s of spinning
        "NO_FAKE_STAT": "1",
    }
    if file is None:
        return {**common, "FAKETIME": f"{round(hours * 3600 + seconds):+d}"}
    set_clock(file, hours=hours, seconds=seconds)
    return {**common, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}


def set_clock(file: Path, *, hours: float = 0, seconds: float = 0) -> None:
    """Move the clock of the processes that read `file`, at once."""
    partial = file.with_suffix(".partial")
    partial.write_text(f"{round(hours * 3600 + seconds):+d}\n")
    partial.replace(file)


def seconds_until(moment: float) -> float:
    """How far a clock has to be moved to show `moment` (seconds since 1970) now."""
    return moment - time.time()
