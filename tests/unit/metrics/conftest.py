"""A small project with a schedule, whose runs take half a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.small_project import SMALL, SmallProject

TIMELY = """\
  timely: {extract: [shop], load: [warehouse], transform: false, schedule: "*/5 * * * *"}
"""


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    """Three orders wait; nothing has run."""
    project = SmallProject(tmp_path / "shop")
    project.folder.mkdir()
    project.write(SMALL + TIMELY)
    project.orders(1)
    return project
