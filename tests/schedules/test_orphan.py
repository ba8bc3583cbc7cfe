"""A run whose `engine up` was killed ends in order: what it still has to say goes nowhere, and ends no step of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
child.stdout.readline()
os._exit(0)
"""
CHILD = """
import sys, threading, types
from pathlib import Path
from rich.console import Console
from engine.schedules.parent import when_orphaned
run = types.SimpleNamespace(stop=threading.Event(), end_soon=lambda: None)
when_orphaned(run)
print("begun", flush=True)
assert run.stop.wait(20)
Console(stderr=True).print("the run was stopped")
print("and this", flush=True)
Path(sys.argv[1]).write_text("noted")
"""


def test_an_orphan_goes_on_though_nobody_reads_what_it_says(tmp_path: Path) -> None:
    end = tmp_path / "end"
    subprocess.run([sys.executable, "-c", PARENT, CHILD, end], check=True)
    deadline = time.monotonic() + 20
    while not end.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert end.read_text() == "noted"
