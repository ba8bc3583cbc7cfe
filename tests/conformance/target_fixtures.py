"""`target`: one of the destinations, empty; a test says which by parametrizing it, `indirect=True`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import targets
from tests.conformance.landed_packages import FolderLake, price_rows
from tests.conformance.loopback_proxy import Proxy
from tests.conformance.targets import Target


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The destination of this name."""
    kind, get = request.param, request.getfixturevalue
    if kind in targets.EMBEDDED:
        return getattr(targets, kind)(tmp_path, tmp_path_factory.getbasetemp() / "data")
    if kind == "postgres":
        return targets.postgres(get("database")("warehouse"))
    if kind == "timescaledb":
        return targets.postgres(get("timescale")("warehouse"), timescale=True)
    if kind == "trino":
        return targets.trino(get("trino_landing")("warehouse"), tmp_path)
    return targets.snowflake(get("snowflake")("warehouse"), tmp_path)


@pytest.fixture
def proxy(target: Target) -> Iterator[Proxy]:
    """A network between the destination and its server."""
    with Proxy(target.port) as opened:
        yield opened


@pytest.fixture
def six_packages(tmp_path: Path) -> FolderLake:
    """A lake of six packages of ten prices."""
    made = FolderLake(tmp_path / "lake")
    for start in range(0, 60, 10):
        made.land(price_rows(start, 10))
    return made
