"""Sources run side by side, but what they share is whole before they start: half a module is an error in a run."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
import engine.models.transform as transform
import engine.run as run
from engine.report import ResourceReport
from engine.steps import Threads

def extract(extraction, source, resource):
    seen[source] = all(name in sys.modules and not getattr(sys.modules[name].__spec__, "_initializing", False)
                       for name in ("dlt", "pyarrow", "engine.conform", *PANDAS))
    return ResourceReport(source, "resource", "table")

TRANSFORM, TYPES, PANDAS = {given!r}
seen = {{}}
run.extract = extract
runner = object.__new__(run.Runner)
runner.project = SimpleNamespace(project_dir=Path("."), assets={{}}, profile=SimpleNamespace(lake=None))
runner.project.sources = {{name: SimpleNamespace(type=kind) for name, kind in TYPES.items()}}
transform.warm_up = lambda: None
runner.progress = runner._replay_url = None
runner._data_dir = Path(".")
runner.stop = threading.Event()
runner._steps = Threads()
resources = [(name, SimpleNamespace(ahead=None)) for name in "ab"]
composed = SimpleNamespace(transform=TRANSFORM, destinations={{}}, resources=resources)
assert "pandas" not in sys.modules
runner._extract_all(composed, None, "run")
assert ("pandas" in sys.modules) == bool(PANDAS)
print(seen)
"""


@pytest.mark.parametrize(
    ("transform", "types", "pandas"),
    [(True, ("files", "rest"), True), (False, ("files", "yfinance"), True), (False, ("files", "rest"), False)],
)
def test_what_sources_share_is_imported_before_they_start(
    *, transform: bool, types: tuple[str, str], pandas: bool
) -> None:
    """pandas too, unless neither a source nor the models, which are imported meanwhile, have a use for it."""
    given = (transform, dict(zip("ab", types, strict=True)), ("pandas",) if pandas else ())
    code = CODE.format(given=given)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "{'a': True, 'b': True}\n", done.stderr
