"""SQLMesh imported in the background while a run goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys, time, pandas
from engine.models.transform import _build, warm_up
warm_up()
time.sleep({wait})
try:
    _build(None, "", None, None, (None, None), (), files="", edited=False, new=False, say=print)
except AttributeError as error:  # there is no project here; the imports before it are what is tried
    print("built" if "sqlmesh" in sys.modules else error)
"""


@pytest.mark.parametrize("wait", [0.05, 0.6])
def test_building_while_sqlmesh_is_being_imported(wait: float) -> None:
    code = CODE.format(wait=wait)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "built\n", done.stderr
    assert not done.stderr
