"""Which pipelines file a run that Prefect starts works on."""

from __future__ import annotations

import os
from pathlib import Path

FILE_VARIABLE = "ENGINE_FILE"
"""Names the file; without it, pipelines.yaml of the working folder."""


def pipelines_file() -> Path:
    """Return the file that this process runs."""
    return Path(os.environ.get(FILE_VARIABLE, "pipelines.yaml"))
