"""A project as a release leaves it: built models, a package that waits in the lake, a load that was killed half-way.

    python -m tests.faults.old_release tests/faults/releases/VERSION.tar.xz

Made once for each release, by its own code, and kept: test_upgrade.py runs every later state of the code on it. Without
transforms/, which come with the code.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.model_project import YAML, ModelProject

KEPT = ("pipelines.yaml", "in", "lake", "warehouse", ".data")
LAND = "  land: {extract: [shop], load: [], transform: false}\n"


def make(archive: Path) -> None:
    """Run the releases' code on a new project and pack what it leaves."""
    with tempfile.TemporaryDirectory() as name:
        project = ModelProject.made(Path(name) / "project")
        (project.folder / "pipelines.yaml").write_text(YAML + LAND)
        project.price("first", "1")
        assert project.engine().code == 0
        project.price("corrected", "2.000000000000000001")
        assert project.engine().code == 0
        project.price("waiting", "3", "2026-05-02T00:00:00Z")
        assert project.engine("run", "land").code == 0
        child = os.fork()
        if not child:
            try:
                _load_and_die(project)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert (project.folder / "warehouse" / "loading.json").exists()
        for folder in ("sqlmesh-cache", "../duckdb", "../cache"):
            shutil.rmtree(project.folder / ".data" / "state" / folder, ignore_errors=True)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz") as packed:
            for part in KEPT:
                packed.add(project.folder / part, part)


def unpacked(archive: Path, folder: Path) -> ModelProject:
    """Put an old project beside the models of today."""
    project = ModelProject.made(folder)
    shutil.rmtree(folder / "in")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return project


def _load_and_die(project: ModelProject) -> None:
    """Kill this process once a package's files are in the table and before the commit."""
    import io

    from destinations.ducklake import DucklakeWarehouse
    from engine.config.load import load_project
    from engine.progress import PlainLines
    from engine.run import Runner

    register = DucklakeWarehouse._register

    def killed(self: Any, *arguments: Any) -> None:
        register(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    DucklakeWarehouse._register = killed  # type: ignore[method-assign]
    os.chdir(project.folder)
    Runner(load_project(project.folder / "pipelines.yaml", env={}), PlainLines(io.StringIO(), str)).run("daily")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
