"""What the command line tells libraries by their environment: only what they have, and the user's own word wins."""

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest

import engine.cli

SET = """
import atexit, os, sys
from engine.cli import LIBRARIES, main
atexit.register(lambda: print(*(os.environ.get(name) for name in sorted(LIBRARIES))))
sys.argv = ["engine", "--version"]
main()
"""


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_arrow_is_given_an_allocator_that_it_has(monkeypatch, machine):
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
            given = importlib.reload(engine.cli).LIBRARIES.get("ARROW_DEFAULT_MEMORY_POOL")
    finally:
        here = importlib.reload(engine.cli).LIBRARIES.get("ARROW_DEFAULT_MEMORY_POOL")
    assert given == ("jemalloc" if machine == "x86_64" else None)  # Arrow's wheels for ARM have none
    assert here is None or here in pa.supported_memory_backends()


def test_what_the_user_has_set_stays():
    own = dict.fromkeys(engine.cli.LIBRARIES, "mine")
    told = subprocess.check_output([sys.executable, "-c", SET], env={**os.environ, **own}, text=True)
    assert told.splitlines()[1:] == [" ".join(own.values())]
