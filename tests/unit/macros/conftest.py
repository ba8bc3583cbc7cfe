"""The probes, rendered once a session."""

from __future__ import annotations

import pytest

from tests.unit.macros.engines import Engines, open_engines


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    return open_engines(tmp_path_factory.mktemp("macros"))
