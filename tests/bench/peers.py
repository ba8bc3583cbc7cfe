"""Other tools that move a CSV into PostgreSQL, as PyPI has them, each in a virtual environment outside the clone."""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SET_UP_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: what PyPI calls it, where its program lies in the environment, and how it is told to move the file."""

    name: str
    requirement: str
    program: str
    arguments: tuple[str, ...]

    def command(self, file: Path, dsn: str) -> Sequence[str]:
        """Return the command line; the environment is made where it is not yet. Raises OSError without a registry."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse" / "peers"
        home = cache / self.requirement
        if not next(home.glob(self.program), None):
            venv.create(home, with_pip=True, clear=True)
            done = subprocess.run(
                [home / "bin" / "pip", "install", "--quiet", self.requirement],
                capture_output=True,
                text=True,
                check=False,
                timeout=SET_UP_SECONDS,
            )
            if done.returncode:
                raise OSError(f"{self.requirement} cannot be had: {done.stderr.strip().splitlines()[-1]}")
        [program] = home.glob(self.program)
        program.chmod(0o755)
        return [str(program), *(each.format(file=file, dsn=dsn) for each in self.arguments)]


SLING = Peer(
    "Sling 1.4.11",
    "sling-linux-amd64==1.4.11",
    "lib/python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64",
    (
        *("run", "--src-stream", "file://{file}", "--tgt-conn", "{dsn}?sslmode=disable"),
        *("--tgt-object", "public.sling_bars", "--mode", "full-refresh"),
    ),
)
INGESTR = Peer(
    "ingestr 0.15.9",
    "ingestr==0.15.9",
    "bin/ingestr",
    (
        *("ingest", "--source-uri", "csv://{file}", "--source-table", "bars", "--dest-uri", "{dsn}?sslmode=disable"),
        *("--dest-table", "public.ingestr_bars", "--yes", "--progress", "log"),
    ),
)
