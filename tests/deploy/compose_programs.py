"""Docker Compose's own reader of the file, and Docker Compose itself, built from Go's module proxy into a cache.

The reader (compose-go: schema, variables, consistency) takes seconds to build, Docker Compose two minutes of a core and
96 MB. Without `go`, what needs them is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from engine.locks import hold

PROGRAMS = {
    "compose-spec": ("github.com/compose-spec/compose-go/v2/cmd", "v2.16.2", 240.0),
    "docker-compose": ("github.com/docker/compose/v2/cmd", "v2.40.3", 1800.0),
}
"""Name: Go package, version, seconds that its build may take."""


def require_program(name: str) -> Path:
    """Return a program, or skip the test with the reason why there is none."""
    found = _found(name)
    if isinstance(found, str):
        pytest.skip(f"{name}: {found}")
    return found


@cache
def _found(name: str) -> Path | str:
    package, version, seconds = PROGRAMS[name]
    if (go := shutil.which("go")) is None:
        return "there is no `go` to build it"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse" / f"{name}-{version}"
    with hold(home.with_suffix(".lock"), f"the build of {name}", wait_seconds=seconds):
        program = home / name
        return program if program.exists() else _build(go, package, version, program, seconds)


def _build(go: str, package: str, version: str, program: Path, seconds: float) -> Path | str:
    """Build it as a tool of a module of our own: `go install` refuses a module that excludes versions."""
    module = program.parent / "module"
    module.mkdir(parents=True, exist_ok=True)
    (module / "go.mod").write_text("module build\n\ngo 1.24.9\n")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    for command in ([go, "get", "-tool", f"{package}@{version}"], [go, "build", "-o", str(program), package]):
        try:
            done = subprocess.run(
                command, cwd=module, env=environment, capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return f"its build did not end within {seconds:.0f} s"
        if done.returncode:
            return f"it could not be built: {done.stderr.strip().splitlines()[-1:]}"
    return program
