"""Set up .venv from a bare python3: uv into .venv/tools, then the locked dependencies, then the project itself.

The lock names packages and hashes but no host, so it installs from whichever index pip and uv are set up for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SUPPORTED = ((3, 11), (3, 12))


def main() -> int:
    """Install everything; return 0, or 1 after one sentence that says what to do."""
    if sys.version_info[:2] not in SUPPORTED:
        found = ".".join(map(str, sys.version_info[:2]))
        return fail(f"python3 is {found}; Tickhouse runs on 3.11 and 3.12. Put one of them first on PATH.")
    started = time.monotonic()
    print("Setting up .venv (the first time takes a minute or two)", flush=True)
    try:
        uv = find_uv()
        if not (VENV / "bin" / "python").exists():
            run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VENV))
        python = str(VENV / "bin" / "python")
        sync = ("pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", "--python", python)
        run(uv, *sync, str(ROOT / "requirements.lock"))
        run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", str(ROOT))
    except subprocess.CalledProcessError as error:
        return fail(f"`{' '.join(map(str, error.cmd))}` failed. Check that the package index is reachable, then retry.")
    (VENV / ".ready").touch()
    print(f"Ready in {time.monotonic() - started:.0f} s: .venv/bin/engine", flush=True)
    return 0


def lock() -> int:
    """Resolve the dependencies anew into requirements.lock, for every supported Python and platform."""
    compile_lock = ("pip", "compile", "pyproject.toml", "--all-extras", "--group", "dev", "--universal", "--quiet")
    style = ("--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.11", "--upgrade")
    run(find_uv(), *compile_lock, *style, "--output-file", "requirements.lock")
    return 0


def find_uv() -> str:
    """Return a uv: the one on PATH, or one installed beside the environment."""
    if found := shutil.which("uv"):
        return found
    tools = VENV / "tools"
    if not (tools / "bin" / "uv").exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(tools)], capture_output=True, check=False)  # noqa: S603
        if made.returncode:
            fail("python3 cannot make environments (on Debian: apt-get install python3-venv).")
            raise subprocess.CalledProcessError(made.returncode, [sys.executable, "-m", "venv"])
        run(str(tools / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "uv>=0.5")
    return str(tools / "bin" / "uv")


def run(*command: str) -> None:
    """Run one step; its own output is the progress."""
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "UV_NO_PROGRESS": "1"})  # noqa: S603


def fail(message: str) -> int:
    """Print one sentence and return the exit code of a failure."""
    print(f"setup: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(lock() if sys.argv[1:] == ["lock"] else main())
