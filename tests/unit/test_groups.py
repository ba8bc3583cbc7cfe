"""Tests that share a server run in one worker: pytest-xdist puts their group into the test's id, or does not group."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("shown")
def test_a_group_is_one_workers(request: pytest.FixtureRequest) -> None:
    beside_others = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@shown") == beside_others
