"""The project under soak as the checks of tests/faults/oracle.py want it, and its engine as a plain command."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.trial import Ended, Replay, Trial
from tests.schedules.served_project import ENGINE
from tests.soak.project import Mirror

ENGINE_SECONDS = 300


class SoakTrial(Trial):
    """A project that no fork server runs."""

    def __init__(self, folder: Path, replay: Replay, env: Mapping[str, str], dsn: str) -> None:
        super().__init__(folder, replay, None)  # type: ignore[arg-type]
        self.env, self.dsn = env, dsn

    @property
    def mirror(self) -> Mirror:
        """The same, as PostgreSQL holds it."""
        return Mirror(self, self.dsn)

    def engine(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        began = time.monotonic()
        done = subprocess.run(
            [ENGINE, *arguments],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=ENGINE_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def copy(self, folder: Path) -> Trial:
        shutil.copytree(self.folder, folder, symlinks=True)
        return _Copy(folder, self.replay, self.env, self.dsn)


class _Copy(SoakTrial):
    """A copy whose PostgreSQL is the original's: that one is left alone."""

    def engine(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        only: tuple[Any, ...] = ("--destination", "warehouse") if arguments[0] == "replay" else ()
        return super().engine(*arguments, *only, env=env)
