"""Sources run side by side, but what they share is whole before they start: half a module is an error in a run."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
import engine.run as run
from engine.report import ResourceReport
from engine.steps import Threads

def extract(extraction, source, resource):
    seen[source] = all(name in sys.modules and not getattr(sys.modules[name].__spec__, "_initializing", False)
                       for name in ("dlt", "pyarrow", "engine.conform"))
    return ResourceReport(source, "resource", "table")

seen = {}
run.extract = extract
runner = object.__new__(run.Runner)
runner.project = SimpleNamespace(project_dir=Path("."), assets={}, profile=SimpleNamespace(lake=None))
runner.progress = runner._replay_url = None
runner._data_dir = Path(".")
runner.stop = threading.Event()
runner._steps = Threads()
composed = SimpleNamespace(transform=False, resources=[("a", None), ("b", None)])
assert "pandas" not in sys.modules
runner._extract_all(composed, None, "run")
assert "pandas" not in sys.modules
print(seen)
"""


def test_what_sources_share_is_imported_before_they_start() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout == "{'a': True, 'b': True}\n", done.stderr
