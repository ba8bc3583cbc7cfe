"""Which pipelines file a run that Prefect starts works on, and whether it was edited."""

from __future__ import annotations

import os
from pathlib import Path

FILE_VARIABLE = "ENGINE_FILE"
"""Names the file; without it, pipelines.yaml of the working folder."""


def pipelines_file() -> Path:
    """Return the file that this process runs."""
    return Path(os.environ.get(FILE_VARIABLE, "pipelines.yaml"))


def modified(file: Path) -> tuple[int, int]:
    """Return when the file was changed last, and .env beside it, whose values count as the file's."""
    return _modified(file), _modified(file.with_name(".env"))


def _modified(file: Path) -> int:
    """0 while there is none, as between two steps of an editor."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
